// A root directory that somebody hostile prepared: what a mount point, or a file that normalization reads, leads to is elsewhere on the host.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { FeatureError, LaunchError, SpecError } from '../../../src/errors/errors.ts';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { allMountPoints } from '../../helpers/mount-points.ts';
import { lighter, type Technique } from '../technique.ts';

const NAME_OF_HOST = 'host-secret';

/** What stands at a path of the root. */
type Entry = { readonly link: string } | { readonly make: 'fifo' | 'file' | 'directory' };

interface Trap {
  readonly root: string;
  /** A directory of the host beside the root, which the traps lead to. */
  readonly outside: string;
}

function makeTrap(bench: Bench, entries: (outside: string) => Readonly<Record<string, Entry>>): Trap {
  const base = mkdtempSync(join(bench.directory, 'trap-'));
  const root = join(base, 'root');
  const outside = join(base, 'outside');
  for (const path of [base, root, outside, join(outside, 'null')]) mkdirSync(path, { recursive: true, mode: 0o755 });
  spawnSync('chmod', ['0755', base]);
  writeFileSync(join(outside, NAME_OF_HOST), 'of the host');
  copyFileSync(bench.guestOutside, join(root, 'guest'));
  for (const [path, entry] of Object.entries(entries(outside))) {
    const at = join(root, path);
    mkdirSync(dirname(at), { recursive: true });
    if ('link' in entry) symlinkSync(entry.link, at);
    else if (entry.make === 'directory') mkdirSync(at, { recursive: true });
    else if (entry.make === 'file') writeFileSync(at, 'mine');
    else expect(spawnSync('mkfifo', [at]).status).toBe(0);
  }
  if (!bench.recognized.has('root.missingMountPoints')) makeTheRest(root);
  return { root, outside };
}

/** For a backend that makes no mount points: those that are no traps. */
function makeTheRest(root: string): void {
  for (const path of allMountPoints) {
    const isThere = [path, dirname(path)].some((name) => {
      const status = name === '.' ? undefined : lstatSync(join(root, name), { throwIfNoEntry: false });
      return status !== undefined && (name === path || !status.isDirectory());
    });
    if (!isThere) mkdirSync(join(root, path), { recursive: true });
  }
}

/** All that a mount point made, a file written or a mode changed there would show in. */
function trace(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => {
      const { mode, size, ino, ctimeMs } = lstatSync(join(directory, name));
      return `${name} ${mode.toString(8)} ${size} ${ino} ${ctimeMs}`;
    })
    .concat(String(statSync(directory).ctimeMs))
    .sort();
}

/** A root in which a mount point leads elsewhere lacks it. */
function lacksMountPoint(error: unknown): boolean {
  return error instanceof FeatureError && error.missing.every(({ feature }) => feature === 'root.missingMountPoints');
}

type Verdict = { readonly said: string } | { readonly refused: string };

/** Runs the guest in the root; whatever comes of it, nothing beside the root may show it. */
async function spring(
  bench: Bench,
  { root, outside }: Trap,
  args: readonly string[],
  spec: SandboxSpec = {},
): Promise<Verdict> {
  const before = trace(outside);
  const given = typeof spec.root === 'object' ? spec.root : {};
  const options = bench.options({ stripFinalNewline: true });
  const verdict = await run(['/guest', ...args], { ...spec, cwd: '/', root: { path: root, ...given } }, options).then(
    ({ stdout }): Verdict => ({ said: stdout as string }),
    (error: unknown): Verdict => {
      if (error instanceof SpecError || error instanceof LaunchError || lacksMountPoint(error))
        return { refused: (error as Error).message };
      throw error;
    },
  );
  expect(trace(outside)).toEqual(before);
  return verdict;
}

const ownPlaces = ['/proc', '/dev', '/tmp', '/home/sandbox'];

