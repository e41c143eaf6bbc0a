// The program that works on files of ranges of ids: see changes/in-ranges.ts, which starts it in a sandbox that has these ids.
import { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { Assignment, Failure } from '../changes/in-ranges.ts';
import { emptyCapture } from '../changes/store.ts';
import { listUpper } from '../changes/upper.ts';
import { workHere } from '../changes/work.ts';
import { isSandboxError } from '../errors/errors.ts';
import { mergeLayers } from './merge.ts';

try {
  const assignment = (await json(process.stdin)) as Assignment;
  await pipeline(Readable.from(answer(assignment), { objectMode: false }), process.stdout);
} catch (error) {
  process.stderr.write(JSON.stringify(failureOf(error)));
  process.exitCode = 1;
}

async function* answer({ job, own }: Assignment): AsyncGenerator<Uint8Array | string> {
  switch (job.task) {
    case 'entries':
      yield JSON.stringify((await workHere(job.capture, { own })).entries);
      return;
    case 'diff':
      yield (await workHere(job.capture, { own })).diff();
      return;
    case 'export':
      yield* (await workHere(job.capture, { own })).export(job.format);
      return;
    case 'apply':
      yield JSON.stringify(await (await workHere(job.capture, { own })).apply());
      return;
    case 'empty':
      emptyCapture(job.capture);
      return;
    case 'upper':
      yield JSON.stringify(await listUpper(job.directory));
      return;
    case 'merge':
      yield JSON.stringify([...mergeLayers(job.layers, job.target, { keepsOwners: false })]);
  }
}

function failureOf(error: unknown): Failure {
  if (!isSandboxError(error)) return { code: 'SBX_CHANGES_UNREADABLE', message: (error as Error).message };
  const { code, message, remedy } = error;
  if (remedy === undefined) return { code, message };
  return { code, message: message.slice(0, -`; ${remedy}`.length), remedy };
}
