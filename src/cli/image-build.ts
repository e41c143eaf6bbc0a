// `run-sandbox image build`: an App Container image of a directory and a manifest. The image ID goes to stdout, what a person should know to stderr.
import { formatPath } from '../errors/errors.ts';
import type { BuildReport } from '../image/aci/build.ts';
import { sayUsage } from './failure.ts';
import { type Call, carryOut, draftOf, wantsJson } from './image-call.ts';
import { jsonText } from './json-text.ts';
import { say } from './say.ts';
import { attempt, readInteger } from './values.ts';
import { writeAll } from './write.ts';

export async function buildCommand(call: Call): Promise<number> {
  const [directory, manifest, ...more] = call.parsed.operands;
  const { out, compress, owner, force } = draftOf(call);
  const all = [...call.problems];
  if (directory === undefined || manifest === undefined || more.length > 0)
    all.push('image build needs a directory and an image manifest, and nothing else');
  if (out === undefined) all.push('image build needs the image to make: -o FILE.aci');
  const epoch = readEpoch(all);
  if (all.length > 0 || directory === undefined || manifest === undefined || out === undefined) return sayUsage(all);
  const json = wantsJson(call);
  return carryOut(json, async (signal) => {
    const { buildImage } = await import('../image/aci/build.ts');
    const report = await buildImage(directory, manifest, out, {
      ...(compress === undefined ? {} : { compression: compress }),
      ...(owner === undefined ? {} : { owner }),
      ...(epoch === undefined ? {} : { sourceDateEpoch: epoch }),
      overwrite: force === true,
      signal,
    });
    if (json) writeAll(1, `${jsonText(report)}\n`);
    else sayReport(report);
    return 0;
  });
}

/** A tool that cannot make sense of it must not go on as if it were not there (reproducible-builds.org). */
function readEpoch(problems: string[]): number | undefined {
  const text = process.env['SOURCE_DATE_EPOCH'];
  if (text === undefined || text === '') return undefined;
  let epoch: number | undefined;
  const problem = attempt(
    () => readInteger(text, 0),
    (value) => {
      epoch = value;
    },
  );
  if (problem !== undefined) problems.push(`SOURCE_DATE_EPOCH ${problem}`);
  return epoch;
}

function sayReport({ file, name, imageId, entries, bytes, compressedBytes, leftOut, notes }: BuildReport): void {
  for (const { path, message } of notes) say(`manifest: ${formatPath(path)}: ${message}`, 'yellow');
  const { sockets, first } = leftOut;
  if (sockets > 0)
    say(
      `left out: ${sockets} ${sockets === 1 ? 'socket' : 'sockets'}, the first at ${first[0]} (all with --json)`,
      'yellow',
    );
  // Always: whether there are any cannot be told.
  say('left out: extended attributes, if files have any: security.capability, user.*, access lists', 'yellow');
  say(`${name}: ${entries} entries, ${bytes} bytes, ${compressedBytes} in ${file}`);
  writeAll(1, `${imageId}\n`);
}
