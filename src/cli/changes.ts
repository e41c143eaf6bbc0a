// `run-sandbox changes`: what runs captured, to look at, to apply or to throw away.
import { isatty } from 'node:tty';
import { discardChanges, listChanges, openChanges } from '../changes/api.ts';
import { quoted } from '../changes/quoted.ts';
import { rawOf } from '../changes/raw.ts';
import type { CaptureSummary, Change, Changes } from '../changes/types.ts';
import { pushChanges } from '../image/api.ts';
import { formatCommand } from '../run/result.ts';
import { formatBytes } from '../spec/units.ts';
import { exitStatusOfError } from './exit.ts';
import { sayError, sayUsage } from './failure.ts';
import { newDraft, type Settings } from './option.ts';
import type { Parsed } from './parse.ts';
import { say } from './say.ts';
import { writeAll } from './write.ts';

const verbs = ['show', 'diff', 'export', 'push', 'apply', 'discard'] as const;
const formats = ['tar', 'oci-layer'] as const;
type Verb = (typeof verbs)[number];

export async function changesCommand({ draft, operands, problems }: Parsed): Promise<number> {
  const [word, ...ids] = operands;
  const verb = verbs.find((name) => name === word);
  const all = [...problems];
  if (word !== undefined && verb === undefined) all.push(`changes ${word} is nothing: known are ${verbs.join(', ')}`);
  if (verb !== undefined && ids.length === 0) all.push(`changes ${verb} needs an id: run-sandbox changes lists them`);
  const format = verb === 'export' && ids.length > 1 ? ids.pop() : undefined;
  const reference = verb === 'push' && ids.length > 1 ? ids.pop() : undefined;
  if (verb === 'push' && ids.length > 0 && reference === undefined)
    all.push('changes push needs a name at a registry: changes push ID [REGISTRY/]NAME[:TAG]');
  if (verb !== undefined && verb !== 'discard' && ids.length > 1) all.push(`changes ${verb} takes one id`);
  const known = formats.find((name) => name === (format ?? 'tar'));
  if (known === undefined) all.push(`changes export knows ${formats.join(' and ')}, not ${format}`);
  if (verb === 'export' && isatty(1))
    all.push('changes export writes an archive: send it to a file, as in > changes.tar');
  if (all.length > 0) return sayUsage(all);
  try {
    if (verb === undefined) await list(draft.settings.json);
    else if (verb === 'push') await push(await openChanges(ids[0] ?? ''), reference ?? '', draft.settings);
    else if (verb === 'discard') for (const id of ids) await discardChanges(id);
    else await perform(verb, await openChanges(ids[0] ?? ''), draft.settings.json, known);
    return 0;
  } catch (error) {
    sayError(error, newDraft());
    return exitStatusOfError(error);
  }
}

async function push(changes: Changes, reference: string, { json, image }: Settings): Promise<void> {
  const { plainHttp = [] } = image;
  const pushed = await pushChanges(changes, reference, { plainHttp });
  if (!json) say(`${formatBytes(pushed.bytes)} sent`);
  writeAll(1, json ? `${JSON.stringify(pushed, undefined, 2)}\n` : `${pushed.reference}\n`);
}

async function list(json: boolean): Promise<void> {
  const known = await listChanges();
  writeAll(1, json ? `${JSON.stringify(known, undefined, 2)}\n` : known.map(summaryLine).join(''));
}

function summaryLine({ id, startedAt, views, command }: CaptureSummary): string {
  const when = startedAt.toISOString().slice(0, 19).replace('T', ' ');
  const where = views.map(({ source }) => quoted(rawOf(source))).join(', ');
  return `${id}  ${when}  ${where}  ${visible(formatCommand(command))}\n`;
}

async function perform(
  verb: Exclude<Verb, 'push' | 'discard'>,
  changes: Changes,
  json: boolean,
  format: (typeof formats)[number] | undefined,
): Promise<void> {
  switch (verb) {
    case 'show': {
      const { id, directory, views, command, startedAt, entries } = changes;
      const members = { id, directory, views, command, startedAt, entries };
      writeAll(1, json ? `${JSON.stringify(members, undefined, 2)}\n` : entries.map(changeLine).join(''));
      return;
    }
    case 'diff': {
      const text = await changes.diff();
      writeAll(1, isatty(1) ? visible(text) : text);
      return;
    }
    case 'export':
      for await (const chunk of changes.export(format)) if (!writeAll(1, chunk)) return;
      return;
    case 'apply': {
      const { applied, skipped } = await changes.apply();
      for (const { source, because } of skipped) say(`left out: ${quoted(rawOf(source))}: ${because}`, 'yellow');
      say(`${applied} ${applied === 1 ? 'change' : 'changes'} applied`);
    }
  }
}

function changeLine({ kind, type, path, sizeBytes, previousSizeBytes, problem }: Change): string {
  const sizes = [previousSizeBytes, sizeBytes].flatMap((size) => (size === undefined ? [] : [formatBytes(size)]));
  const what = type === 'file' ? sizes.join(' -> ') : type;
  return `${kind.padEnd(8)}  ${quoted(rawOf(path))}  ${what}${problem === undefined ? '' : ` (${problem})`}\n`;
}

/** A terminal obeys what a command wrote: here it shows it instead, in the notation of cat -v. */
function visible(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  return text.replaceAll(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x80 ? `^${String.fromCharCode(code ^ 0x40)}` : `M-^${String.fromCharCode((code & 0x7f) ^ 0x40)}`;
  });
}
