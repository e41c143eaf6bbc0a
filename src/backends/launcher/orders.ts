// What a caller tells a launcher that runs a plan: records of three numbers, as `native/README.md` has them.
import type { SyscallDecision } from '../backend.ts';

export const control = { terminate: 1, kill: 2, resize: 3, signal: 4, forward: 5, answer: 6 } as const;
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

export function decisionNumber(decision: SyscallDecision): number {
  if (decision === 'allow') return 0;
  return decision === 'kill' ? DECIDES_KILL : decision.errno;
}
