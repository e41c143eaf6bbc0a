// A launcher that somebody made set-user-ID, or gave capabilities of its file: its plan, which is anybody's, must not be carried out with them.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { encodePlan } from '../../src/backends/launcher/encode.ts';
import { type Bench, defaultSteps, makeBench, ORDINARY_ID } from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns', 'root', 'file:/usr/bin/python3');

let bench: Bench;
beforeAll(() => {
  bench = makeBench();
});
afterAll(() => bench.remove());
beforeEach(() => {
  rmSync(join(bench.directory, 'privileged'), { force: true });
});

/** The launcher as `change` leaves it, started by an ordinary user with a good plan. */
function launch(change: (file: string) => void): { status: number | null; said: string } {
  const file = join(bench.directory, 'privileged');
  copyFileSync(bench.launcher, file);
  chmodSync(file, 0o755);
  change(file);
  const plan = join(bench.directory, 'plan');
  writeFileSync(plan, encodePlan(defaultSteps(bench, ORDINARY_ID, ['/bin/echo', 'the command ran'])));
  chmodSync(plan, 0o644);
  const descriptor = openSync(plan, 'r');
  try {
    const stdio = ['ignore' as const, 'pipe' as const, 'pipe' as const, descriptor, 'pipe' as const];
    const args = ['run', '--plan-fd', '3', '--status-fd', '4'];
    const ids = { uid: ORDINARY_ID, gid: ORDINARY_ID, cwd: '/' };
    const { status, output } = spawnSync(file, args, { ...ids, stdio, encoding: 'utf8', env: {} });
    return { status, said: output.slice(1).join('') };
  } finally {
    closeSync(descriptor);
  }
}

function setCapabilities(file: string, attribute: string): void {
  const set = `import os, sys; os.setxattr(sys.argv[1], 'security.capability', bytes.fromhex(sys.argv[2]))`;
  expect(spawnSync('/usr/bin/python3', ['-c', set, file, attribute]).status).toBe(0);
}

it('the launcher that is privileged below works', () => {
  expect(launch(() => {})).toEqual({ status: 0, said: expect.stringContaining('the command ran') });
});

it.each([
  ['set-user-ID of root', (file: string) => chmodSync(file, 0o4755)],
  ['set-group-ID of root', (file: string) => chmodSync(file, 0o2755)],
  [
    'set-user-ID of another user',
    (file: string) => {
      chownSync(file, 4242, 4242);
      chmodSync(file, 0o4755);
    },
  ],
  // VFS_CAP_REVISION_2: CAP_DAC_OVERRIDE and CAP_SYS_ADMIN permitted, with and without the effective bit.
  ['capabilities of its file', (file: string) => setCapabilities(file, '0100000202002000000000000000000000000000')],
  [
    'capabilities of its file that are not effective yet',
    (file: string) => setCapabilities(file, '0000000202002000000000000000000000000000'),
  ],
])('a launcher with %s refuses, and says what to do', (_what, change) => {
  const { status, said } = launch(change);
  expect(said).not.toContain('the command ran');
  expect(said).toContain('chmod ug-s');
  expect(said).toContain('setcap -r');
  expect(status).toBe(125);
});

it('what the package ships has no such bit', () => {
  for (const architecture of ['x64', 'arm64']) {
    const file = new URL(`../../prebuilds/linux-${architecture}/launcher`, import.meta.url);
    if (existsSync(file)) expect(statSync(file).mode & 0o7000).toBe(0);
  }
  expect(readFileSync(bench.launcher).length).toBeGreaterThan(0);
});
