// Runs a compiled filter as the kernel would: classic BPF over struct seccomp_data, and every check of the kernel's verifier that matters here.

export interface SeccompData {
  readonly arch: number;
  readonly nr: number;
  readonly args?: readonly bigint[];
}

export const audit = {
  x86_64: 0xc000003e,
  i386: 0x40000003,
  aarch64: 0xc00000b7,
  arm: 0x40000028,
  riscv64: 0xc00000f3,
} as const;

interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** Throws where the kernel would refuse the program: out-of-range jumps, unknown or misaligned loads, a last instruction that is no return. */
export function decode(filter: Uint8Array): readonly Instruction[] {
  if (filter.length === 0 || filter.length % 8 !== 0) throw new Error(`a filter of ${filter.length} bytes`);
  const view = new DataView(filter.buffer, filter.byteOffset, filter.byteLength);
  const program = Array.from({ length: filter.length / 8 }, (_, i) => ({
    code: view.getUint16(i * 8, true),
    jt: view.getUint8(i * 8 + 2),
    jf: view.getUint8(i * 8 + 3),
    k: view.getUint32(i * 8 + 4, true),
  }));
  if (program.length > 4096) throw new Error(`${program.length} instructions`);
  for (const [at, { code, jt, jf, k }] of program.entries()) {
    const far = code === 0x05 ? k : Math.max(jt, jf);
    if ([0x05, 0x15, 0x25, 0x35, 0x45].includes(code)) {
      if (at + 1 + far >= program.length) throw new Error(`instruction ${at} jumps out of the program`);
    } else if (code === 0x20) {
      if (k % 4 !== 0 || k >= 64) throw new Error(`instruction ${at} loads from ${k}`);
    } else if (![0x06, 0x54, 0xa4, 0x4c, 0x07].includes(code)) {
      throw new Error(`instruction ${at} has code ${code}`);
    }
  }
  if (program.at(-1)?.code !== 0x06) throw new Error('the program does not end with a return');
  return program;
}

export interface Run {
  readonly verdict: number;
  readonly steps: number;
  /** Whether the kernel could find out beforehand that this call is always allowed: no arguments were read. */
  readonly readsArguments: boolean;
  /** Whether it looked at the number of the call. */
  readonly readsNumber: boolean;
}

export function runFilter(program: readonly Instruction[], data: SeccompData): Run {
  const memory = new DataView(new ArrayBuffer(64));
  memory.setUint32(0, data.nr, true);
  memory.setUint32(4, data.arch, true);
  for (const [i, value] of (data.args ?? []).entries()) memory.setBigUint64(16 + i * 8, value, true);
  let accumulator = 0;
  let index = 0;
  let readsArguments = false;
  let readsNumber = false;
  for (let at = 0, steps = 1; ; at += 1, steps += 1) {
    const instruction = program[at];
    if (instruction === undefined) throw new Error('ran out of the program');
    const { code, jt, jf, k } = instruction;
    const branch = (taken: boolean): void => {
      at += taken ? jt : jf;
    };
    switch (code) {
      case 0x20:
        accumulator = memory.getUint32(k, true);
        readsArguments ||= k >= 16;
        readsNumber ||= k === 0;
        break;
      case 0x54:
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0xa4:
        accumulator = (accumulator ^ k) >>> 0;
        break;
      case 0x4c:
        accumulator = (accumulator | index) >>> 0;
        break;
      case 0x07:
        index = accumulator;
        break;
      case 0x05:
        at += k;
        break;
      case 0x15:
        branch(accumulator === k);
        break;
      case 0x25:
        branch(accumulator > k);
        break;
      case 0x35:
        branch(accumulator >= k);
        break;
      case 0x45:
        branch((accumulator & k) !== 0);
        break;
      case 0x06:
        return { verdict: k, steps, readsArguments, readsNumber };
      default:
        throw new Error(`code ${code}`);
    }
  }
}
