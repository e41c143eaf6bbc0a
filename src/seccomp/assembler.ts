// Classic BPF jumps forward only, and a conditional jump reaches 255 instructions. So a program is written from its end to its start: every target
// already exists when a jump to it is emitted, and where it lies too far away a stepping stone is put in between.

/** Where control goes: to an instruction (counted from the program's end), or to a return, of which there may be several copies. */
export type Target = { readonly fromEnd: number } | { readonly verdict: number };

export type Comparison = keyof typeof comparisons;

// bpf_common.h: class, size, mode, source.
const LD_W_ABS = 0x20;
const RET_K = 0x06;
const JA = 0x05;
const AND_K = 0x54;
const XOR_K = 0xa4;
const OR_X = 0x4c;
const TAX = 0x07;
const comparisons = { JEQ: 0x15, JGT: 0x25, JGE: 0x35, JSET: 0x45 } as const;

/** How far a conditional jump may go, less the stepping stones that one jump may need on its way. */
const REACH = 255 - 2;

interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

export class Assembler {
  readonly #reversed: Instruction[] = [];
  readonly #returns = new Map<number, number>();
  readonly #steppingStones = new Map<number, number>();

  get length(): number {
    return this.#reversed.length;
  }

  /** Loads 4 bytes of seccomp_data into the accumulator, then goes on at `next`. */
  load(offset: number, next: Target): Target {
    this.#fallInto(next);
    return this.#push({ code: LD_W_ABS, jt: 0, jf: 0, k: offset });
  }

  /** Masks the accumulator, then goes on at `next`. */
  and(mask: number, next: Target): Target {
    this.#fallInto(next);
    return this.#push({ code: AND_K, jt: 0, jf: 0, k: mask });
  }

  /** Flips those bits of the accumulator that half of a pass has: which ones is put in later, see `places`. */
  place(next: Target): Target {
    this.#fallInto(next);
    return this.#push({ code: XOR_K, jt: 0, jf: 0, k: 0 });
  }

  /** Copies the accumulator into the index register, then goes on at `next`. */
  tax(next: Target): Target {
    this.#fallInto(next);
    return this.#push({ code: TAX, jt: 0, jf: 0, k: 0 });
  }

  /** Adds the bits of the index register to the accumulator, then goes on at `next`. */
  orX(next: Target): Target {
    this.#fallInto(next);
    return this.#push({ code: OR_X, jt: 0, jf: 0, k: 0 });
  }

  /** Where the instructions of `place` are in the finished program, in its order. */
  places(): number[] {
    return this.#reversed.toReversed().flatMap(({ code }, index) => (code === XOR_K ? [index] : []));
  }

  /** Compares the accumulator, unsigned, with `k`. Equal targets need no jump. */
  jump(comparison: Comparison, k: number, yes: Target, no: Target): Target {
    if (same(yes, no)) return yes;
    const jt = this.#within(yes);
    const jf = this.#within(no);
    const here = this.#reversed.length;
    return this.#push({ code: comparisons[comparison], jt: here - jt - 1, jf: here - jf - 1, k });
  }

  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.#reversed.length * 8);
    const view = new DataView(bytes.buffer);
    let offset = 0;
    for (const { code, jt, jf, k } of this.#reversed.toReversed()) {
      view.setUint16(offset, code, true);
      view.setUint8(offset + 2, jt);
      view.setUint8(offset + 3, jf);
      view.setUint32(offset + 4, k, true);
      offset += 8;
    }
    return bytes;
  }

  #push(instruction: Instruction): { readonly fromEnd: number } {
    this.#reversed.push(instruction);
    return { fromEnd: this.#reversed.length - 1 };
  }

  /** Makes sure that the instruction emitted last is, or leads to, `target`. */
  #fallInto(target: Target): void {
    if ('verdict' in target) {
      if (this.#returns.get(target.verdict) !== this.#reversed.length - 1) this.#emitReturn(target.verdict);
    } else if (target.fromEnd !== this.#reversed.length - 1) {
      this.#emitJump(target.fromEnd);
    }
  }

  /** An instruction near enough for a conditional jump that is, or leads to, `target`. */
  #within(target: Target): number {
    const near = (at: number | undefined): at is number => at !== undefined && this.#reversed.length - at - 1 <= REACH;
    if ('verdict' in target) {
      const known = this.#returns.get(target.verdict);
      return near(known) ? known : this.#emitReturn(target.verdict);
    }
    if (near(target.fromEnd)) return target.fromEnd;
    const stone = this.#steppingStones.get(target.fromEnd);
    if (near(stone)) return stone;
    const jump = this.#emitJump(target.fromEnd);
    this.#steppingStones.set(target.fromEnd, jump);
    return jump;
  }

  #emitReturn(verdict: number): number {
    const { fromEnd } = this.#push({ code: RET_K, jt: 0, jf: 0, k: verdict });
    this.#returns.set(verdict, fromEnd);
    return fromEnd;
  }

  #emitJump(to: number): number {
    return this.#push({ code: JA, jt: 0, jf: 0, k: this.#reversed.length - to - 1 }).fromEnd;
  }
}

function same(a: Target, b: Target): boolean {
  return 'verdict' in a ? 'verdict' in b && a.verdict === b.verdict : 'fromEnd' in b && a.fromEnd === b.fromEnd;
}
