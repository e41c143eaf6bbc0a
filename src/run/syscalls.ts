// Calls that the filter tells of (`onSyscall` of the spec): named, counted, handed to who listens, and answered where they ask.
import type { AskedCall, SyscallDecision } from '../backends/backend.ts';
import { SpecError } from '../errors/errors.ts';
import { errnoNumber } from '../seccomp/errno.ts';
import type { NormalizedSpec } from '../spec/types.ts';
import { describeValue } from '../spec/words.ts';
import type { RunOptions, SyscallCall, SyscallReport } from './types.ts';

/** So many stay in the result; the count goes on. */
const KEPT = 1000;

type Handler = NonNullable<RunOptions['onSyscall']>;

/** @throws {SpecError} where rules ask and nobody would answer, or the other way round. */
export function checkHandler({ onSyscall }: NormalizedSpec, handler: Handler | undefined): void {
  const asks = onSyscall?.rules.some(({ action }) => action === 'ask') === true;
  if (asks === (handler !== undefined)) return;
  const message = asks
    ? 'must be a function: rules of the spec have the action ask'
    : 'would never be called: no rule of the spec has the action ask';
  throw new SpecError([{ path: ['options', 'onSyscall'], message }]);
}

export class Syscalls {
  readonly #handler: Handler | undefined;
  readonly #listen: (call: SyscallCall) => void;
  readonly #fail: (error: unknown) => void;
  readonly #first: SyscallCall[] = [];
  #total = 0;
  /** One promise, so that calls are named in the order in which they came, and all of them before `report`. */
  #naming: Promise<typeof import('../seccomp/denied.ts')> | undefined;

  constructor(handler: Handler | undefined, listen: (call: SyscallCall) => void, fail: (error: unknown) => void) {
    this.#handler = handler;
    this.#listen = listen;
    this.#fail = fail;
  }

  /** Never rejects: what the handler throws ends the run. */
  async hear({ action, args, pid, ...call }: AskedCall): Promise<SyscallDecision> {
    this.#naming ??= import('../seccomp/denied.ts');
    const { deniedCall } = await this.#naming;
    const named: SyscallCall = { ...deniedCall(call), args, ...(pid === undefined ? {} : { pid }), action };
    this.#total++;
    if (this.#first.length < KEPT) this.#first.push(named);
    this.#listen(named);
    if (action !== 'ask') return 'allow';
    try {
      return decisionOf(await this.#handler?.(named));
    } catch (error) {
      this.#fail(error);
      return 'kill';
    }
  }

  async report(): Promise<SyscallReport> {
    await this.#naming;
    return { total: this.#total, first: this.#first };
  }
}

function decisionOf(answer: unknown): SyscallDecision {
  if (answer === 'allow' || answer === 'kill') return answer;
  const name = typeof answer === 'object' && answer !== null && 'errno' in answer ? answer.errno : undefined;
  const errno = typeof name === 'string' ? errnoNumber(name) : undefined;
  if (errno !== undefined) return { errno };
  const given = name === undefined ? describeValue(answer) : `errno ${JSON.stringify(name)}`;
  const message = `must return 'allow', 'kill', or { errno } with the name of an error such as 'EPERM', not ${given}`;
  throw new SpecError([{ path: ['options', 'onSyscall'], message }]);
}
