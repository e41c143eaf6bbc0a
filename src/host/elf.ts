// How the kernel knows a program of an architecture: by the first 20 bytes of its ELF header (elf(5); System V ABI, "ELF Header"). Pure.
//
//   0  7f 45 4c 46  EI_MAG
//   4  01, 02       EI_CLASS: 32 or 64 bits
//   5  01           EI_DATA: the low byte first, in which the rest is written
//   6  01           EI_VERSION
//   7  ...          EI_OSABI, EI_ABIVERSION, padding: the kernel's own loader looks at none of it, and neither do these masks. Linkers write 0
//                   or 3 (Linux) into the first, and AppImages have a mark of their own in the padding
//  16  02 00, 03 00 e_type: ET_EXEC, or ET_DYN for one that may lie anywhere
//  18  .. ..        e_machine
import type { Architecture } from '../spec/architectures.ts';

export interface ElfFormat {
  readonly bits: 32 | 64;
  /** EM_* of elf.h. */
  readonly machine: number;
  /** QEMU's word for it. */
  readonly qemu: string;
}

export const elfFormats: Readonly<Record<Architecture, ElfFormat>> = {
  x64: { bits: 64, machine: 62, qemu: 'x86_64' },
  arm64: { bits: 64, machine: 183, qemu: 'aarch64' },
  arm: { bits: 32, machine: 40, qemu: 'arm' },
  ia32: { bits: 32, machine: 3, qemu: 'i386' },
  riscv64: { bits: 64, machine: 243, qemu: 'riscv64' },
};

const ET_EXEC = 2;
const ET_DYN = 3;

/** The mask leaves out the one bit in which the two kinds of executables differ. */
export function magicOf(architecture: Architecture): { readonly magic: Uint8Array; readonly mask: Uint8Array } {
  const mask = Uint8Array.from(headerOf(architecture, ET_EXEC), (_, at) => (at > 6 && at < 16 ? 0 : 0xff));
  mask[16] = 0xff ^ ET_EXEC ^ ET_DYN;
  return { magic: headerOf(architecture, ET_EXEC), mask };
}

/** Whether a format takes both kinds of executables of an architecture. */
export function matchesFormat(architecture: Architecture, magic: Uint8Array, mask: Uint8Array): boolean {
  return [ET_EXEC, ET_DYN].every((type) => {
    const header = headerOf(architecture, type);
    // What a longer format asks of the rest of the header is not known here.
    return (
      magic.length <= header.length && magic.every((byte, at) => ((byte ^ (header[at] ?? 0)) & (mask[at] ?? 0)) === 0)
    );
  });
}

function headerOf(architecture: Architecture, type: number): Uint8Array {
  const { bits, machine } = elfFormats[architecture];
  const ident = [0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, 1, 1, ...Array.from({ length: 9 }, () => 0)];
  return Uint8Array.from([...ident, type, 0, machine & 0xff, machine >> 8]);
}

export function qemuName(architecture: Architecture): string {
  return elfFormats[architecture].qemu;
}