export const technique: Technique = {
  name: 'symlinked-root',
  attacks: ['root.path', 'root.readonly', 'root.writablePaths', 'mount.bind', 'mount.tmpfs'],
  cases: {
    'the traps work on who walks into them': async (bench) => {
      const { root, outside } = makeTrap(bench, (host) => ({ data: { link: host } }));
      mkdirSync(join(root, 'data', 'x'));
      expect(readdirSync(outside)).toContain('x');
      expect(readFileSync(join(root, 'data', NAME_OF_HOST), 'utf8')).toBe('of the host');
    },

    'a mount point behind symlinks out of the root is made in it, or refused': async (bench) => {
      const ways: readonly ((outside: string) => Readonly<Record<string, Entry>>)[] = [
        (host) => ({ data: { link: host } }),
        () => ({ data: { link: '../outside' } }),
        () => ({ data: { link: '../../../../../../../../../../../../etc' } }),
        () => ({ data: { link: '/etc' } }),
        () => ({ data: { link: 'a' }, a: { link: 'b' }, b: { link: '../outside' } }),
        (host) => ({ data: { link: '/deep/d' }, 'deep/d': { link: `../../..${host}` } }),
        () => ({ data: { link: 'data' } }),
        () => ({ data: { link: '/proc/self/cwd' } }),
        () => ({ data: { link: '/proc/1/root/etc' } }),
        () => ({ 'data/x': { link: '../../outside/made' } }),
        // bwrap has the host in /oldroot while it mounts; in the root there is a directory at the end of the same way.
        (host) => ({ data: { link: `/oldroot${host}` }, [`oldroot${host}/x`]: { make: 'directory' } }),
        (host) => ({ data: { link: `../oldroot${host}` }, [`oldroot${host}/x`]: { make: 'directory' } }),
        () => ({ 'data/x': { link: '../../outside/host-secret' } }),
      ];
      const etc = readdirSync('/etc');
      const source = bench.makeDirectory('shown');
      bench.makeFile('shown/mark', 'shown');
      for (const [index, way] of ways.entries()) {
        for (const readonly of [true, false]) {
          const trap = makeTrap(bench, way);
          const mounts = [`${source}:/data/x:ro`];
          const verdict = await spring(bench, trap, ['read', '/data/x/mark'], { root: { readonly }, mounts });
          if ('said' in verdict) expect(verdict.said, `way ${index}`).toBe('shown');
          else expect(verdict.refused, `way ${index}`).toMatch(/data|made|ELOOP|etc|outside/);
          const tmpfs = await spring(bench, trap, ['write', '/data/x/made', 'mine'], {
            root: { readonly },
            mounts: [{ type: 'tmpfs', destination: '/data/x', mode: 0o777 }],
          });
          if ('said' in tmpfs) expect(tmpfs.said, `way ${index}`).toBe('written');
        }
      }
      expect(readdirSync('/etc')).toEqual(etc);
    },

    "the sandbox's own mount points as symlinks, files and FIFOs lead nowhere": async (bench) => {
      const kinds: readonly ((outside: string) => Entry)[] = [
        (host) => ({ link: host }),
        () => ({ link: '../outside' }),
        () => ({ link: '../../outside' }),
        () => ({ link: '/proc/self/root' }),
        () => ({ make: 'fifo' }),
        () => ({ make: 'file' }),
      ];
      for (const place of ownPlaces) {
        for (const [index, kind] of kinds.entries()) {
          for (const readonly of [true, false]) {
            const trap = makeTrap(bench, (host) => ({ [place]: kind(host) }));
            const verdict = await spring(bench, trap, ['read', `${place}/${NAME_OF_HOST}`], { root: { readonly } });
            if ('said' in verdict) expect(verdict.said, `${place} ${index}`).toMatch(/^errno (ENOENT|ENOTDIR|ELOOP)$/);
            // A link to nothing inside is told by where it leads.
            else expect(verdict.refused, `${place} ${index}`).toMatch(new RegExp(`${place}|the root lacks`));
          }
        }
      }
    },

    "what stands in the root's own /dev and /proc is never used": async (bench) => {
      const trap = makeTrap(bench, (host) => ({
        'dev/null': { link: join(host, NAME_OF_HOST) },
        'dev/pts': { link: host },
        'dev/shm': { make: 'fifo' },
        'proc/self/uid_map': { make: 'file' },
        'proc/sys': { link: host },
        'proc/sysrq-trigger': { link: join(host, NAME_OF_HOST) },
      }));
      for (const readonly of [true, false]) {
        const spec: SandboxSpec = { root: { readonly } };
        expect(await spring(bench, trap, ['write', '/dev/null', 'gone'], spec)).toEqual({ said: 'written' });
        expect(await spring(bench, trap, ['stat', '/dev/null'], spec)).toEqual({
          said: expect.stringMatching(/^other 0666 /),
        });
        expect(await spring(bench, trap, ['read', '/proc/self/uid_map'], spec)).toEqual({
          said: expect.stringMatching(/^\s*\d+\s+\d+\s+\d+/),
        });
        expect(await spring(bench, trap, ['stat', '/proc/sys'], spec)).toEqual({
          said: expect.stringMatching(/^directory 0555 /),
        });
      }
    },

    'writablePaths behind symlinks make nothing of the host writable': async (bench) => {
      const ways: readonly ((outside: string) => Readonly<Record<string, Entry>>)[] = [
        (host) => ({ data: { link: host } }),
        () => ({ data: { link: '../outside' } }),
        () => ({ data: { link: '/a' }, a: { link: '/../../outside' } }),
        () => ({ data: { link: '/proc/self/root/tmp' } }),
        () => ({ data: { link: 'outside' }, 'outside/mine': { make: 'file' } }),
      ];
      for (const [index, way] of ways.entries()) {
        const trap = makeTrap(bench, way);
        const verdict = await spring(bench, trap, ['write', `/data/${NAME_OF_HOST}`, 'overwritten'], {
          root: { writablePaths: ['/data'] },
        });
        expect(readFileSync(join(trap.outside, NAME_OF_HOST), 'utf8'), `way ${index}`).toBe('of the host');
        // The last one leads to a directory of the root, which may well be writable.
        if (index === ways.length - 1) expect(verdict).toEqual({ said: 'written' });
        else expect(verdict, `way ${index}`).toHaveProperty('refused');
      }
    },

    'account files of the root are not waited for, not followed out of it, and not swallowed whole': async (bench) => {
      const passwd = 'intruder:x:0:0::/:/bin/sh\n';
      const outsideFile = (host: string) => join(host, 'passwd');
      const cases: readonly [string, (trap: Trap) => void][] = [
        ['a FIFO', ({ root }) => void spawnSync('mkfifo', [join(root, 'etc/passwd')])],
        ['a link to the host', ({ root, outside }) => symlinkSync(outsideFile(outside), join(root, 'etc/passwd'))],
        ['a relative link', ({ root }) => symlinkSync('../../outside/passwd', join(root, 'etc/passwd'))],
        [
          'a link to a FIFO',
          ({ root }) => {
            spawnSync('mkfifo', [join(root, 'pipe')]);
            symlinkSync('/pipe', join(root, 'etc/passwd'));
          },
        ],
        ['a device', ({ root }) => symlinkSync('/dev/zero', join(root, 'etc/passwd'))],
        ['huge', ({ root }) => void spawnSync('truncate', ['-s', '1T', join(root, 'etc/passwd')])],
        ['bytes', ({ root }) => writeFileSync(join(root, 'etc/passwd'), Buffer.alloc(65_536, 0xff))],
        ['a directory', ({ root }) => mkdirSync(join(root, 'etc/passwd'))],
      ];
      for (const [what, prepare] of cases) {
        const trap = makeTrap(bench, () => ({ etc: { make: 'directory' } }));
        writeFileSync(outsideFile(trap.outside), passwd);
        prepare(trap);
        const verdict = await spring(bench, trap, ['ids'], { user: 'intruder' });
        expect(verdict, what).toEqual({ refused: expect.stringContaining('intruder') });
        expect(verdict, what).toEqual({ refused: expect.not.stringContaining('/bin/sh') });
      }
    },

    'a root of 100000 entries is as good as a small one': lighter(
      'what a root holds is looked at by the same code',
      async (bench, share) => {
        const count = share(100_000);
        const trap = makeTrap(bench, () => ({}));
        const made = spawnSync('sh', ['-c', `seq -f "entry-%.0f" ${count} | xargs touch`], { cwd: trap.root });
        expect(made.status).toBe(0);
        const verdict = await spring(bench, trap, ['stat', `/entry-${count}`]);
        expect(verdict).toEqual({ said: expect.stringMatching(/^file /) });
        rmSync(trap.root, { recursive: true });
      },
    ),
  },
};
