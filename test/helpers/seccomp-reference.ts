// The meaning of an OCI seccomp profile, as plainly as it can be written: the compiler is compared with this.
import type { OciSeccompArg, OciSeccompProfile } from '../../src/seccomp/oci.ts';
import { type Abi, abis, syscallTable } from '../../src/seccomp/syscalls.ts';
import { audit, type SeccompData } from './bpf.ts';

const X32_BIT = 0x40000000;
export const KILL_PROCESS = 0x80000000;
export const ALLOW = 0x7fff0000;
export const errno = (number: number): number => 0x00050000 + number;

const actions: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: KILL_PROCESS,
  SCMP_ACT_TRAP: 0x30000,
  SCMP_ACT_ERRNO: 0x50000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: ALLOW,
};

export function verdictOf(action: string, errnoRet: number | undefined): number {
  const base = actions[action];
  if (base === undefined) throw new Error(action);
  return action === 'SCMP_ACT_ERRNO' ? base + (errnoRet ?? 1) : base;
}

/** What `profile` says to a call on this machine. */
export function evaluate(profile: OciSeccompProfile, architecture: 'x64' | 'arm64', data: SeccompData): number {
  const abi = abiOf(profile, architecture, data);
  if (abi === undefined) return KILL_PROCESS;
  const number = abi === 'x32' ? data.nr - X32_BIT : data.nr;
  for (const rule of profile.syscalls ?? []) {
    if (!rule.names.some((name) => syscallTable(abi).get(name) === number)) continue;
    if ((rule.args ?? []).every((test) => holds(test, data.args?.[test.index] ?? 0n)))
      return verdictOf(rule.action, rule.errnoRet);
  }
  return verdictOf(profile.defaultAction, profile.defaultErrnoRet);
}

function abiOf(profile: OciSeccompProfile, architecture: 'x64' | 'arm64', { arch, nr }: SeccompData): Abi | undefined {
  const named = new Set(profile.architectures);
  if (architecture === 'arm64') return arch === audit.aarch64 ? 'aarch64' : undefined;
  if (arch === audit.i386) return named.has('SCMP_ARCH_X86') ? 'i386' : undefined;
  if (arch !== audit.x86_64) return undefined;
  if (nr < X32_BIT || nr >= 0xfffffffe) return 'x86_64';
  return named.has('SCMP_ARCH_X32') ? 'x32' : undefined;
}

function holds({ op, value, valueTwo }: OciSeccompArg, argument: bigint): boolean {
  const datum = BigInt(value);
  switch (op) {
    case 'SCMP_CMP_NE':
      return argument !== datum;
    case 'SCMP_CMP_LT':
      return argument < datum;
    case 'SCMP_CMP_LE':
      return argument <= datum;
    case 'SCMP_CMP_EQ':
      return argument === datum;
    case 'SCMP_CMP_GE':
      return argument >= datum;
    case 'SCMP_CMP_GT':
      return argument > datum;
    case 'SCMP_CMP_MASKED_EQ':
      return (argument & datum) === (BigInt(valueTwo ?? 0) & datum);
    default:
      throw new Error(op);
  }
}

const MAX = 0xffffffffffffffffn;

/** Values at and around every value that `profile` compares with, each also with high bits set. */
function* telling(profile: OciSeccompProfile): Generator<bigint> {
  const values = new Set<bigint>([0n, 1n, MAX]);
  for (const rule of profile.syscalls ?? []) {
    for (const { value, valueTwo } of rule.args ?? []) {
      for (const datum of [BigInt(value), BigInt(valueTwo ?? 0), BigInt(value) & BigInt(valueTwo ?? 0)]) {
        for (const near of [datum - 1n, datum, datum + 1n]) if (near >= 0n && near <= MAX) values.add(near);
      }
    }
  }
  for (const value of values) {
    yield value;
    yield value ^ (1n << 32n);
    yield value ^ (1n << 63n);
  }
}

/** Every number of every table, numbers around and beyond them, and for calls whose arguments matter, arguments that tell. */
export function* probes(profile: OciSeccompProfile): Generator<SeccompData> {
  const tested = new Map<string, Set<number>>();
  for (const { names, args } of profile.syscalls ?? []) {
    for (const name of names)
      for (const { index } of args ?? []) tested.set(name, (tested.get(name) ?? new Set()).add(index));
  }
  const values = [...new Set(telling(profile))];
  const arch: Readonly<Record<Abi, number>> = {
    x86_64: audit.x86_64,
    x32: audit.x86_64,
    i386: audit.i386,
    aarch64: audit.aarch64,
  };
  for (const abi of abis) {
    for (const [name, number] of syscallTable(abi)) {
      const nr = abi === 'x32' ? number + X32_BIT : number;
      yield { arch: arch[abi], nr };
      yield { arch: audit.arm, nr };
      for (const index of tested.get(name) ?? []) {
        for (const value of values)
          yield { arch: arch[abi], nr, args: Array.from({ length: 6 }, (_, i) => (i === index ? value : 0n)) };
      }
    }
    for (const nr of [
      244, 300, 337, 387, 423, 470, 511, 512, 547, 548, 600, 9999, 0x3fffffff, 0x40000000, 0x7fffffff, 0x80000000,
    ]) {
      yield { arch: arch[abi], nr };
    }
    for (const nr of [0xbfffffff, 0xc0000000, 0xfffffffd, 0xfffffffe, 0xffffffff]) yield { arch: arch[abi], nr };
  }
  for (const foreign of [0, audit.arm, audit.riscv64, 0xffffffff]) yield { arch: foreign, nr: 0 };
}

export function describeCall({ arch, nr, args = [] }: SeccompData): string {
  return `arch ${arch.toString(16)}, system call ${nr} (${args.map((value) => `0x${value.toString(16)}`).join(', ')})`;
}
