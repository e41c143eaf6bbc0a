// One process at a time makes a thing. The kernel takes the lock back however its holder ends.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { launcherPath } from '../../backends/launcher/locate.ts';
import { ImageError } from '../../errors/errors.ts';

/** Of this process: who asks second waits for what the first one gets, and not for the lock. */
const inside = new Map<string, Promise<unknown>>();

/**
 * Runs `work` while no other process has `file` locked, and no other call here. A lock is held by a launcher, for Node cannot call flock(2).
 *
 * @throws {ImageError} `SBX_IMAGE_STORE` where it cannot be locked; else what `work` throws.
 */
export async function withLock<T>(file: string, work: () => Promise<T>): Promise<T> {
  const before = inside.get(file);
  const turn = (async () => {
    // Its failure is told to whoever asked for it.
    await before?.catch(() => undefined);
    return await lockedByLauncher(file, work);
  })();
  inside.set(file, turn);
  try {
    return await turn;
  } finally {
    if (inside.get(file) === turn) inside.delete(file);
  }
}

async function lockedByLauncher<T>(file: string, work: () => Promise<T>): Promise<T> {
  const holder = spawn(launcherPath(), ['lock', file], { stdio: 'pipe', env: {}, cwd: '/' });
  // It ends when nobody has its input open any more; what is written to it then says nothing.
  holder.stdin.on('error', () => undefined);
  let complaint = '';
  holder.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const closed = once(holder, 'close');
  try {
    const locked = await Promise.race([once(holder.stdout, 'data').then(() => true), closed.then(() => false)]);
    if (!locked)
      throw new ImageError('SBX_IMAGE_STORE', `the store of images cannot be locked: ${complaint.trim() || file}`);
    return await work();
  } finally {
    holder.stdin.end();
    await closed;
  }
}
