// Out of a root that is a directory, for a backend that may have nothing but chroot(2) to hold the command in it.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { isSandboxError } from '../../../src/errors/errors.ts';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { allMountPoints } from '../../helpers/mount-points.ts';
import { requires } from '../../helpers/requires.ts';
import type { Technique } from '../technique.ts';

const NOBODYS_UID = 61_234;
const users: readonly SandboxSpec[] = [{}, { user: { uid: 0, gid: 0 } }];
const filters: readonly SandboxSpec[] = [{}, { seccomp: 'unconfined' }];

function makeRoot(bench: Bench): string {
  const root = mkdtempSync(join(bench.directory, 'root-'));
  for (const name of [...allMountPoints, 'below']) mkdirSync(join(root, name), { recursive: true });
  spawnSync('chmod', ['-R', '0755', root]);
  copyFileSync(bench.guestOutside, join(root, 'guest'));
  return root;
}

/** What the guest says in `root`; where there is no sandbox: the error. */
async function inRoot(
  bench: Bench,
  root: string,
  args: readonly (string | number)[],
  spec: SandboxSpec = {},
): Promise<string> {
  const command = ['/guest', ...args.map(String)];
  const given = { ...spec, cwd: '/', root: { path: root, readonly: false } };
  try {
    return (await run(command, given, bench.options({ stripFinalNewline: true }))).stdout as string;
  } catch (error) {
    if (isSandboxError(error)) return error.message;
    throw error;
  }
}

const successes = (said: string): string[] => said.split('\n').filter((line) => line.endsWith(' ok'));

type As = { readonly uid?: number; readonly gid?: number };

async function withSleeper(bench: Bench, as: As, body: (pid: number) => Promise<void>): Promise<void> {
  const sleeper: ChildProcess = spawn(bench.guestOutside, ['sleep', '600000'], { stdio: 'ignore', ...as });
  await once(sleeper, 'spawn');
  const ended = once(sleeper, 'exit');
  try {
    await body(sleeper.pid as number);
  } finally {
    sleeper.kill('SIGKILL');
    await ended;
  }
}

export const technique: Technique = {
  name: 'root-escape',
  attacks: ['root.path'],
  cases: {
    'neither dots nor a second chroot lead to a file beside the root': async (bench) => {
      const root = makeRoot(bench);
      const secret = join(bench.directory, 'beside');
      writeFileSync(secret, 'of the host');
      for (const user of users) {
        for (const filter of filters) {
          const said = await inRoot(bench, root, ['leave', secret], { ...user, ...filter });
          expect(said.split('\n')).toEqual(['up ENOENT', 'chroot EPERM', 'again EPERM', 'then ENOENT']);
        }
      }
    },

    'a process of the same user outside can neither be traced nor read, nor robbed of a descriptor': async (bench) => {
      const root = makeRoot(bench);
      const own = process.getuid?.() ?? 0;
      const [uid, as]: [number, As] = own === 0 ? [NOBODYS_UID, { uid: NOBODYS_UID, gid: NOBODYS_UID }] : [own, {}];
      await withSleeper(bench, as, async (pid) => {
        const outside = spawnSync(bench.guestOutside, ['reach', String(pid)], { encoding: 'utf8', ...as });
        // It can be done where nothing is in between.
        expect(successes(outside.stdout)).toHaveLength(4);
        for (const filter of filters) {
          const said = await inRoot(bench, root, ['reach', pid], { ...filter, user: { uid, gid: uid } });
          expect(said.split('\n')).toHaveLength(4);
          expect(successes(said)).toEqual([]);
        }
      });
    },

    'a device that somebody left in the root is none': async (bench) => {
      requires('root');
      const root = makeRoot(bench);
      mkdirSync(join(root, 'deep/er'), { recursive: true });
      const device = join(root, 'deep/er/disk');
      // The kernel log: root needs no capability to open it, and nothing is changed by that.
      expect(spawnSync('mknod', ['-m', '0666', device, 'c', '1', '11']).status).toBe(0);
      expect(spawnSync(bench.guestOutside, ['write', device, ''], { encoding: 'utf8' }).stdout).toBe('written\n');
      for (const user of users) {
        const said = await inRoot(bench, root, ['write', '/deep/er/disk', ''], user);
        expect(said).toMatch(/^errno (EACCES|EPERM)$|deep\/er\/disk: EPERM/);
      }
      rmSync(device);
      expect(await inRoot(bench, root, ['write', '/deep/er/disk', ''])).toBe('written');
    },
  },
};
