// `run-sandbox image pull`, `ls`, `rm` and `gc`: the store of images.
import { findStore, openReference } from '../image/open/open.ts';
import type { StoredImage } from '../image/store/store.ts';
import { exitStatusOfError } from './exit.ts';
import { sayError, sayUsage } from './failure.ts';
import type { Call } from './image-call.ts';
import { newDraft, type Settings } from './option.ts';
import { pullProgress, rounded } from './progress.ts';
import { say } from './say.ts';
import { StatusWriter } from './status.ts';
import { readImage } from './values.ts';
import { writeAll } from './write.ts';

export async function pullCommand(call: Call): Promise<number> {
  return await attempt(call, 'at least one image', async (settings, references) => {
    for (const reference of references) {
      const { image } = settings;
      const opened = await openReference(readImage(reference), {
        ...image,
        ...pullProgress(settings),
        pull: image.pull ?? 'always',
        onNote: (note) => say(note, 'yellow'),
      });
      if (settings.json) writeAll(1, `${JSON.stringify(describe(opened))}\n`);
      else writeAll(1, `${opened.record.id}\n`);
    }
  });
}

export async function listCommand(call: Call): Promise<number> {
  return await attempt(call, 'nothing', async ({ json }) => {
    const images = (await findStore()).store.list().map(describe);
    if (json) {
      writeAll(1, `${JSON.stringify(images, undefined, 2)}\n`);
      return;
    }
    const rows = images.map(({ reference, kind, id, layers, bytes }) => [
      shortId(id),
      kind,
      String(layers),
      rounded(bytes),
      reference,
    ]);
    writeAll(1, table([['ID', 'KIND', 'LAYERS', 'SIZE', 'REFERENCE'], ...rows]));
  });
}

/** Layers go when nothing names them any more and nobody uses them: `image gc`. */
export async function removeCommand(call: Call): Promise<number> {
  return await attempt(call, 'at least one image', async ({ quiet }, names) => {
    const { store } = await findStore();
    const images = store.list();
    const found = names.map((name) => ({ name, images: images.filter((image) => isMeant(image, name)) }));
    const problems = found.flatMap(({ name, images: { length } }) =>
      length === 1 ? [] : [`'${name}' names ${length === 0 ? 'no image' : `${length} images`} of the store`],
    );
    if (problems.length > 0) throw new UsageProblems([...problems, 'run-sandbox image ls shows what there is']);
    for (const {
      images: [image],
    } of found)
      if (image !== undefined) store.records.remove(image.record);
    // What was asked to go is not kept for somebody who may be about to use it: a lease protects who does.
    const { layers, bytes } = await store.collect(0);
    if (!quiet) say(`${count(layers, 'layer')} with ${rounded(bytes)} removed`);
  });
}

export async function collectCommand(call: Call): Promise<number> {
  return await attempt(call, 'nothing', async ({ json, quiet }) => {
    const collected = await (await findStore()).store.collect();
    if (json) writeAll(1, `${JSON.stringify(collected)}\n`);
    else if (!quiet) {
      const { layers, bytes, images, unfinished } = collected;
      say(
        `${count(layers, 'layer')} with ${rounded(bytes)} removed, ${count(images, 'image')} whose file has changed or gone, ${count(unfinished, 'unfinished directory', 'unfinished directories')}`,
      );
    }
  });
}

const ID_CHARACTERS = 12;

class UsageProblems extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('; '));
    this.problems = problems;
  }
}

async function attempt(
  { before, parsed, problems }: Call,
  takes: 'nothing' | 'at least one image',
  work: (settings: Settings, operands: readonly string[]) => Promise<void>,
): Promise<number> {
  const { operands, draft } = parsed;
  const settings: Settings = {
    ...draft.settings,
    json: draft.settings.json || before.settings.json,
    quiet: draft.settings.quiet || before.settings.quiet,
    image: { ...before.settings.image, ...draft.settings.image },
  };
  const all = [...problems];
  if ((operands.length === 0) !== (takes === 'nothing')) all.push(`this takes ${takes}`);
  if (all.length > 0) return sayUsage(all);
  try {
    await work(settings, operands);
    return 0;
  } catch (error) {
    if (error instanceof UsageProblems) return sayUsage(error.problems);
    sayError(error, newDraft());
    const exit = exitStatusOfError(error);
    new StatusWriter(undefined, settings.json).error(error instanceof Error ? error : new Error(String(error)), exit);
    return exit;
  }
}

interface Described {
  readonly reference: string;
  readonly kind: string;
  readonly id: string;
  readonly layers: number;
  /** Of content; layers that images share count for each. */
  readonly bytes: number;
}

function describe({ record, layers }: StoredImage): Described {
  const { reference, kind, id } = record;
  return { reference, kind, id, layers: layers.length, bytes: layers.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** By its whole reference, or by as much of its id as names no other. */
function isMeant({ record: { reference, id } }: StoredImage, name: string): boolean {
  const hex = id.replace(/^sha\d+[:-]/, '');
  const start = name.replace(/^sha\d+[:-]/, '');
  return reference === name || reference === readImage(name) || (/^[0-9a-f]{8,}$/.test(start) && hex.startsWith(start));
}

function shortId(id: string): string {
  return id.replace(/^sha\d+[:-]/, '').slice(0, ID_CHARACTERS);
}

function count(number: number, what: string, many = `${what}s`): string {
  return `${number} ${number === 1 ? what : many}`;
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}
