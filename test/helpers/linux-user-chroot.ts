// Where tests find a linux-user-chroot: a stand-in of ours (linux-user-chroot.c), for root, since the program itself cannot be had from a distribution.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

let directory: string | undefined;

/** Puts it on PATH, first. Once in a process: where a program is found is remembered. */
export function standInOnPath(): void {
  if (directory !== undefined) return;
  const made = mkdtempSync(join(tmpdir(), 'stand-in-'));
  directory = made;
  process.once('exit', () => rmSync(made, { recursive: true, force: true }));
  const source = fileURLToPath(new URL('linux-user-chroot.c', import.meta.url));
  const flags = ['-std=c11', '-D_GNU_SOURCE', '-O1', '-Wall', '-Wextra', '-Werror', '-static'];
  execFileSync('cc', [...flags, '-o', join(made, 'linux-user-chroot'), source], { stdio: 'inherit' });
  process.env['PATH'] = `${made}:${process.env['PATH'] ?? ''}`;
}
