// Where unpacked layers are kept: one directory for each set of ids that their files may belong to, and in it
//   layers/NAME/         a layer, which has its name when it is whole, and never before
//     tree                 what overlayfs is given
//     facts.json           what is known of it; its time of modification is when it was last used
//   images/KEY.json      what a reference stands for
//   work/PID-START-N     what is being made, or removed, by that process
//   leases/PID-START     which layers that process may have sandboxes with
//   locks/NAME           who makes what
//   empty                a layer with nothing in it, to be below one that is alone
import { createHash, randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { ImageError } from '../../errors/errors.ts';
import { startTimeOf } from '../../host/processes.ts';

/** `$XDG_CACHE_HOME/sandboxlib/images` (XDG Base Directory Specification 0.8). */
export function storeDirectory(): string {
  const given = process.env['XDG_CACHE_HOME'];
  const cache = given?.startsWith('/') === true ? given : join(homedir(), '.cache');
  return join(cache, 'sandboxlib', 'images');
}

export const parts = ['layers', 'images', 'work', 'leases', 'locks', 'empty'] as const;
export type Part = (typeof parts)[number];

/**
 * Makes what is missing; returns the directory for these owners.
 *
 * @throws {ImageError} `SBX_IMAGE_STORE` where it cannot be made, or where others could write to it: they could give every image another content.
 */
export function prepareStore(ownersKey: string): string {
  const top = storeDirectory();
  try {
    mkdirSync(top, { recursive: true, mode: 0o700 });
    const real = realpathSync(top);
    const directory = join(real, ownersKey);
    for (const part of parts) mkdirSync(join(directory, part), { recursive: true, mode: 0o700 });
    refuseOthers([join(real, '..'), real, directory, ...parts.map((part) => join(directory, part))]);
    return directory;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined || error instanceof ImageError) throw error;
    throw unusable(`images cannot be kept in ${top}: ${message}`, error);
  }
}

function refuseOthers(paths: readonly string[]): void {
  const around = lstatSync(join(paths[0] ?? '/', '..'));
  // In one like /tmp nobody can rename what is another's.
  if ((around.mode & 0o022) !== 0 && (around.mode & 0o1000) === 0)
    throw unusable(`others may put something else in the place of ${paths[0]}: images cannot be kept there`);
  for (const path of paths) {
    const status = lstatSync(path);
    if (status.isDirectory() && status.uid === process.geteuid?.() && (status.mode & 0o022) === 0) continue;
    throw unusable(`${path} belongs to others, or others may write to it: images cannot be kept there`);
  }
}

function unusable(message: string, cause?: unknown): ImageError {
  return new ImageError(
    'SBX_IMAGE_STORE',
    message,
    {},
    { remedy: 'set XDG_CACHE_HOME to a directory of your own that can be written to', cause },
  );
}

/** `PID-START`: pids are used again, and together with its start (proc_pid_stat(5), field 22) one names a process. */
export function nameOfProcess(): string {
  return `${process.pid}-${startTimeOf(process.pid) ?? 0}`;
}

/** Whether the process that a name begins with is there. One of another pid namespace is not to be seen from here. */
export function isOfLivingProcess(name: string): boolean {
  const [pid = '', start] = name.split('-');
  return /^\d+$/.test(pid) && startTimeOf(Number(pid)) === start;
}

/** For a directory below `work/`. */
export function workName(): string {
  return `${nameOfProcess()}-${randomBytes(4).toString('hex')}`;
}

/** A document that was written here: whole, unless the machine went down. @throws {ImageError} `SBX_IMAGE_STORE` */
export function parseOwn<T>(text: string, file: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    const remedy = `remove ${dirname(dirname(file))}, which is made again when it is needed`;
    throw new ImageError('SBX_IMAGE_STORE', `${file} of the store of images is damaged`, {}, { remedy, cause });
  }
}

/** A file name for any text. */
export function hashOf(...texts: readonly string[]): string {
  return createHash('sha256').update(texts.join('\0')).digest('hex');
}
