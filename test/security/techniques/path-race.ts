// The paths of a sandbox change while it is set up, or between what was checked and what is mounted: a directory becomes a symlink to a directory of
// the host and back, as fast as a hostile process can.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { FeatureError, LaunchError, SpecError } from '../../../src/errors/errors.ts';
import { createSandbox, run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { allMountPoints } from '../../helpers/mount-points.ts';
import { requires } from '../../helpers/requires.ts';
import { PYTHON } from '../python.ts';
import { lighter, type Share, type Technique } from '../technique.ts';

const ROUNDS = 250;
/** Why fewer are enough elsewhere. */
const SAME = 'sources are opened, and mounts made, by the same code of ours';

interface Place {
  readonly base: string;
  readonly outside: string;
}

function makePlace(bench: Bench): Place {
  const base = mkdtempSync(join(bench.directory, 'race-'));
  chmodSync(base, 0o755);
  const outside = join(base, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'of the host');
  return { base, outside };
}

/** Exchanges two names with one rename (renameat2(2), RENAME_EXCHANGE), on and on, while `body` runs; how often it did. */
async function whileSwapping(one: string, other: string, body: () => Promise<void>): Promise<number> {
  const script = `
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
# PR_SET_PDEATHSIG: it takes all of a processor, and must not go on for ever when the test process ends in the middle.
libc.prctl(1, signal.SIGKILL)
going = True
def end(*_):
    global going
    going = False
signal.signal(signal.SIGTERM, end)
# PR_SET_PDEATHSIG: a test that is given up leaves nobody who swaps on.
libc.prctl(1, signal.SIGKILL)
one, other = (os.fsencode(path) for path in sys.argv[1:3])
print('ready', flush=True)
count = 0
while going:
    if libc.renameat2(-100, one, -100, other, 2) == 0: count += 1
print(count)
`;
  const swapper = spawn(PYTHON, ['-c', script, one, other], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  swapper.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  const closed = once(swapper, 'close');
  await once(swapper.stdout, 'data');
  try {
    await body();
  } finally {
    swapper.kill('SIGTERM');
    await closed;
  }
  return Number(said.split('\n')[1]);
}

/** What the guest said; `undefined` where the sandbox was refused. */
function attempt(started: Promise<{ readonly stdout?: unknown }>): Promise<string | undefined> {
  return started.then(
    ({ stdout }) => stdout as string,
    (error: unknown) => {
      // FeatureError: what normalization saw just then lacked a mount point, which not every backend can make.
      if (error instanceof SpecError || error instanceof LaunchError || error instanceof FeatureError) return undefined;
      throw error;
    },
  );
}

function mountTable(): string {
  return readFileSync('/proc/self/mountinfo', 'utf8');
}

async function raceForMountPoint(bench: Bench, share: Share, readonly: boolean, prefix: string): Promise<void> {
  requires(`file:${PYTHON}`);
  const { base, outside } = makePlace(bench);
  const root = join(base, 'root');
  for (const path of [...allMountPoints, 'data']) mkdirSync(join(root, path), { recursive: true });
  copyFileSync(bench.guestOutside, join(root, 'guest'));
  if (!bench.recognized.has('root.missingMountPoints'))
    for (const path of ['data/deep/x', 'data/scratch']) mkdirSync(join(root, path), { recursive: true });
  symlinkSync(`${prefix}${outside}`, join(root, 'trap'));
  // As if it were a way inside, for who looks at it there.
  for (const path of ['deep/x', 'scratch']) mkdirSync(join(root, prefix, outside, path), { recursive: true });
  const source = join(base, 'source');
  mkdirSync(source);
  writeFileSync(join(source, 'mark'), 'shown');
  const table = mountTable();
  const rounds = share(ROUNDS);
  const seen = new Set<string | undefined>();
  const swaps = await whileSwapping(join(root, 'data'), join(root, 'trap'), async () => {
    for (let round = 0; round < rounds; round++) {
      const spec: SandboxSpec = {
        root: { path: root, readonly },
        cwd: '/',
        mounts: [`${source}:/data/deep/x:ro`, { type: 'tmpfs', destination: '/data/scratch' }],
      };
      const options = bench.options({ stripFinalNewline: true });
      seen.add(await attempt(run(['/guest', 'read', '/data/deep/x/mark'], spec, options)));
    }
  });
  expect(swaps).toBeGreaterThan(rounds);
  expect(readdirSync(outside)).toEqual(['secret']);
  expect(mountTable()).toBe(table);
  // What was swapped away later leads nowhere inside; the mark or nothing, and never the host's file.
  for (const said of seen) expect([undefined, 'shown', 'errno ENOENT', 'errno ENOTDIR', 'errno ELOOP']).toContain(said);
}

/** Where a program that makes the sandbox has the root of the host meanwhile: bwrap has it in /oldroot. */
async function raceByEach(bench: Bench, share: Share, readonly: boolean): Promise<void> {
  const prefixes = bench.backend === 'native' ? [''] : ['', '/oldroot'];
  for (const prefix of prefixes) await raceForMountPoint(bench, share, readonly, prefix);
}

export const technique: Technique = {
  name: 'path-race',
  attacks: ['root.path', 'mount.bind', 'workspace', 'root.writablePaths'],
  cases: {
    'a parent of a mount point that turns into a symlink leads nowhere: writable root': lighter(SAME, (bench, share) =>
      raceByEach(bench, share, false),
    ),

    'a parent of a mount point that turns into a symlink leads nowhere: read-only root': lighter(SAME, (bench, share) =>
      raceByEach(bench, share, true),
    ),

    'a workspace that turns into a symlink is that directory, or refused': lighter(SAME, async (bench, share) => {
      const rounds = share(ROUNDS);
      requires(`file:${PYTHON}`);
      const { base, outside } = makePlace(bench);
      const parent = join(base, 'parent');
      mkdirSync(join(parent, 'ws'), { recursive: true });
      writeFileSync(join(parent, 'ws', 'secret'), 'mine');
      symlinkSync(outside, join(parent, 'trap'));
      const workspace = join(parent, 'ws');
      // Followed where it was a symlink when it was checked; never where it was a directory then.
      const sandbox = await createSandbox(bench.withGuest({ workspace }), bench.options({}));
      const seen = new Set<string | undefined>();
      const swaps = await whileSwapping(workspace, join(parent, 'trap'), async () => {
        for (let round = 0; round < rounds; round++) {
          seen.add(
            await attempt(sandbox.run(bench.guest(['read', join(workspace, 'secret')]), { stripFinalNewline: true })),
          );
        }
      });
      expect(swaps).toBeGreaterThan(rounds);
      expect(seen).not.toContain('of the host');
      expect([...seen].every((said) => said === undefined || said === 'mine')).toBe(true);
    }),

    'what one run puts in the place of a mount leads the next run nowhere': async (bench) => {
      const { base, outside } = makePlace(bench);
      const workspace = join(base, 'ws');
      const out = join(workspace, 'out');
      mkdirSync(out, { recursive: true });
      const spec: SandboxSpec = { workspace, mounts: [`${out}:/out:rw`] };
      const sandbox = await createSandbox(bench.withGuest(spec), bench.options({}));
      const write = () => attempt(sandbox.run(bench.guest(['write', '/out/made', 'x']), { stripFinalNewline: true }));
      expect(await write()).toBe('written');
      // As a command with the workspace could: `mv out away; ln -s ../outside out`.
      renameSync(out, join(workspace, 'away'));
      symlinkSync(outside, out);
      expect(await write()).toBeUndefined();
      expect(readdirSync(outside)).toEqual(['secret']);
    },

    'a parent of a mounted directory that is swapped between check and launch leads nowhere': async (bench) => {
      const { base, outside } = makePlace(bench);
      const inner = join(base, 'a', 'b');
      mkdirSync(inner, { recursive: true });
      mkdirSync(join(outside, 'b'));
      writeFileSync(join(inner, 'file'), 'mine');
      writeFileSync(join(outside, 'b', 'file'), 'of the host');
      for (const mount of [`${inner}:/mnt/x:rw`, `${join(inner, 'file')}:/mnt/x:rw`]) {
        const sandbox = await createSandbox(bench.withGuest({ mounts: [mount] }), bench.options({}));
        renameSync(join(base, 'a'), join(base, 'a-away'));
        symlinkSync(outside, join(base, 'a'));
        expect(await attempt(sandbox.run(bench.guest(['stat', '/mnt/x'])))).toBeUndefined();
        renameSync(join(base, 'a'), join(base, `trap-${mount.length}`));
        renameSync(join(base, 'a-away'), join(base, 'a'));
        expect(await attempt(sandbox.run(bench.guest(['stat', '/mnt/x'])))).toMatch(/^(directory|file) /);
      }
    },

    'a root or writable path that is swapped between check and launch leads nowhere': async (bench) => {
      const { base, outside } = makePlace(bench);
      const root = join(base, 'root');
      for (const path of [...allMountPoints, 'data']) mkdirSync(join(root, path), { recursive: true });
      copyFileSync(bench.guestOutside, join(root, 'guest'));
      const spec: SandboxSpec = { cwd: '/', root: { path: root, writablePaths: ['/data'] } };
      const sandbox = await createSandbox(spec, bench.options({}));
      const write = () =>
        attempt(sandbox.run(['/guest', 'write', '/data/secret', 'overwritten'], { stripFinalNewline: true }));
      renameSync(join(root, 'data'), join(root, 'away'));
      symlinkSync(outside, join(root, 'data'));
      expect(await write()).not.toBe('written');
      expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('of the host');
      renameSync(root, join(base, 'root-away'));
      symlinkSync(outside, root);
      expect(await write()).toBeUndefined();
      // The root is another directory now, whose /data is: nothing but a symlink in its path tells.
      mkdirSync(join(outside, 'data'));
      copyFileSync(bench.guestOutside, join(outside, 'guest'));
      for (const path of allMountPoints) mkdirSync(join(outside, path), { recursive: true });
      expect(await write()).toBeUndefined();
    },
  },
};
