// `launcher probe` on the real kernel, as root and as an ordinary user, and on lesser hosts that are made for the occasion.
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseFacilities } from '../../src/backends/launcher/facilities.ts';
import { launcherPath } from '../../src/backends/launcher/locate.ts';
import { judge, probeNative } from '../../src/backends/native/probe.ts';
import { recognized } from '../../src/backends/native/recognized.ts';
import { diagnose } from '../../src/host/findings.ts';
import { readHost } from '../../src/host/read.ts';
import type { Facility } from '../../src/host/types.ts';
import { runAsUser, spawnAsUser } from '../helpers/as-user.ts';
import { requires } from '../helpers/requires.ts';

requires('linux');

let directory: string;
let launcher: string;

beforeAll(() => {
  // An ordinary user may not reach the checkout.
  directory = mkdtempSync(join(tmpdir(), 'probe-'));
  chmodSync(directory, 0o755);
  launcher = join(directory, 'launcher');
  copyFileSync(launcherPath(), launcher);
  chmodSync(launcher, 0o755);
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

type Facilities = ReadonlyMap<string, Facility>;

function byName({ status, stdout, stderr }: { status: number | null; stdout: string; stderr: string }): Facilities {
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return new Map(parseFacilities(stdout).map((facility) => [facility.facility, facility]));
}

function probeAsUser(...words: readonly string[]): Facilities {
  return byName(runAsUser(launcher, ['probe', ...words]));
}

function failures(facilities: Facilities): string[] {
  return [...facilities.values()].filter((facility) => !facility.ok).map((facility) => facility.facility);
}

/** Facilities that say something about the machine and not about what a sandbox needs. */
const dependsOnMachine = new Set([
  ...['idmap.ranges', 'binfmt_misc', 'clone3.cgroup', 'seccomp.i386', 'tiocsti', 'io_uring'],
  ...['landlock', 'landlock.truncate', 'landlock.tcp', 'landlock.scope'],
  ...['root.idmapped-mount', 'namespace.time', 'keyring'],
  // Only where the caller says which groups may be divided.
  ...['cgroup.memory', 'cgroup.pids', 'cgroup.cpu', 'cgroup.cpuacct'],
  ...['rlimit.nproc', 'smaps_rollup'],
]);
const ofGroups: ReadonlySet<string> = new Set(['limits.cpuMs', 'limits.cpus', 'limits.memoryBytes', 'limits.pids']);

describe('on this host', () => {
  test('an ordinary user with user namespaces has all that a sandbox needs', () => {
    requires('userns');
    expect(failures(probeAsUser()).filter((name) => !dependsOnMachine.has(name))).toEqual([]);
  });

  test('an ordinary user is not told what root could do', () => {
    expect([...probeAsUser().keys()].filter((name) => name.startsWith('root.'))).toEqual([]);
  });

  test('a control group is made, bounded, joined and removed where the caller says, and nowhere else', async () => {
    requires('root');
    const parents = Object.entries(readHost().cgroups.parents);
    // Sandboxes of other test files make groups there meanwhile, named after a process that is still there.
    const isOfSomebody = (name: string) => existsSync(`/proc/${/^sandboxlib-.*-(\d+)$/.exec(name)?.[1] ?? 'none'}`);
    const groups = () =>
      parents.flatMap(([, { directory }]) =>
        readdirSync(directory)
          .filter((name) => !isOfSomebody(name))
          .map((name) => `${directory}/${name}`),
      );
    const before = new Set(groups());
    const words = parents.flatMap(([controller, { directory }]) => [`--cgroup-${controller}`, directory]);
    const facilities = byName(spawnSync(launcher, ['probe', ...words], { encoding: 'utf8' }));
    for (const [controller, { directory }] of parents)
      expect(facilities.get(`cgroup.${controller}`)).toMatchObject({ ok: true, detail: `below ${directory}` });
    await expect.poll(() => groups().filter((name) => !before.has(name)), { timeout: 10_000 }).toEqual([]);
    const elsewhere = byName(spawnSync(launcher, ['probe', '--cgroup-pids', '/tmp'], { encoding: 'utf8' }));
    expect(elsewhere.get('cgroup.pids')).toMatchObject({ ok: false, errno: 'ENODEV' });
    expect(elsewhere.get('cgroup.memory')).toMatchObject({ ok: false });
  });

  test('root has it too, and can map ids that are not its own', () => {
    requires('root', 'userns');
    const facilities = byName(spawnSync(launcher, ['probe'], { encoding: 'utf8' }));
    expect(failures(facilities).filter((name) => !dependsOnMachine.has(name))).toEqual([]);
    expect(facilities.get('root.idmap.ranges')?.ok).toBe(true);
  });

  test('what fails names the step and, for a system call, the errno', () => {
    for (const facility of probeAsUser().values()) {
      if (facility.ok) expect(facility).toEqual({ facility: facility.facility, ok: true, detail: expect.any(String) });
      else expect(facility.step).toMatch(/^[\w-]+$/);
    }
  });

  test('every recognized feature has an answer, and what is missing a reason', async () => {
    const report = await probeNative(launcher);
    expect([...report.features.keys()].sort()).toEqual([...recognized].sort());
    for (const availability of report.features.values()) {
      if (availability.available) expect(availability.mechanism).not.toBe('');
      else expect(availability.because).not.toBe('');
    }
  });

  test('nothing is mounted, made or renamed on the host', () => {
    const look = () => [
      readFileSync('/proc/self/mountinfo', 'utf8'),
      readFileSync('/proc/sys/kernel/hostname', 'utf8'),
      spawnSync('ipcs', ['-q'], { encoding: 'utf8' }).stdout,
    ];
    const before = look();
    byName(spawnSync(launcher, ['probe'], { encoding: 'utf8' }));
    expect(look()).toEqual(before);
  });

  test('bad arguments are refused before anything is tried', () => {
    for (const words of [
      ['--newuidmap'],
      ['--subuid', '1'],
      ['--subuid', 'a:1'],
      ['--newuidmap', 'relative'],
      ['-x', 'y'],
    ]) {
      const { status, stdout, stderr } = runAsUser(launcher, ['probe', ...words]);
      expect({ words, status, stdout }).toEqual({ words, status: 125, stdout: '' });
      expect(stderr).toMatch(/^launcher probe: usage: /);
    }
  });

  test('output that cannot be written is a failure, not silence', () => {
    const full = openSync('/dev/full', 'w');
    try {
      expect(runAsUser(launcher, ['probe'], { stdio: ['ignore', full, 'pipe'] }).status).toBe(125);
    } finally {
      closeSync(full);
    }
  });
});

describe('on a lesser host', () => {
  test('max_user_namespaces = 0 is found as the reason', () => {
    requires('userns', 'command:unshare');
    // The switch is one for each user namespace: this one is set in a new one, and nowhere else.
    const script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" probe';
    const facilities = byName(runAsUser('unshare', ['--user', '--map-root-user', 'sh', '-c', script, launcher]));
    expect(facilities.get('namespace.user')).toEqual({
      facility: 'namespace.user',
      ok: false,
      detail: 'user.max_user_namespaces is 0',
      errno: 'ENOSPC',
      step: 'clone',
    });
    expect(facilities.get('seccomp.filter')?.ok).toBe(true);
  });

  test('a /proc that is covered in part is found as the reason', () => {
    requires('userns', 'command:bwrap');
    const facilities = byName(
      runAsUser('bwrap', [...wholeHost, '--ro-bind', '/dev/null', '/proc/version', launcher, 'probe']),
    );
    expect(facilities.get('namespace.user')?.ok).toBe(true);
    expect(facilities.get('proc.fresh')).toMatchObject({ ok: false, errno: 'EPERM', step: 'mount' });
    expect(facilities.get('proc.fresh')?.detail).toContain('mount too revealing');
  });

  test('and without that cover the same place has a fresh /proc', () => {
    requires('userns', 'command:bwrap');
    expect(byName(runAsUser('bwrap', [...wholeHost, launcher, 'probe'])).get('proc.fresh')?.ok).toBe(true);
  });

  test('a filter that refuses new user namespaces, as containers have it, is found as the reason', () => {
    requires('userns', 'command:bwrap');
    const facilities = probeUnderFilter(numbers.clone, { argument: 0, anyOf: 0x10000000 }, 'EPERM');
    expect(facilities.get('namespace.user')).toMatchObject({ ok: false, errno: 'EPERM', step: 'clone' });
    expect(facilities.get('namespace.user')?.detail).toContain('seccomp filter');
  });

  test('a namespace that comes without capabilities, as with AppArmor of Ubuntu, is not taken for one that works', () => {
    requires('userns', 'command:bwrap');
    const PR_CAPBSET_DROP = 24;
    const facilities = probeUnderFilter(numbers.prctl, { argument: 0, equals: PR_CAPBSET_DROP }, 'EPERM');
    expect(facilities.get('namespace.user')).toMatchObject({ ok: false, errno: 'EPERM', step: 'capability' });
    const found = diagnose({ host: readHost(), facilities: [...facilities.values()], launcher });
    expect(found.map((finding) => finding.id)).toContain('userns-without-capabilities');
  });

  test.each([
    ['mount_setattr', 442, 'mount_setattr'],
    ['openat2', 437, 'openat2'],
    ['clone3', 435, 'clone3'],
    ['landlock', 444, 'landlock_create_ruleset'],
    ['mount-api', 428, 'open_tree'],
  ])('a kernel without %s is rehearsed: ENOSYS is reported, and the rest still works', (facility, number, step) => {
    requires('userns', 'command:bwrap');
    const facilities = probeUnderFilter(number, undefined, 'ENOSYS');
    expect(facilities.get(facility)).toMatchObject({ ok: false, errno: 'ENOSYS', step });
    expect(facilities.get('namespace.user')?.ok).toBe(true);
    expect(facilities.get('pivot_root')?.ok).toBe(true);
  });

  test('a kernel without filters of system calls loses the filters alone', () => {
    requires('userns', 'command:bwrap');
    // prctl(PR_SET_SECCOMP) is the older way to the same, and stays: only together they are gone.
    const facilities = probeUnderFilter(numbers.seccomp, undefined, 'EPERM');
    const report = judge([...facilities.values()], readHost(), launcher);
    const missing = [...report.features].filter(([, { available }]) => !available).map(([feature]) => feature);
    const others = missing.filter((feature) => feature !== 'idMappings.ranges' && !ofGroups.has(feature));
    expect(others).toEqual(['seccomp.default', 'seccomp.strict', 'seccomp.custom', 'seccomp.notify']);
  });
});

describe('ranges of ids', () => {
  const range = ['--subuid', '100000:65536', '--subgid', '100000:65536'];
  const helpers = (path: string) => ['--newuidmap', path, '--newgidmap', path];

  test('without helpers the missing program is named', () => {
    expect(probeAsUser(...range).get('idmap.ranges')).toMatchObject({ errno: 'ENOENT', step: 'newuidmap' });
  });

  test('without a range the file that lacks it is named', () => {
    expect(probeAsUser(...helpers('/bin/true')).get('idmap.ranges')).toMatchObject({ step: 'subuid' });
  });

  test('a helper that refuses is quoted', () => {
    requires('userns');
    const refuse = script('refuse', 'echo \'uid "range" not allowed\' >&2; exit 3');
    expect(probeAsUser(...helpers(refuse), ...range).get('idmap.ranges')).toEqual({
      facility: 'idmap.ranges',
      ok: false,
      step: 'newuidmap',
      detail: 'exit status 3: uid "range" not allowed',
    });
  });

  test('a helper that claims success and maps nothing is not believed', () => {
    requires('userns');
    expect(probeAsUser(...helpers('/bin/true'), ...range).get('idmap.ranges')).toMatchObject({
      ok: false,
      errno: 'EPERM',
    });
  });

  test('newuidmap gives an ordinary user the second id of its range', () => {
    requires(
      'root',
      'userns',
      'command:unshare',
      'command:setpriv',
      'file:/usr/bin/newuidmap',
      'file:/etc/subuid',
      'user:nobody',
    );
    // A range in /etc/subuid that only this mount namespace sees.
    const file = join(directory, 'subid');
    writeFileSync(file, 'nobody:100000:65536\n');
    const bind = 'mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid && shift && exec "$@"';
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', launcher, 'probe'];
    const own = ['--newuidmap', '/usr/bin/newuidmap', '--newgidmap', '/usr/bin/newgidmap'];
    const words = ['--mount', 'sh', '-c', bind, 'sh', file, ...asNobody, ...own, ...range];
    const facilities = byName(spawnSync('unshare', words, { encoding: 'utf8' }));
    expect(facilities.get('idmap.ranges')).toMatchObject({ ok: true });
  });
});

describe('ends', () => {
  const range = ['--subuid', '100000:65536', '--subgid', '100000:65536'];

  test('a trial that hangs is ended after its time, with what it started, and the others are tried', async () => {
    requires('userns');
    const { helper, pidFile } = hangingHelper();
    const facilities = probeAsUser('--newuidmap', helper, '--newgidmap', helper, ...range);
    expect(facilities.get('idmap.ranges')).toMatchObject({ ok: false, step: 'timeout' });
    expect(facilities.get('proc.fresh')?.ok).toBe(true);
    await gone(Number(readFileSync(pidFile, 'utf8')));
  });

  test('SIGKILL to the launcher in the middle of a trial leaves no process', async () => {
    requires('userns');
    const { helper, pidFile } = hangingHelper();
    const child = spawnAsUser(launcher, ['probe', '--newuidmap', helper, '--newgidmap', helper, ...range], {
      stdio: 'ignore',
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    while (!existsSync(pidFile) || readFileSync(pidFile, 'utf8') === '') await delay(10);
    child.kill('SIGKILL');
    await ended;
    await gone(Number(readFileSync(pidFile, 'utf8')));
  });

  test('SIGKILL at any moment leaves nothing', async () => {
    // What is left would be found by the inventory that is taken around this file.
    for (let after = 0; after < 100; after += 5) {
      const child = spawn(launcher, ['probe'], { stdio: 'ignore' });
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await delay(after);
      child.kill('SIGKILL');
      await ended;
    }
  });
});

describe('a launcher that is none', () => {
  test('a missing file is the reason for every feature', async () => {
    const report = await probeNative(join(directory, 'nothing'));
    expect(report.usable).toMatchObject({ available: false, because: expect.stringContaining('ENOENT') });
    expect(report.features.get('cwd')).toEqual(report.usable);
  });

  test('a program that ends with a failure is quoted', async () => {
    const report = await probeNative(script('broken', 'echo "no such mode: $1" >&2; exit 125'));
    expect(report.usable).toMatchObject({ because: expect.stringContaining('exit status 125: no such mode: probe') });
  });

  test('a program that says nothing has nothing', async () => {
    const report = await probeNative(script('silent', 'exit 0'));
    expect(report.usable).toMatchObject({ available: false, because: expect.stringContaining('not tried') });
  });
});

const wholeHost = ['--dev-bind', '/', '/', '--unshare-user', '--unshare-pid', '--proc', '/proc'];

function script(name: string, body: string): string {
  const file = join(directory, name);
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, 0o755);
  return file;
}

let hanging = 0;

function hangingHelper(): { helper: string; pidFile: string } {
  hanging += 1;
  const place = join(directory, `hanging-${hanging}`);
  mkdirSync(place);
  chmodSync(place, 0o777);
  const pidFile = join(place, 'pid');
  return { helper: script(`hanging-${hanging}.sh`, `echo $$ > ${pidFile}\nexec sleep 1000`), pidFile };
}

/** A zombie that waits for the machine's first process to collect it is gone. */
async function gone(pid: number): Promise<void> {
  expect(pid).toBeGreaterThan(1);
  await expect.poll(() => stateOf(pid), { timeout: 10_000 }).toBeOneOf(['', 'Z']);
}

function stateOf(pid: number): string {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) ? (/\) (\w)/.exec(readFileSync(file, 'utf8'))?.[1] ?? '') : '';
}

const numbers =
  process.arch === 'arm64' ? { clone: 220, prctl: 167, seccomp: 277 } : { clone: 56, prctl: 157, seccomp: 317 };
const errnos = { EPERM: 1, ENOSYS: 38 } as const;

type Condition = { readonly argument: number; readonly equals?: number; readonly anyOf?: number };

/** bwrap installs the filter as its last act, so it binds the launcher alone. */
function probeUnderFilter(number: number, condition: Condition | undefined, errno: keyof typeof errnos): Facilities {
  const file = join(directory, 'filter');
  writeFileSync(file, assemble(number, condition, errnos[errno]));
  const filter = openSync(file, 'r');
  try {
    const words = [...wholeHost, '--seccomp', '3', launcher, 'probe'];
    return byName(runAsUser('bwrap', words, { stdio: ['ignore', 'pipe', 'pipe', filter] }));
  } finally {
    closeSync(filter);
  }
}

function assemble(number: number, condition: Condition | undefined, errno: number): Uint8Array {
  const load = (offset: number) => [0x20, 0, 0, offset];
  const allow = [0x06, 0, 0, 0x7fff0000];
  const refuse = [0x06, 0, 0, 0x00050000 | errno];
  const test = (at: Condition) => (at.equals === undefined ? [0x45, 0, 1, at.anyOf ?? 0] : [0x15, 0, 1, at.equals]);
  const program =
    condition === undefined
      ? [load(0), [0x15, 0, 1, number], refuse, allow]
      : [load(0), [0x15, 0, 3, number], load(16 + 8 * condition.argument), test(condition), refuse, allow];
  const bytes = new DataView(new ArrayBuffer(program.length * 8));
  for (const [index, [code = 0, jt = 0, jf = 0, k = 0]] of program.entries()) {
    bytes.setUint16(index * 8, code, true);
    bytes.setUint8(index * 8 + 2, jt);
    bytes.setUint8(index * 8 + 3, jf);
    bytes.setUint32(index * 8 + 4, k, true);
  }
  return new Uint8Array(bytes.buffer);
}
