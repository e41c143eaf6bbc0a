// A root that holds false terminals: whoever opens the terminal of the command by its name in there opens what the root wants.
import { copyFileSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { allMountPoints } from '../../helpers/mount-points.ts';
import type { Technique } from '../technique.ts';

const SECRET = 'of the host';

/** What the root has in the place of terminals; each leads to the same file of the host. */
const traps: Readonly<Record<string, readonly string[]>> = {
  'the whole directory of terminals': ['dev/pts'],
  'the first terminals': Array.from({ length: 8 }, (_, number) => `dev/pts/${number}`),
  'the console, and what makes terminals': ['dev/console', 'dev/ptmx', 'dev/pts/ptmx', 'dev/tty', 'dev/tty0'],
  'all of /dev': ['dev'],
};

function makeRoot(bench: Bench, name: string, links: readonly string[], outside: string): string {
  const root = bench.makeDirectory(name);
  for (const path of allMountPoints.filter((name) => name !== 'dev')) mkdirSync(join(root, path), { recursive: true });
  copyFileSync(bench.guestOutside, join(root, 'guest'));
  for (const link of links) {
    const isDirectory = link === 'dev' || link === 'dev/pts';
    mkdirSync(dirname(join(root, link)), { recursive: true });
    symlinkSync(isDirectory ? outside : join(outside, 'secret'), join(root, link));
  }
  if (!links.includes('dev')) mkdirSync(join(root, 'dev'), { recursive: true });
  return root;
}

/** Everything that a mount point, a device, a mode or an owner that was set there would change. */
function look(outside: string): unknown {
  const { mode, uid, gid, ino, rdev, ctimeMs } = lstatSync(join(outside, 'secret'));
  return [
    readdirSync(outside).sort(),
    readFileSync(join(outside, 'secret'), 'utf8'),
    mode,
    uid,
    gid,
    ino,
    rdev,
    ctimeMs,
  ];
}

export const technique: Technique = {
  name: 'false-terminal',
  attacks: ['root.path', 'root.readonly', 'terminal', 'mount.dev'],
  cases: Object.fromEntries(
    Object.entries(traps).map(([what, links], number) => [
      `the command has its own terminal where the root has links for ${what}`,
      async (bench: Bench) => {
        const outside = bench.makeDirectory(`terminals-of-host-${number}`);
        writeFileSync(join(outside, 'secret'), SECRET);
        for (let name = 0; name < 8; name++) writeFileSync(join(outside, String(name)), SECRET);
        const root = makeRoot(bench, `false-terminals-${number}`, links, outside);
        // The links do lead there.
        const [first = ''] = links;
        expect(lstatSync(join(root, first)).isSymbolicLink()).toBe(true);
        const before = look(outside);
        for (const readonly of [true, false]) {
          const spec: SandboxSpec = { root: { path: root, readonly }, cwd: '/', terminal: true };
          const attempt = async (...args: string[]): Promise<string> =>
            run(['/guest', ...args], spec, bench.options({})).then(
              ({ stdout }) => String(stdout).trim(),
              ({ code }: { code: string }) => code,
            );
          // Refusing is as good, where /dev itself is the link.
          const refusals = ['SBX_SPEC_INVALID', 'SBX_LAUNCH_FAILED'];
          // Such a root lacks /dev, which not every backend can make.
          if (!bench.recognized.has('root.missingMountPoints')) refusals.push('SBX_FEATURE_UNAVAILABLE');
          const refused = what === 'all of /dev' ? refusals : [];
          expect(['1 1 1', ...refused]).toContain(await attempt('isatty'));
          expect(['written', ...refused]).toContain(await attempt('write', '/dev/tty', ''));
          const opened = await attempt('read', '/dev/pts/secret');
          expect(['errno ENOENT', ...refused]).toContain(opened);
        }
        expect(look(outside)).toEqual(before);
      },
    ]),
  ),
};
