// What a caller may tell a run, by whatever way the launcher hears it.
import { constants } from 'node:os';
import type { LaunchRequest } from '../backend.ts';
import { control, decisionNumber, encodeOrder } from './orders.ts';
import type { SyscallLine } from './status.ts';

export abstract class OrderedRun {
  protected readonly request: LaunchRequest;

  constructor(request: LaunchRequest) {
    this.request = request;
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
