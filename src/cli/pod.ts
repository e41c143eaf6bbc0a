// `run-sandbox pod`: the apps of a pod manifest together.
import { readFileSync } from 'node:fs';
import { type PodResult, runPod } from '../run/pod.ts';
import { describeOutcome } from '../run/result.ts';
import type { RunResult } from '../run/types.ts';
import { exitStatus } from './exit.ts';
import { sayUsage } from './failure.ts';
import { carryOut } from './image-call.ts';
import type { Parsed } from './parse.ts';
import { say } from './say.ts';
import { wordsOfSkipped } from './skipped.ts';
import { writeAll } from './write.ts';

export async function podCommand({ draft, operands, problems: wrong }: Parsed): Promise<number> {
  const problems = [...wrong];
  const [file, ...images] = operands;
  const manifest = file === undefined ? undefined : readManifest(file, problems);
  if (file === undefined) problems.push('no pod manifest given: run-sandbox pod [options] FILE [IMAGE...]');
  if (manifest === undefined || problems.length > 0) return sayUsage(problems);
  const { optional, killSignal, gracePeriodMs, image, json, quiet } = draft.settings;
  return carryOut(json, async (signal) => {
    const result = await runPod(manifest, {
      images,
      volumes: draft.volumes,
      optional,
      signal,
      image,
      ...(killSignal === undefined ? {} : { killSignal }),
      ...(gracePeriodMs === undefined ? {} : { gracePeriodMs }),
      ...(json ? {} : { stdout: 'inherit' as const, stderr: 'inherit' as const }),
    });
    if (json) writeAll(1, `${JSON.stringify(summaryOf(result), undefined, 2)}\n`);
    else if (!quiet) tell(result);
    return statusOf(result);
  });
}

function readManifest(file: string, problems: string[]): Uint8Array | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    problems.push(`cannot read ${file}: ${(error as Error).message}`);
    return undefined;
  }
}

/** Of the first app that did not end well, as the manifest has them. */
function statusOf({ apps }: PodResult): number {
  return (
    Object.values(apps)
      .map(({ outcome }) => exitStatus(outcome))
      .find((status) => status !== 0) ?? 0
  );
}

function tell({ apps }: PodResult): void {
  for (const [name, { outcome, enforcement, handlers }] of Object.entries(apps)) {
    for (const words of wordsOfSkipped({ enforcement })) say(`${name}: ${words}`, 'yellow');
    if (exitStatus(outcome) !== 0) say(`${name} ${describeOutcome(outcome)}`, 'red');
    const after = handlers?.postStop;
    if (after === undefined) continue;
    if ('error' in after) say(`${name}: post-stop: ${after.error.message}`, 'yellow');
    else if (exitStatus(after.outcome) !== 0) say(`${name}: post-stop ${describeOutcome(after.outcome)}`, 'yellow');
  }
}

function summaryOf({ uuid, apps }: PodResult): object {
  const summary = ({ outcome, exitCode, signal, stdout, stderr, usage, enforcement }: RunResult): object => ({
    outcome,
    exitCode,
    signal,
    exitStatus: exitStatus(outcome),
    stdout,
    stderr,
    usage,
    enforcement,
  });
  return { uuid, apps: Object.fromEntries(Object.entries(apps).map(([name, result]) => [name, summary(result)])) };
}
