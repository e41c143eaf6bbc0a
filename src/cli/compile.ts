// `run-sandbox compile`: a run as a program of its own (src/run/compile.ts).
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isCompiled } from '../backends/launcher/compiled.ts';
import { type Compiled, compile } from '../run/compile.ts';
import { formatCommand } from '../run/result.ts';
import { exitStatusOfError } from './exit.ts';
import { sayError, sayUsage } from './failure.ts';
import { commandOf } from './operands.ts';
import type { Parsed } from './parse.ts';
import { say } from './say.ts';
import { wordsOfSkipped } from './skipped.ts';
import { changesProblem, specOf } from './spec.ts';

/** ECMA-48, as `say` has it. */
const YELLOW = 33;

export async function compileCommand(parsed: Parsed): Promise<number> {
  const { draft } = parsed;
  const { backend, optional, killSignal, gracePeriodMs, quiet } = draft.settings;
  const problems = [...parsed.problems];
  const command = commandOf(parsed);
  const profile =
    draft.profile === undefined ? undefined : (await import('./profile.ts')).loadProfile(draft.profile, problems);
  const spec = specOf(draft, profile);
  const { out, force } = draft.image;
  if (out === undefined) problems.push('no file given: run-sandbox compile [options] -o FILE [--] [COMMAND [ARG...]]');
  else problems.push(...whyNotAt(out, force === true));
  problems.push(...changesProblem(draft, spec));
  if (out === undefined || problems.length > 0) return sayUsage(problems);
  try {
    const options = {
      optional,
      ...(backend === undefined ? {} : { backend }),
      ...(killSignal === undefined ? {} : { killSignal }),
      ...(gracePeriodMs === undefined ? {} : { gracePeriodMs }),
    };
    const compiled = await compile(command, spec, options, (prepared) =>
      quiet ? [] : wordsOfSkipped(prepared).map((text) => ({ style: YELLOW, text })),
    );
    const problem = write(out, compiled.content);
    if (problem !== undefined) return sayUsage([problem]);
    if (!quiet) report(out, command, compiled);
    return 0;
  } catch (error) {
    sayError(error, draft, profile?.mounts?.length);
    return exitStatusOfError(error);
  }
}

/** A plan is compiled again whenever the host changes, so that one may be replaced; anything else only where that is said. */
function whyNotAt(out: string, force: boolean): string[] {
  const found = statSync(out, { throwIfNoEntry: false });
  if (found === undefined)
    return existsSync(dirname(out)) ? [] : [`--out ${out}: there is no directory ${dirname(out)}`];
  if (!found.isFile()) return [`--out ${out}: is there, and no regular file`];
  if (force || (found.size <= LARGEST && isCompiled(readIfAllowed(out)))) return [];
  return [`--out ${out}: is there, and no compiled plan; --force replaces it`];
}

/** Of a compiled plan: the launcher, a plan, and what is around it. */
const LARGEST = 64 * 1024 * 1024;

function readIfAllowed(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    return Buffer.alloc(0); // and so nothing of ours that anybody could see
  }
}

/** Of nobody's but the caller, who alone may run it: it holds the values of variables that were set. */
const MODE = 0o700;

/**
 * It gets its name when it is whole: one that runs just now would be ETXTBSY, and nobody may run half of one. Returns why not. A signal meanwhile is not
 * heard, so that it leaves nothing half done.
 */
function write(out: string, content: Uint8Array): string | undefined {
  const fresh = `${out}.${process.pid}`;
  for (const signal of waiting) process.on(signal, ignore);
  try {
    writeFileSync(fresh, content, { flag: 'wx', mode: MODE });
    chmodSync(fresh, MODE);
    renameSync(fresh, out);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') rmSync(fresh, { force: true });
    return `--out ${out}: cannot be written: ${code === undefined ? String(error) : code}`;
  } finally {
    for (const signal of waiting) process.off(signal, ignore);
  }
}

const waiting = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function ignore(): void {}

function report(out: string, command: readonly string[], { prepared, inherit, kernel }: Compiled): void {
  const { spec, backend } = prepared;
  const what = command.length === 0 ? 'the command that is named after it' : formatCommand(command);
  say(`${resolve(out)} runs ${what} on backend ${backend.name}, for uid ${process.getuid?.()} on Linux ${kernel}`);
  for (const text of wordsOfSkipped(prepared)) say(text, 'yellow');
  const binds = spec.mounts.flatMap(({ type, source }) => (type === 'bind' && source !== undefined ? [source] : []));
  if (binds.length > 0) say(`paths are those of now, wherever it is started: ${binds.join(', ')}`);
  if (inherit.length > 0) say(`taken from the environment of each call: ${inherit.join(', ')}`);
}
