// What a command may leave where it could write: directories that deny themselves, depths that no path reaches, files that are in use. The run must end,
// take its own places with it whatever stands in them, and leave to the caller what is the caller's.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { PYTHON, python } from '../python.ts';
import { lighter, needing, type Share, type Technique } from '../technique.ts';

const DEPTH = 4096;
/** Beyond this a tree is deeper than any path is long (PATH_MAX). */
const DEEP_ENOUGH = 2100;
const SAME = 'what stands in a tree, and goes with it, is the business of the kernel';

/** In each directory of the arguments but the first, which is how deep; what stays open and in use belongs to processes that outlive the command as long as they can. */
const resist = `
import mmap
def chattr(path, flags):
    # FS_IOC_SETFLAGS: immutable, append-only.
    fd = os.open(path, os.O_RDONLY)
    return named('ioctl', fd, ctypes.c_ulong(0x40086602), ctypes.byref(ctypes.c_int(flags)))
for place in sys.argv[2:]:
    os.chdir(place)
    os.mkdir('denied')
    for name in ('denied/file', '-rf', '\\n', 'busy', 'hole'): open(name, 'w').close()
    os.symlink('/', 'root')
    os.symlink('loop', 'loop')
    os.mkfifo('fifo')
    socket.socket(socket.AF_UNIX).bind('socket')
    os.truncate('hole', 1 << 32)
    os.mkdir('flagged')
    say('immutable:' + place, chattr('flagged', 0x10))
    say('append:' + place, chattr('flagged', 0x20))
    os.chmod('denied', 0)
    for _ in range(int(sys.argv[1])):
        os.mkdir('d')
        os.chdir('d')
    open('deepest', 'w').close()
    os.chmod('.', 0)
    if os.fork() == 0:
        os.setsid()
        for number in range(1, 65): attempt(lambda: number in (9, 19, 32, 33) or signal.signal(number, signal.SIG_IGN))
        file = open(place + '/busy', 'w+b')
        file.truncate(1 << 16)
        area = mmap.mmap(file.fileno(), 1 << 16)
        os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(600)'])
    os.chdir('/')
say('done', 'yes')
`;

/** As its owner does: by way of each directory, because no path is long enough, opening what was closed. */
const removeTree = `
import os, sys
def remove(name):
    if os.path.isdir(name) and not os.path.islink(name):
        os.chmod(name, 0o700)
        os.chdir(name)
        return True
    os.unlink(name)
    return False
os.chdir(sys.argv[1])
depth = 0
while True:
    names = os.listdir('.')
    if names:
        if remove(names[0]): depth += 1
        continue
    if depth == 0: break
    here = os.stat('.').st_ino
    os.chdir('..')
    os.rmdir(next(entry.name for entry in os.scandir('.') if entry.inode() == here))
    depth -= 1
`;

function mountsOfHost(): string {
  return readFileSync('/proc/self/mountinfo', 'utf8');
}

async function resistIn(bench: Bench, share: Share, places: readonly string[], spec: SandboxSpec): Promise<void> {
  const before = [mountsOfHost(), readdirSync(tmpdir()).sort().join()];
  const answers = await python(bench, resist, spec, [Math.max(DEEP_ENOUGH, share(DEPTH)), ...places]);
  expect(answers['done']).toBe('yes');
  // Nobody inside makes a file that its owner outside cannot remove.
  for (const place of places)
    for (const flag of ['immutable', 'append']) expect(answers[`${flag}:${place}`]).not.toBe('ok');
  expect([mountsOfHost(), readdirSync(tmpdir()).sort().join()]).toEqual(before);
}

const users: readonly SandboxSpec[] = [
  {},
  { user: { uid: 0, gid: 0 } },
  { user: { uid: 0, gid: 0 }, capabilities: ['CAP_LINUX_IMMUTABLE', 'CAP_FOWNER'] },
];

export const technique: Technique = {
  name: 'stubborn-trees',
  attacks: ['root.host', 'mount.bind', 'mount.tmpfs', 'lifecycle.killTree'],
  cases: {
    'the places of the sandbox go with it, whatever stands in them': lighter(SAME, async (bench, share) => {
      for (const spec of bench.offered(users))
        await resistIn(bench, share, ['/tmp', '/dev/shm', '/mnt/own'], {
          ...spec,
          mounts: [{ type: 'tmpfs', destination: '/mnt/own', mode: 0o777 }],
        });
    }),
    'what was written to a mounted directory is left, and its owner can remove it': lighter(
      SAME,
      async (bench, share) => {
        for (const [number, spec] of bench.offered(users).entries()) {
          const place = bench.makeDirectory(`stubborn-${number}`);
          await resistIn(bench, share, ['/mnt/place'], { ...spec, mounts: [`${place}:/mnt/place:rw`] });
          expect(readdirSync(place)).toEqual(expect.arrayContaining(['denied', 'fifo', 'loop', 'root', 'd', '-rf']));
          const removed = spawnSync(PYTHON, ['-c', removeTree, place], { encoding: 'utf8' });
          expect(removed.stderr).toBe('');
          expect(readdirSync(place)).toEqual([]);
        }
      },
    ),
    'a root that lacked mount points has none of it afterwards': needing(
      ['root.path', 'root.writablePaths', 'root.missingMountPoints'],
      async (bench) => {
        const root = bench.makeDirectory('stubborn-root');
        copyFileSync(bench.guestOutside, join(root, 'guest'));
        mkdirSync(join(root, 'data'), { mode: 0o700 });
        const before = readdirSync(root).sort();
        const spec: SandboxSpec = { root: { path: root, writablePaths: ['/data'] } };
        for (const path of ['/tmp/x', '/data/x', '/dev/shm/x']) {
          const { outcome } = await run(['/guest', 'mkdir', path], spec, bench.options({}));
          expect(outcome, path).toEqual({ kind: 'exited', code: 0 });
        }
        // One that stays to the end with its directory in use.
        const { outcome } = await run(
          ['/guest', 'daemon', 'stubborn', '600000'],
          { ...spec, cwd: '/tmp' },
          bench.options({}),
        );
        expect(outcome).toEqual({ kind: 'exited', code: 0 });
        expect(readdirSync(root).sort()).toEqual(before);
        expect(readdirSync(join(root, 'data'))).toEqual(['x']);
        expect(existsSync(join(root, 'tmp'))).toBe(false);
        expect(lstatSync(root).isDirectory()).toBe(true);
      },
    ),
  },
};
