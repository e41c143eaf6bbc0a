// `run-sandbox image`: what is done with images beside running them. The first operand says what; options may stand before and after it.
import { type UnpackReport, unpack } from '../image/unpack.ts';
import { exitStatusOfError, statusOfSignal } from './exit.ts';
import { sayError, sayUsage } from './failure.ts';
import { type Draft, newDraft } from './option.ts';
import { type Parsed, parse } from './parse.ts';
import { say, writeAll } from './say.ts';
import { StatusWriter } from './status.ts';

const verbs: Readonly<Record<string, (call: ImageCall) => Promise<number>>> = {
  unpack: unpackCommand,
  pull: async (call) => (await import('./image-store.ts')).pullCommand(call),
  ls: async (call) => (await import('./image-store.ts')).listCommand(call),
  rm: async (call) => (await import('./image-store.ts')).removeCommand(call),
  gc: async (call) => (await import('./image-store.ts')).collectCommand(call),
};

export interface ImageCall {
  readonly before: Draft;
  readonly parsed: Parsed;
  readonly problems: readonly string[];
}

export async function imageCommand({ draft, operands, problems }: Parsed): Promise<number> {
  const [verb, ...rest] = operands;
  const parsed = parse(rest, 'image');
  const run = verb === undefined || !Object.hasOwn(verbs, verb) ? undefined : verbs[verb];
  const known = `known is ${Object.keys(verbs).join(', ')}`;
  if (parsed.draft.settings.help) return (await import('./help.ts')).printHelp('image');
  if (run !== undefined) return run({ before: draft, parsed, problems: [...problems, ...parsed.problems] });
  return sayUsage([
    ...problems,
    verb === undefined ? `image: do what? ${known}` : `image does not know '${verb}': ${known}`,
  ]);
}

async function unpackCommand({ before, parsed, problems }: ImageCall): Promise<number> {
  const archives = parsed.operands.slice(0, -1);
  const directory = parsed.operands.at(-1);
  const all = [...problems];
  if (archives.length === 0 || directory === undefined) all.push('image unpack needs an archive and a directory');
  if (all.length > 0 || directory === undefined) return sayUsage(all);
  const { image } = parsed.draft;
  const json = parsed.draft.settings.json || before.settings.json;
  const controller = new AbortController();
  const stop = (signal: NodeJS.Signals): void => controller.abort(signal);
  // A second one ends this process at once, as if nobody listened.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.once(signal, stop);
  try {
    const { limits, ...rest } = image;
    const { signal } = controller;
    const merged = { ...before.image, ...rest, limits: { ...before.image.limits, ...limits }, signal };
    const report = await unpack(archives, directory, merged);
    if (json) writeAll(1, `${JSON.stringify(report, undefined, 2)}\n`);
    else sayReport(report);
    return 0;
  } catch (error) {
    if (controller.signal.aborted) {
      say(`ended by ${controller.signal.reason}`, 'red');
      return statusOfSignal(controller.signal.reason);
    }
    sayError(error, newDraft());
    const exit = exitStatusOfError(error);
    new StatusWriter(undefined, json).error(error instanceof Error ? error : new Error(String(error)), exit);
    return exit;
  }
}

function sayReport({ directory, entries, bytes, leftOut, owners }: UnpackReport): void {
  say(`${entries} ${entries === 1 ? 'entry' : 'entries'} with ${bytes} bytes in ${directory}`);
  const counts = Object.entries(leftOut).flatMap(([what, count]) =>
    typeof count === 'number' && count > 0 ? [`${count} ${count === 1 ? what.slice(0, -1) : what}`] : [],
  );
  if (counts.length === 0) return;
  const [first] = leftOut.first;
  const example = first === undefined ? '' : `, the first at ${first.path}: ${first.because}`;
  say(`left out: ${counts.join(', ')}${example} (owners: ${owners}; all with --json)`, 'yellow');
}
