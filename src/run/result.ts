// What a run came to: the kernel's account of the end, in the words of `Outcome`.
import { inspect } from 'node:util';
import type { LaunchEnd, Usage } from '../backends/backend.ts';
import type { Changes } from '../changes/types.ts';
import { CommandError, InternalError } from '../errors/errors.ts';
import type { DeniedCall } from '../seccomp/denied.ts';
import type { NormalizedSpec } from '../spec/types.ts';
import type { HandlerResults } from './around.ts';
import type { EndOrder } from './terminate.ts';
import type { Enforcement, Outcome, Output, RunResult, SyscallCall, SyscallReport } from './types.ts';

/** How much of stderr a CommandError quotes. */
const TAIL_LINES = 5;
const TAIL_CHARACTERS = 600;
const COMMAND_CHARACTERS = 120;

/** Preconditions: `order` is not `failed`: such a run has no result. */
export function outcomeOf(
  end: LaunchEnd,
  limits: NormalizedSpec['limits'],
  order: EndOrder | undefined,
  syscall?: DeniedCall,
): Outcome {
  // Output was dropped: that counts even when the command ended before the order reached it.
  if (order?.kind === 'overflow') return { kind: 'limit', limit: 'outputBytes' };
  switch (end.cause.kind) {
    case 'limit':
      return { kind: 'limit', limit: end.cause.limit };
    case 'terminated':
      return { kind: 'cancelled', reason: order?.kind === 'cancelled' ? order.reason : end.signal };
    case 'signalled':
      return { kind: 'cancelled', reason: end.cause.signal };
    case 'command':
      return syscall === undefined ? outcomeOfCommand(end, limits) : { kind: 'denied', rule: 'seccomp', syscall };
  }
}

function outcomeOfCommand(end: LaunchEnd, limits: NormalizedSpec['limits']): Outcome {
  if (end.signal === undefined) {
    if (end.code === undefined) throw new InternalError('a command ended with neither an exit status nor a signal');
    return { kind: 'exited', code: end.code };
  }
  if (limits.processCpuMs !== undefined && endedByCpuLimit(end, limits.processCpuMs))
    return { kind: 'limit', limit: 'processCpuMs' };
  if (limits.fileBytes !== undefined && end.signal === 'SIGXFSZ') return { kind: 'limit', limit: 'fileBytes' };
  return { kind: 'signalled', signal: end.signal };
}

/** RLIMIT_CPU sends SIGXCPU at the soft limit and SIGKILL at the hard one; anybody may send SIGKILL, so the clock must agree. */
function endedByCpuLimit(end: LaunchEnd, processCpuMs: number): boolean {
  if (end.signal === 'SIGXCPU') return true;
  if (end.signal !== 'SIGKILL') return false;
  const { cpuUserMs, cpuSystemMs } = end.usage;
  if (cpuUserMs === undefined || cpuSystemMs === undefined) return false;
  return cpuUserMs + cpuSystemMs >= Math.ceil(processCpuMs / 1000) * 1000;
}

export interface ResultParts {
  readonly command: readonly string[];
  readonly outcome: Outcome;
  readonly exitCode: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly stdoutTruncated: boolean;
  readonly stderrTruncated: boolean;
  readonly usage: Usage;
  readonly enforcement: Enforcement;
  readonly syscalls?: SyscallReport;
  readonly changes?: Changes;
  readonly handlers?: HandlerResults;
}

export function makeResult(parts: ResultParts): RunResult {
  return Object.assign(Object.create(resultMethods), parts);
}

/** Not an own property: a result stays plain data to JSON, to a wire and to a deep comparison. */
const resultMethods: Pick<RunResult, 'assertSuccess'> = {
  assertSuccess(this: RunResult): RunResult {
    if (this.outcome.kind === 'exited' && this.outcome.code === 0) return this;
    throw new CommandError<RunResult>(failureMessage(this), this);
  },
};

/** `make check exited with status 2: last lines of stderr`. */
export function failureMessage(result: RunResult): string {
  const tail = tailOf(result.stderr);
  return `${formatCommand(result.command)} ${describeOutcome(result.outcome)}${tail === '' ? '' : `:\n${tail}`}`;
}

/** An outcome as the predicate of a sentence: `exited with status 2`. */
export function describeOutcome(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'exited':
      return `exited with status ${outcome.code}`;
    case 'signalled':
      return `was ended by ${outcome.signal}`;
    case 'limit':
      return `met its limit ${outcome.limit}`;
    case 'denied':
      return `was ended by its seccomp filter for calling ${formatCall(outcome.syscall)}`;
    case 'cancelled':
      return `was cancelled: ${wordsOf(outcome.reason)}`;
  }
}

/** `process 3 called mkdir (83 of x86_64)` */
export function describeSyscall({ pid, action, ...call }: SyscallCall): string {
  const who = pid === undefined ? 'a process' : `process ${pid}`;
  const words = { log: 'called', errno: 'was refused', kill: 'is ended for calling', ask: 'asks for' };
  return `${who} ${words[action]} ${formatCall(call)}`;
}

/** `mount (165 of x86_64)` */
export function formatCall({ name, number, abi }: DeniedCall): string {
  return name === undefined ? `${number} of ${abi}` : `${name} (${number} of ${abi})`;
}

function wordsOf(reason: unknown): string {
  if (reason instanceof Error) return reason.message;
  return typeof reason === 'string' ? reason : inspect(reason);
}

/** An argv as one would type it; shortened for a message. */
export function formatCommand(command: readonly string[]): string {
  const text = command
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(' ');
  return text.length <= COMMAND_CHARACTERS ? text : `${text.slice(0, COMMAND_CHARACTERS - 3)}...`;
}

function tailOf(output: Output): string {
  if (output === undefined || output.length === 0) return '';
  // A character takes at most four bytes.
  const text = typeof output === 'string' ? output : new TextDecoder().decode(output.subarray(-4 * TAIL_CHARACTERS));
  return text.trimEnd().slice(-TAIL_CHARACTERS).split('\n').slice(-TAIL_LINES).join('\n');
}
