// Older kernels lack system calls that the launcher likes best, and surroundings deny some. The promises stay the same; where they cannot be kept the
// launcher refuses by the name of a step.
import { mkdirSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Bench,
  callers,
  defaultSteps,
  type LauncherRun,
  makeBench,
  runSteps,
  witnessCommand,
} from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns', 'command:cc');

let bench: Bench;
beforeAll(() => {
  bench = makeBench('witness', 'without_syscall');
});
afterAll(() => bench.remove());

function run(uid: number, calls: readonly string[]): LauncherRun {
  const prefix = calls.length === 0 ? [] : [bench.program('without_syscall'), ...calls, '--'];
  return runSteps(bench, uid, defaultSteps(bench, uid, witnessCommand(bench, uid)), prefix);
}

const newMountApi = ['open_tree', 'move_mount', 'fsopen', 'fsmount', 'fsconfig', 'mount_setattr'];
const lesser: Record<string, readonly string[]> = {
  'everything there is': [],
  'no openat2, before 5.6': ['openat2'],
  'no close_range, before 5.9': ['close_range'],
  'no flag CLOSE_RANGE_CLOEXEC, before 5.11': ['--errno', String(constants.errno.EINVAL), 'close_range@2=4'],
  'no mount_setattr, before 5.12': ['mount_setattr'],
  'only mount(2), before 5.2': newMountApi,
  'no seccomp(2), before 3.17': ['seccomp'],
  'no keyctl': ['keyctl'],
  'a kernel of 2018': ['openat2', 'close_range', 'keyctl', 'seccomp', ...newMountApi],
  'a filter that answers EPERM to what it does not know': [
    ...['--errno', String(constants.errno.EPERM)],
    ...['openat2', 'close_range', 'keyctl', ...newMountApi],
  ],
};

describe.each(callers())('as $name', ({ uid }) => {
  it.each(Object.entries(lesser))('the default sandbox keeps every promise with %s', (_title, calls) => {
    const { code, stdout, stderr, lines } = run(uid, calls);
    expect({ stdout, stderr, last: lines.at(-1) }).toMatchObject({
      stdout: 'witness\n',
      stderr: '',
      last: { event: 'ended', cause: 'command', code: 0 },
    });
    expect(code).toBe(0);
  });

  it.each(Object.entries(lesser))('all own directories have one bound together with %s', (_title, calls) => {
    const overrides = { limits: { coreBytes: 0, diskBytes: 8 * 1024 * 1024 } };
    const steps = defaultSteps(bench, uid, witnessCommand(bench, uid), overrides);
    const parts = steps.filter((each) => each.step === 'disk' || (each.step === 'mount' && each.kind === 'disk'));
    expect(parts).toHaveLength(4);
    const prefix = calls.length === 0 ? [] : [bench.program('without_syscall'), ...calls, '--'];
    const { stdout, stderr, lines } = runSteps(bench, uid, steps, prefix);
    expect({ stdout, stderr, last: lines.at(-1) }).toMatchObject({
      stdout: 'witness\n',
      stderr: '',
      last: { event: 'ended', cause: 'command', code: 0 },
    });
  });

  it.each([
    ['clone', 'namespaces'],
    ['mount', 'root'],
    ['pivot_root', 'pivot'],
    ['umount2', 'pivot'],
    ['sethostname', 'hostname'],
    ['prlimit64', 'rlimit'],
    ['setresuid', 'map-ids'],
    ['capset', 'capabilities'],
    ['prctl@0=38', 'no-new-privileges'],
    ['prctl@0=24', 'capabilities'],
    ['prctl@0=28', 'user'],
  ])('without %s it refuses at step %s and starts nothing', (call, step) => {
    for (const errno of [constants.errno.ENOSYS, constants.errno.EPERM]) {
      const { code, stdout, lines } = run(uid, ['--errno', String(errno), call]);
      expect(lines).toEqual([expect.objectContaining({ event: 'failed', step })]);
      expect(stdout).toBe('');
      expect(code).toBe(125);
    }
  });

  // FSCONFIG_CMD_CREATE (6) is refused before 6.7 for this file system alone, which a rehearsal cannot tell from others: as root a tmpfs comes first.
  it.each(['fsopen', 'mount_setattr', ...(uid === 0 ? [] : ['fsconfig@1=6'])])(
    'without %s it refuses to run programs of another architecture, and starts nothing',
    (call) => {
      // An interpreter that is never used.
      const emulation = {
        ...{ kernelRelease: '6.12.0', registered: [], compatible: [] },
        interpreters: { riscv64: '/bin/sh' },
      };
      const wanted = { architecture: 'riscv64' } as const;
      const steps = defaultSteps(bench, uid, witnessCommand(bench, uid), wanted, { emulation });
      const prefix = [bench.program('without_syscall'), '--errno', String(constants.errno.EPERM), call, '--'];
      const { code, stdout, lines } = runSteps(bench, uid, steps, prefix);
      expect({ code, stdout, failed: lines.at(-1) }).toMatchObject({
        ...{ code: 125, stdout: '' },
        failed: { event: 'failed', step: 'binfmt', syscall: call.split('@')[0] },
      });
    },
  );

  it('without seccomp in either form it refuses rather than run without a filter', () => {
    // prctl(PR_SET_SECCOMP); hidden after seccomp(2), for the rehearsal itself needs one of them.
    const { code, stdout, lines } = run(uid, ['seccomp', 'prctl@0=22']);
    expect(lines).toEqual([expect.objectContaining({ event: 'failed', step: 'seccomp' })]);
    expect({ code, stdout }).toEqual({ code: 125, stdout: '' });
  });
});

describe('with mounts below what is bound', () => {
  requires('root', 'command:unshare');

  it.each([
    ['read-only', true, 'ro,nosuid,nodev'],
    ['writable', false, 'rw,nosuid,nodev'],
  ])('all of a %s tree get the same flags, with or without mount_setattr', (_title, readonly, flags) => {
    const source = join(bench.directory, `tree-${readonly}`);
    mkdirSync(join(source, 'sub', 'a b'), { recursive: true });
    const bind = { type: 'bind', source, destination: '/tree', readonly, sourceKind: 'directory' } as const;
    const steps = defaultSteps(bench, 0, ['/bin/grep', ' /tree', '/proc/self/mountinfo'], {
      mounts: [{ ...bind, sizeBytes: undefined, mode: undefined, origin: 'mounts[0]' }],
    });
    // In a mount namespace of its own, which ends with the launcher.
    const script =
      'cd "$0" && mount -t tmpfs none sub && mkdir "sub/a b" && mount -t tmpfs none "sub/a b" && exec "$@"';
    const prefix = ['unshare', '--mount', 'sh', '-c', script, source];
    for (const calls of [[], newMountApi]) {
      const rehearsal = calls.length === 0 ? [] : [bench.program('without_syscall'), ...calls, '--'];
      const { code, stdout, lines } = runSteps(bench, 0, steps, [...prefix, ...rehearsal]);
      expect({ code, last: lines.at(-1) }).toMatchObject({ code: 0, last: { event: 'ended' } });
      const mounts = stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.split(' ').slice(4, 6));
      expect(mounts.map(([path]) => path)).toEqual(['/tree', '/tree/sub', '/tree/sub/a\\040b']);
      for (const [, options = ''] of mounts) expect(options.startsWith(`${flags},`)).toBe(true);
    }
  });
});
