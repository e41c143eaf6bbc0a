// The name of a call that a filter did not simply let through. Loaded only then: the tables are large.
import { auditArch, X32_BIT } from './audit.ts';
import { type Abi, syscallTable } from './syscalls.ts';

export interface DeniedCall {
  /** As the filter saw it; -1 is none. */
  readonly number: number;
  /** Absent for a number that Linux has no call for. */
  readonly name?: string;
  /** `x86_64`, `i386`, `x32` or `aarch64`; which of them a program uses is its own choice. */
  readonly abi: string;
}

const machines = Object.keys(auditArch) as (keyof typeof auditArch)[];

export function deniedCall({ number, audit }: { readonly number: number; readonly audit: number }): DeniedCall {
  const machine = machines.find((each) => auditArch[each] === audit);
  if (machine === undefined) return { number, abi: `AUDIT_ARCH 0x${audit.toString(16)}` };
  const abi: Abi = machine === 'x86_64' && number > 0 && (number & X32_BIT) !== 0 ? 'x32' : machine;
  const name = namesOf(abi).get(abi === 'x32' ? number & ~X32_BIT : number);
  return { number, ...(name === undefined ? {} : { name }), abi };
}

const names = new Map<Abi, ReadonlyMap<number, string>>();

function namesOf(abi: Abi): ReadonlyMap<number, string> {
  const known = names.get(abi) ?? new Map([...syscallTable(abi)].map(([name, number]) => [number, name]));
  names.set(abi, known);
  return known;
}

/** All that can be named under one machine's audit architectures, for who has no tables at hand. */
export function* nameableCalls(): Generator<DeniedCall & { readonly audit: number }> {
  for (const machine of machines) {
    const audit = auditArch[machine];
    for (const number of namesOf(machine).keys()) yield { ...deniedCall({ number, audit }), audit };
    if (machine !== 'x86_64') continue;
    for (const number of namesOf('x32').keys()) {
      // 0 with the bit alone is a number of x32 too.
      yield { ...deniedCall({ number: number | X32_BIT, audit }), audit };
    }
  }
}
