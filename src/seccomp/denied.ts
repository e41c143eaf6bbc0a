// The name of a call that a filter ended its process for. Loaded only then: the tables are large.
import { type Abi, syscallTable } from './syscalls.ts';

export interface DeniedCall {
  /** As the filter saw it; -1 is none. */
  readonly number: number;
  /** Absent for a number that Linux has no call for. */
  readonly name?: string;
  /** `x86_64`, `i386`, `x32` or `aarch64`; which of them a program uses is its own choice. */
  readonly abi: string;
}

/** AUDIT_ARCH_* of linux/audit.h. */
const machines: ReadonlyMap<number, Abi> = new Map([
  [0xc000003e, 'x86_64'],
  [0x40000003, 'i386'],
  [0xc00000b7, 'aarch64'],
]);

/** Numbers of x32 have this bit, under the audit architecture of x86-64. */
const X32_BIT = 0x40000000;

export function deniedCall({ number, audit }: { readonly number: number; readonly audit: number }): DeniedCall {
  const machine = machines.get(audit);
  if (machine === undefined) return { number, abi: `AUDIT_ARCH 0x${audit.toString(16)}` };
  const abi = machine === 'x86_64' && number > 0 && (number & X32_BIT) !== 0 ? 'x32' : machine;
  const own = abi === 'x32' ? number & ~X32_BIT : number;
  const name = [...syscallTable(abi)].find(([, known]) => known === own)?.[0];
  return { number, ...(name === undefined ? {} : { name }), abi };
}
