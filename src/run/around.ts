// Programs around a command (pre-start and post-stop of an App Container image): each is a run of its own, with the same sandbox, over what those before it
// wrote to the root. So the last one runs whatever ended the command, limits too, of which a sandbox does not come back.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { listUpper, type UpperEntry } from '../changes/upper.ts';
import { ImageError } from '../errors/errors.ts';
import { openStore } from '../image/open/open.ts';
import type { RootLayer } from '../spec/layered-root.ts';
import type { CheckedCall } from './call.ts';
import type { CallOptions } from './options.ts';
import type { Prepared } from './plan.ts';
import { describeOutcome } from './result.ts';
import type { RunResult } from './types.ts';

type Command = readonly [string, ...string[]];

export interface Handlers {
  readonly preStart: Command | undefined;
  readonly postStop: Command | undefined;
}

/** What became of them. */
export interface HandlerResults {
  readonly preStart?: RunResult;
  /** Its failure is no failure of the command. */
  readonly postStop?: RunResult | { readonly error: Error };
}

/** A sandbox over `above`, the uppermost first, and the image; with `keeps` what is written goes there. */
export type PlanStage = (above: readonly RootLayer[], keeps: string | undefined) => Prepared | Promise<Prepared>;

/** One program in a sandbox, to its end. */
export type RunProgram = (call: CheckedCall, prepared: Prepared) => Promise<RunResult>;

/** What a run begins and ends with, where that is more than a sandbox. */
export interface AroundRun {
  /** The sandbox of the command. */
  start(): Promise<Prepared>;
  /** When the command has ended, however it did. */
  finish(): Promise<HandlerResults | undefined>;
  /** Gives back what lay on a disk meanwhile, also where nothing was started. */
  release(): Promise<void>;
}

export interface StageOptions {
  readonly options: CallOptions;
  readonly writes: boolean;
  /** Whether what is written may belong to ranges of ids of the caller's. */
  readonly ranges: boolean;
  /** Where all of them write what they do to the root, which is the caller's to look at; else that is passed on, and gone in the end. */
  readonly captured: string | undefined;
}

/** One run of an image with programs around its command. */
export class HandlersRun implements AroundRun {
  readonly #handlers: Handlers;
  readonly #plan: PlanStage;
  readonly #runProgram: RunProgram;
  readonly #options: CallOptions;
  readonly #name: string;
  readonly #writes: boolean;
  readonly #ranges: boolean;
  readonly #captured: string | undefined;
  readonly #store = openStore().store.layers;
  readonly #work: string;
  readonly #above: RootLayer[] = [];
  #stages = 0;
  #pending: string | undefined;
  #preStart: RunResult | undefined;

  constructor(
    name: string,
    handlers: Handlers,
    { options, writes, ranges, captured }: StageOptions,
    plan: PlanStage,
    runProgram: RunProgram,
  ) {
    this.#handlers = handlers;
    this.#plan = plan;
    this.#options = options;
    this.#name = name;
    this.#runProgram = runProgram;
    this.#writes = writes;
    this.#ranges = ranges;
    this.#captured = captured;
    this.#work = this.#store.makeWork();
  }

  /** Runs what comes before; the sandbox of the command. @throws {ImageError} `SBX_IMAGE_HANDLER` where that did not end well. */
  async start(): Promise<Prepared> {
    const { preStart, postStop } = this.#handlers;
    if (preStart !== undefined) {
      this.#preStart = await this.#run(preStart, true, this.#options.signal);
      const { outcome } = this.#preStart;
      if (outcome.kind !== 'exited' || outcome.code !== 0) {
        const last =
          String(this.#preStart.stderr ?? '')
            .trim()
            .split('\n')
            .at(-1) ?? '';
        const why = last === '' ? '' : `: ${last}`;
        throw new ImageError(
          'SBX_IMAGE_HANDLER',
          `pre-start of ${this.#name} ${describeOutcome(outcome)}, and the command was not started${why}`,
        );
      }
    }
    return await this.#stage(postStop !== undefined);
  }

  /** When the command has ended, however it did. */
  async finish(): Promise<HandlerResults> {
    const { postStop } = this.#handlers;
    const before = this.#preStart === undefined ? {} : { preStart: this.#preStart };
    if (postStop === undefined) return before;
    try {
      await this.#settle();
      return { ...before, postStop: await this.#run(postStop, false, undefined) };
    } catch (error) {
      return { ...before, postStop: { error: error instanceof Error ? error : new Error(String(error)) } };
    }
  }

  async release(): Promise<void> {
    await this.#store.removeWork(this.#work);
  }

  async #run(command: Command, keeps: boolean, signal: AbortSignal | undefined): Promise<RunResult> {
    const prepared = await this.#stage(keeps);
    const { stdout, stderr } = this.#options;
    const inherits = stdout.includes('inherit') && stderr !== 'stdout' && stderr.includes('inherit');
    const streams: Pick<CallOptions, 'stdout' | 'stderr' | 'plainStdio'> = inherits
      ? { stdout: ['inherit', 'pipe'], stderr: ['inherit', 'pipe'], plainStdio: false }
      : { stdout: ['pipe'], stderr: ['pipe'], plainStdio: true };
    const { killSignal, gracePeriodMs, backend, optional, image } = this.#options;
    const options: CallOptions = {
      ...streams,
      stdin: 'ignore',
      input: undefined,
      descriptors: new Map(),
      encoding: 'utf8',
      stripFinalNewline: false,
      signal,
      killSignal,
      gracePeriodMs,
      backend,
      optional,
      onSyscall: undefined,
      image,
      onEvent: undefined,
    };
    const result = await this.#runProgram({ command, options, issues: [] }, prepared);
    if (keeps) await this.#settle();
    return result;
  }

  async #stage(keeps: boolean): Promise<Prepared> {
    if (this.#captured !== undefined) return await this.#plan([], this.#captured);
    if (!keeps || !this.#writes) return await this.#plan(this.#above, undefined);
    const directory = join(this.#work, String(this.#stages++));
    for (const path of [directory, join(directory, 'upper'), join(directory, 'work')]) mkdirSync(path, { mode: 0o700 });
    this.#pending = join(directory, 'upper');
    return await this.#plan(this.#above, directory);
  }

  async #list(upper: string): Promise<UpperEntry[]> {
    return this.#ranges
      ? await (await import('../changes/in-ranges.ts')).listUpperInRanges(upper)
      : await listUpper(upper);
  }

  /** What the last stage wrote lies below the next. */
  async #settle(): Promise<void> {
    if (this.#pending === undefined) return;
    const directory = this.#pending;
    this.#pending = undefined;
    const entries = await this.#list(directory);
    const opaque = entries.filter((entry) => entry.opaque);
    this.#above.unshift({
      directory,
      opaque: opaque.map(({ path }) => `/${Buffer.from(path, 'latin1').toString('utf8')}`),
    });
  }
}
