// What a caller may tell a run, by whatever way the launcher hears it.
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import type { LaunchRequest } from '../backend.ts';
import { control, decisionNumber, encodeOrder } from './orders.ts';
import { Rest } from './rest.ts';
import type { SyscallLine } from './status.ts';

export abstract class OrderedRun {
  protected readonly request: LaunchRequest;
  abstract readonly stdout: Readable | undefined;
  abstract readonly stderr: Readable | undefined;
  #rest: Rest | undefined;
  #waiting = 0;

  constructor(request: LaunchRequest) {
    this.request = request;
  }

  abstract ref(): void;
  abstract unref(): void;

  /** Who waits for the word keeps Node alive, as who reads does. */
  rest(output: 1 | 2): Promise<void> | undefined {
    const rest = this.#rest?.of(output);
    if (rest === undefined) return undefined;
    if (this.#waiting++ === 0) this.ref();
    return rest.finally(() => {
      if (--this.#waiting === 0) this.unref();
    });
  }

  /** False when nothing is left. */
  deliver(output: 1 | 2): boolean {
    return this.#rest?.deliver(output) === true;
  }

  loseRest(error: Error): void {
    this.#rest?.lose(error);
  }

  /** The end has been told, but for these outputs. Settles as those do whose end has been seen before that was known. */
  protected async leaveRest(outputs: readonly (1 | 2)[]): Promise<void> {
    this.#rest = new Rest(outputs);
    const streams = { 1: this.stdout, 2: this.stderr };
    const seen = outputs.filter((output) => streams[output]?.readableEnded === true);
    await Promise.all(seen.map((output) => this.rest(output)));
  }

  /** Without effect where the run is over. */
  protected abstract send(order: Buffer): void;

  terminate(
    signal: NodeJS.Signals = this.request.killSignal,
    gracePeriodMs: number = this.request.gracePeriodMs,
  ): void {
    this.send(encodeOrder(control.terminate, constants.signals[signal], Math.ceil(gracePeriodMs)));
  }

  kill(): void {
    this.send(encodeOrder(control.kill, 0, 0));
  }

  signal(signal: NodeJS.Signals): void {
    this.send(encodeOrder(control.signal, constants.signals[signal], 0));
  }

  forward(signal: NodeJS.Signals): void {
    this.send(encodeOrder(control.forward, constants.signals[signal], 0));
  }

  resize(columns: number, rows: number): void {
    this.send(encodeOrder(control.resize, columns, rows));
  }

  protected decide({ slot, answer, pid, number, audit, args }: SyscallLine): void {
    const call = { number, audit, args, ...(pid === undefined ? {} : { pid }), action: answer };
    // Who started this without an ear for it gets what asks refused.
    const decision = this.request.onSyscall?.(call) ?? Promise.resolve({ errno: constants.errno.EPERM });
    decision.then((decided) => this.send(encodeOrder(control.answer, slot, decisionNumber(decided))));
  }
}
