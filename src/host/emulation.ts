// What of this host could run programs of another architecture: interpreters, formats that it registered itself, and its kernel. Read, not tried.
import { posix } from 'node:path';
import { type Architecture, architectures } from '../spec/architectures.ts';
import { elfFormats, matchesFormat } from './elf.ts';
import type { HostFiles } from './files.ts';
import { readRelease } from './kernel.ts';

export interface RegisteredFormat {
  /** Name of its file in /proc/sys/fs/binfmt_misc. */
  readonly name: string;
  /** Whose programs it takes; empty where it is for something else. */
  readonly takes: readonly Architecture[];
}

export interface EmulationFacts {
  /** As `uname -r` prints it. */
  readonly kernelRelease: string;
  /** Absolute path of a static user-mode QEMU, by what it runs. */
  readonly interpreters: Readonly<Partial<Record<Architecture, string>>>;
  /**
   * Entries of the host's own table that are switched on and whose interpreter was opened when they were registered (flag F): they work in every
   * root.
   */
  readonly registered: readonly RegisteredFormat[];
  /** What the kernel runs besides its own. */
  readonly compatible: readonly Architecture[];
}

/** Only static ones: the loader of any other would have to be in the sandbox's root. */
const directories = ['/usr/bin', '/usr/local/bin'];
const TABLE = '/proc/sys/fs/binfmt_misc';

export function readEmulation(files: HostFiles, architecture: string): EmulationFacts {
  const foreign = architectures.filter((name) => name !== architecture);
  const found = foreign.map((name) => [name, findInterpreter(files, elfFormats[name].qemu)] as const);
  return {
    kernelRelease: readRelease(files),
    interpreters: Object.fromEntries(found.filter(([, path]) => path !== undefined)),
    registered: readTable(files),
    compatible: architecture === 'x64' && hasIa32(files) ? ['ia32'] : [],
  };
}

/** Asking the kernel for the file system itself would load a module that is not there yet. */
export function hasFormats(files: HostFiles): boolean {
  return /\tbinfmt_misc$/m.test(files.readFile('/proc/filesystems') ?? '');
}

/** The entry of the host's table that takes programs of `architecture`. */
export function registeredFor(architecture: Architecture, facts: EmulationFacts): RegisteredFormat | undefined {
  return facts.registered.find(({ takes }) => takes.includes(architecture));
}

function findInterpreter(files: HostFiles, machine: string): string | undefined {
  return directories
    .map((directory) => posix.join(directory, `qemu-${machine}-static`))
    .find((path) => {
      const facts = files.stat(path);
      return facts?.kind === 'file' && (facts.mode & 0o111) !== 0;
    });
}

/** The switch belongs to the vdso of 32-bit programs: a kernel built without them has none. */
function hasIa32(files: HostFiles): boolean {
  return files.stat('/proc/sys/abi/vsyscall32') !== undefined;
}

/** Documentation/admin-guide/binfmt-misc.rst. Not mounted: nothing is known, and nothing can be relied on. */
function readTable(files: HostFiles): RegisteredFormat[] {
  if (files.readFile(`${TABLE}/status`)?.trim() !== 'enabled') return [];
  const names = (files.readdir(TABLE) ?? []).filter((name) => name !== 'register' && name !== 'status');
  return names.sort().flatMap((name) => parseEntry(name, files.readFile(`${TABLE}/${name}`)) ?? []);
}

/** `undefined` for one that is switched off, that goes by the name's ending, or whose interpreter would have to be inside. */
export function parseEntry(name: string, text: string | undefined): RegisteredFormat | undefined {
  const lines = (text ?? '').split('\n');
  const field = (key: string): string | undefined =>
    lines.find((line) => line.startsWith(`${key} `))?.slice(key.length + 1);
  const magic = field('magic');
  if (lines[0] !== 'enabled' || field('flags:')?.includes('F') !== true || magic === undefined) return undefined;
  if (field('offset') !== '0') return undefined;
  const bytes = Buffer.from(magic, 'hex');
  const mask = Buffer.from(field('mask') ?? 'f'.repeat(magic.length), 'hex');
  return { name, takes: architectures.filter((architecture) => matchesFormat(architecture, bytes, mask)) };
}
