// What a caller tells a launcher that runs a plan: records of three numbers, as `native/README.md` has them.
import { constants } from 'node:os';
import type { LaunchRequest, SyscallDecision } from '../backend.ts';

export const control = {
  terminate: 1,
  kill: 2,
  resize: 3,
  signal: 4,
  forward: 5,
  answer: 6,
  call: 7,
  lend: 8,
} as const;
const ORDER_BYTES = 12;
/** Among answers, beside errors. */
const DECIDES_KILL = 0xffff;

export function encodeOrder(type: number, a: number, b: number): Buffer {
  const record = Buffer.alloc(ORDER_BYTES);
  record.writeUInt32LE(type, 0);
  record.writeUInt32LE(a, 4);
  record.writeUInt32LE(b, 8);
  return record;
}

/** To a server: what comes next on a lane has one of its streams as this descriptor. */
export function encodeLend(lane: number, descriptor: 0 | 1 | 2, stream: number): Buffer {
  return encodeOrder(control.lend, lane, descriptor * 0x10000 + stream);
}

/** A call may have so many bytes, and so many arguments. */
const CALL_BYTES_MAX = 192 * 1024;
const CALL_ARGUMENTS_MAX = 4096;
/** Five numbers. */
const FIXED_CALL_BYTES = 20;
const noInput = new Uint8Array(0);

/** The order to start a command in a sandbox that waits for one; `undefined` where the call is too large for it. */
export function encodeCall({
  command,
  killSignal,
  gracePeriodMs,
  collect,
}: Pick<LaunchRequest, 'command' | 'killSignal' | 'gracePeriodMs' | 'collect'>): Buffer | undefined {
  const given = collect?.input;
  const input = typeof given === 'string' ? Buffer.from(given) : (given ?? noInput);
  const lengths = command.map((argument) => Buffer.byteLength(argument) + 1);
  const length = lengths.reduce((sum, each) => sum + 4 + each, FIXED_CALL_BYTES + input.length);
  if (length > CALL_BYTES_MAX || command.length > CALL_ARGUMENTS_MAX) return undefined;
  const bytes = Buffer.alloc(ORDER_BYTES + length);
  bytes.writeUInt32LE(control.call, 0);
  bytes.writeUInt32LE(length, 4);
  let at = ORDER_BYTES;
  const has = given === undefined ? 0 : 1;
  for (const number of [constants.signals[killSignal], Math.ceil(gracePeriodMs), has, input.length])
    at = bytes.writeUInt32LE(number, at);
  bytes.set(input, at);
  at = bytes.writeUInt32LE(command.length, at + input.length);
  command.forEach((argument, index) => {
    at = bytes.writeUInt32LE(lengths[index] ?? 0, at);
    at += bytes.write(argument, at) + 1;
  });
  return bytes;
}

export function decisionNumber(decision: SyscallDecision): number {
  if (decision === 'allow') return 0;
  return decision === 'kill' ? DECIDES_KILL : decision.errno;
}
