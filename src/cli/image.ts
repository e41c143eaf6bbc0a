// `run-sandbox image`: what is done with images beside running them. The first operand says what; options may stand before and after it.
import { type UnpackReport, unpack } from '../image/unpack.ts';
import { sayUsage } from './failure.ts';
import { type Call, carryOut, draftOf, unserved, wantsJson } from './image-call.ts';
import { type Parsed, parse } from './parse.ts';
import { say } from './say.ts';
import { writeAll } from './write.ts';

const verbs: Readonly<Record<string, (call: Call) => Promise<number>>> = {
  build: async (call) => (await import('./image-build.ts')).buildCommand(call),
  inspect: async (call) => (await import('./image-inspect.ts')).inspectCommand(call),
  unpack: unpackCommand,
  pull: async (call) => (await import('./image-store.ts')).pullCommand(call),
  ls: async (call) => (await import('./image-store.ts')).listCommand(call),
  rm: async (call) => (await import('./image-store.ts')).removeCommand(call),
  gc: async (call) => (await import('./image-store.ts')).collectCommand(call),
  validate: async (call) => (await import('./image-validate.ts')).validateCommand(call),
};

export async function imageCommand({ draft, operands, problems }: Parsed): Promise<number> {
  const [verb, ...rest] = operands;
  const parsed = parse(rest, 'image', 'mixed');
  const run = verb === undefined || !Object.hasOwn(verbs, verb) ? undefined : verbs[verb];
  const known = `known is ${Object.keys(verbs).join(', ')}`;
  if (parsed.draft.settings.help) return (await import('./help.ts')).printHelp('image');
  if (verb !== undefined && run !== undefined) {
    const misplaced = unserved(verb, { before: draft, parsed });
    return run({ before: draft, parsed, problems: [...problems, ...parsed.problems, ...misplaced] });
  }
  return sayUsage([
    ...problems,
    verb === undefined ? `image: do what? ${known}` : `image does not know '${verb}': ${known}`,
  ]);
}

async function unpackCommand({ before, parsed, problems }: Call): Promise<number> {
  const archives = parsed.operands.slice(0, -1);
  const directory = parsed.operands.at(-1);
  const all = [...problems];
  if (archives.length === 0 || directory === undefined) all.push('image unpack needs an archive and a directory');
  if (all.length > 0 || directory === undefined) return sayUsage(all);
  const json = wantsJson({ before, parsed });
  return carryOut(json, async (signal) => {
    const report = await unpack(archives, directory, { ...draftOf({ before, parsed }), signal });
    if (json) writeAll(1, `${JSON.stringify(report, undefined, 2)}\n`);
    else sayReport(report);
    return 0;
  });
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
