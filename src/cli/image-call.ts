// What the verbs of `run-sandbox image` have in common.
import { exitStatusOfError, statusOfSignal } from './exit.ts';
import { sayError } from './failure.ts';
import { type Draft, type DraftImage, newDraft } from './option.ts';
import type { Parsed } from './parse.ts';
import { say } from './say.ts';
import { StatusWriter } from './status.ts';

export interface Call {
  /** Of the options before the verb. */
  readonly before: Draft;
  /** Of what comes after it. */
  readonly parsed: Parsed;
  readonly problems: readonly string[];
}

type Options = Pick<Call, 'before' | 'parsed'>;

/** What counts for which verb. */
const served: Readonly<Record<string, readonly (keyof DraftImage)[]>> = {
  build: ['out', 'compress', 'owner', 'force'],
  inspect: ['limits'],
  unpack: ['limits', 'whiteouts', 'setid', 'duplicates'],
  validate: ['limits', 'keyring'],
  pull: ['keyring'],
  ls: [],
  rm: [],
  gc: [],
};
const spellings: Partial<Record<keyof DraftImage, string>> = { limits: 'archive-limit' };

/** Options that mean something to another verb: in silence, somebody would count on them. */
export function unserved(verb: string, options: Options): string[] {
  const known = Object.hasOwn(served, verb) ? served[verb] : undefined;
  const { limits, ...rest } = draftOf(options);
  const given = [...Object.keys(rest), ...(Object.keys(limits).length > 0 ? ['limits'] : [])] as (keyof DraftImage)[];
  if (known === undefined) return [];
  return given
    .filter((key) => !known.includes(key))
    .map((key) => `--${spellings[key] ?? key} means nothing to image ${verb}`);
}

/** Options after the verb count more than those before it. */
export function draftOf({ before, parsed }: Options): DraftImage {
  const { limits, ...rest } = parsed.draft.image;
  return { ...before.image, ...rest, limits: { ...before.image.limits, ...limits } };
}

export function wantsJson({ before, parsed }: Options): boolean {
  return before.settings.json || parsed.draft.settings.json;
}

/** Does `work`, which leaves nothing behind when a signal ends this process. What it throws is a failure, and no word on an image. */
export async function orFailure(work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    sayError(error, newDraft());
    return exitStatusOfError(error);
  }
}

/** Does `work`, which a signal ends; returns the exit status. */
export async function carryOut(json: boolean, work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController();
  const stop = (signal: NodeJS.Signals): void => controller.abort(signal);
  // A second one ends this process at once, as if nobody listened.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.once(signal, stop);
  try {
    return await work(controller.signal);
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
