// What this host offers, as `probe` reports it, and who runs a command here: the backend that was named, or what negotiation finds. Where something is
// missing, it is really missing: the launcher runs with system calls that fail.

import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { backendNames } from '../../src/backends/backend.ts';
import { features } from '../../src/features/feature.ts';
import type * as api from '../../src/index.ts';
import { type Bench, makeBench } from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

const ofGroups = ['limits.cpuMs', 'limits.cpus', 'limits.memoryBytes', 'limits.pids'];

export function hostCases(): void {
  requires('linux', 'userns', 'command:cc');
  let bench: Bench;
  let lib: typeof api;
  beforeAll(() => {
    bench = makeBench('without_syscall');
  });
  afterAll(() => bench.remove());
  // What a host offers is remembered for the whole process, and here each test has another host.
  beforeEach(async () => {
    // Of modules that are gone nobody would end the server.
    vi.stubEnv('SANDBOXLIB_SERVER', 'off');
    vi.resetModules();
    lib = await import('../../src/index.ts');
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    delete process.env['SANDBOXLIB_LAUNCHER'];
    delete process.env['SANDBOXLIB_BACKEND'];
  });

  /** From here on the launcher is this program. */
  const useLauncher = (script: string, mode = 0o755): string => {
    const file = join(bench.directory, 'other-launcher');
    writeFileSync(file, script);
    chmodSync(file, mode);
    process.env['SANDBOXLIB_LAUNCHER'] = file;
    return file;
  };
  /** From here on the launcher lives on a host where these calls fail with EPERM, see native/test/without_syscall.c. */
  const loseCalls = (...calls: readonly string[]): void => {
    const words = calls.map((call) => `'${call}'`).join(' ');
    useLauncher(`#!/bin/sh\nexec ${bench.program('without_syscall')} --errno 1 ${words} -- ${bench.launcher} "$@"\n`);
  };
  const without = {
    cgroup: 'clone@0&0x02000000',
    uts: 'clone@0&0x04000000',
    user: 'clone@0&0x10000000',
    network: 'clone@0&0x40000000',
  } as const;

  describe('probe', () => {
    test('says of each backend what it can do here, as plain data', async () => {
      const report = await lib.probe();
      expect(JSON.parse(JSON.stringify(report))).toEqual(report);
      expect(report.user.uid).toBe(process.getuid?.());
      expect(report.backends.map(({ backend }) => backend)).toEqual([...lib.backendNames]);
      for (const { usable, features: known } of report.backends) {
        if (!usable.available) expect(usable.because).toMatch(/\w/);
        expect(Object.keys(known).filter((name) => !(features as readonly string[]).includes(name))).toEqual([]);
      }
      const native = report.backends.find(({ backend }) => backend === 'native');
      expect(native?.usable).toMatchObject({ available: true });
      // Ranges need a line in /etc/subuid, and control groups are root's unless some were delegated; what stands in for a bound of theirs does not bind root.
      const lost = Object.entries(native?.features ?? {}).filter(([, availability]) => !availability.available);
      const excused = ['idMappings.ranges', ...(process.getuid?.() === 0 ? ['limits.pids.approximate'] : ofGroups)];
      expect(lost.map(([feature]) => feature).filter((feature) => !excused.includes(feature))).toEqual([]);
      expect(report.facilities.length).toBeGreaterThan(20);
    });

    test('what it says is available, a run gives', async () => {
      const { backends } = await lib.probe();
      const native = backends.find(({ backend }) => backend === 'native');
      const { enforcement } = await lib.run(['true']);
      for (const { feature } of enforcement.applied)
        expect(native?.features[feature]).toMatchObject({ available: true });
    });

    test('what is missing has its reason, and other features are not touched by it', async () => {
      loseCalls(without.cgroup);
      const { backends } = await lib.probe();
      const native = backends.find(({ backend }) => backend === 'native');
      expect(native?.usable).toMatchObject({ available: true });
      expect(native?.features['namespace.cgroup']).toMatchObject({
        available: false,
        because: expect.stringContaining('EPERM'),
      });
      expect(native?.features['namespace.uts']).toMatchObject({ available: true });
    });

    test('a host without user namespaces isolates nothing, and a finding says what to do', async () => {
      loseCalls(without.user);
      const { backends, findings } = await lib.probe();
      const native = backends.find(({ backend }) => backend === 'native');
      for (const feature of ['root.host', 'namespace.pid', 'network.none'] as const)
        expect(native?.features[feature]).toMatchObject({
          available: false,
          because: expect.stringContaining('EPERM'),
        });
      expect(findings[0]).toMatchObject({ severity: 'error', remedy: expect.any(String) });
    });

    test('a launcher that is missing or broken is a finding, not an error', async () => {
      process.env['SANDBOXLIB_LAUNCHER'] = join(bench.directory, 'nowhere');
      const missing = (await lib.probe()).backends.find(({ backend }) => backend === 'native');
      expect(missing?.usable).toMatchObject({
        available: false,
        because: expect.stringContaining('does not exist'),
        remedy: 'unset SANDBOXLIB_LAUNCHER',
      });
      vi.resetModules();
      lib = await import('../../src/index.ts');
      const file = useLauncher('#!/bin/sh\necho out of order >&2\nexit 3\n');
      const broken = (await lib.probe()).backends.find(({ backend }) => backend === 'native');
      expect(broken?.usable).toMatchObject({
        available: false,
        because: `"${file} probe" ended with exit status 3: out of order`,
      });
    });
  });

  describe('a launch that fails', () => {
    test('for want of a feature is that feature missing, with the step as its cause', async () => {
      loseCalls(without.cgroup);
      const error = await lib.run(['true'], {}, { backend: 'native' }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(lib.FeatureError);
      expect(error).toMatchObject({
        code: 'SBX_FEATURE_UNAVAILABLE',
        backend: 'native',
        missing: [{ feature: 'namespace.cgroup', because: expect.stringContaining('EPERM') }],
        cause: {
          code: 'SBX_LAUNCH_FAILED',
          step: 'namespaces',
          syscall: expect.stringMatching(/^clone/),
          errno: 'EPERM',
        },
      });
    });

    test('for want of user namespaces is all that these give missing, with the step as its cause', async () => {
      loseCalls(without.user);
      const error = await lib.run(['true'], {}, { backend: 'native' }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(lib.FeatureError);
      expect(error).toMatchObject({
        code: 'SBX_FEATURE_UNAVAILABLE',
        backend: 'native',
        missing: expect.arrayContaining([
          expect.objectContaining({ feature: 'root.host', because: expect.stringContaining('EPERM') }),
        ]),
        cause: { code: 'SBX_LAUNCH_FAILED', step: 'namespaces' },
      });
    });

    test('for want of a launcher names its file and what to do', async () => {
      process.env['SANDBOXLIB_LAUNCHER'] = join(bench.directory, 'nowhere');
      await expect(lib.run(['true'], {}, { backend: 'native' })).rejects.toMatchObject({
        code: 'SBX_BACKEND_UNAVAILABLE',
        message: expect.stringMatching(
          /nowhere does not exist \(SANDBOXLIB_LAUNCHER names it\); unset SANDBOXLIB_LAUNCHER$/,
        ),
      });
      useLauncher('#!/bin/sh\n', 0o644);
      await expect(lib.run(['true'], {}, { backend: 'native' })).rejects.toMatchObject({
        code: 'SBX_BACKEND_UNAVAILABLE',
        remedy: 'make it executable, or unset SANDBOXLIB_LAUNCHER',
      });
      // For others than its owner. Root may execute what anybody may.
      if (process.getuid?.() === 0) return;
      useLauncher('#!/bin/sh\n', 0o611);
      await expect(lib.run(['true'], {}, { backend: 'native' })).rejects.toMatchObject({
        code: 'SBX_BACKEND_UNAVAILABLE',
        remedy: 'make it executable, on a file system that is not mounted noexec',
        cause: { code: 'SBX_LAUNCH_FAILED', step: 'spawn', errno: 'EACCES' },
      });
    });

    test('where nobody named a backend is the reasons of all of them', async () => {
      loseCalls(without.user);
      const error = await lib.run(['true']).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(lib.BackendError);
      expect(error).toMatchObject({
        code: 'SBX_BACKEND_UNAVAILABLE',
        message: expect.stringMatching(
          /^no backend offers all that is asked for; native: .*; bubblewrap: .*; chroot: /s,
        ),
        cause: { code: 'SBX_LAUNCH_FAILED', step: 'namespaces' },
      });
      // From now on they are asked beforehand.
      await expect(lib.run(['true'])).rejects.toMatchObject({ code: 'SBX_BACKEND_UNAVAILABLE' });
    });

    test('for its own reasons stays what it is', async () => {
      await expect(lib.run(['no-such-program'])).rejects.toMatchObject({ step: 'exec', reason: 'not-found' });
      await expect(lib.run(['true'], { cwd: '/nowhere' })).rejects.toMatchObject({
        code: 'SBX_LAUNCH_FAILED',
        step: 'cwd',
        errno: 'ENOENT',
      });
    });
  });

  describe('a feature that is optional and missing', () => {
    test('is skipped, and the result says so and why', async () => {
      loseCalls(without.cgroup);
      const { outcome, enforcement } = await lib.run(
        ['true'],
        {},
        { backend: 'native', optional: ['namespace.cgroup'] },
      );
      expect(outcome).toEqual({ kind: 'exited', code: 0 });
      expect(enforcement.skipped).toEqual([{ feature: 'namespace.cgroup', because: expect.stringContaining('EPERM') }]);
      expect(enforcement.applied.map(({ feature }) => feature)).not.toContain('namespace.cgroup');
    });

    test('is not there in the sandbox, and all that was not optional is', async () => {
      loseCalls(without.network);
      const seen = ['sh', '-c', 'grep -c : /proc/net/dev; grep -E "NoNewPrivs|Seccomp:" /proc/self/status'];
      const { stdout, enforcement } = await lib.run(seen, {}, { optional: ['network.none', 'namespace.network'] });
      expect(enforcement.skipped.map(({ feature }) => feature).sort()).toEqual(['namespace.network', 'network.none']);
      expect(stdout).toMatch(/NoNewPrivs:\t1\nSeccomp:\t2\n$/);
    });

    test('takes nothing else with it: another that is missing is refused', async () => {
      loseCalls(without.cgroup, without.network);
      const asked = lib.run(['true'], {}, { backend: 'native', optional: ['namespace.cgroup'] });
      await expect(asked).rejects.toMatchObject({ code: 'SBX_FEATURE_UNAVAILABLE' });
      const { missing } = (await asked.catch((reason: unknown) => reason)) as api.FeatureError;
      expect(missing.map(({ feature }) => feature).sort()).toEqual(['namespace.network', 'network.none']);
    });

    test("'all' skips what is missing, and no more", async () => {
      loseCalls(without.cgroup);
      const { enforcement } = await lib.run(['true'], { selinux: 'x' }, { optional: 'all' });
      expect(enforcement.skipped.map(({ feature }) => feature).sort()).toEqual(['namespace.cgroup', 'selinux']);
    });

    test('that is there is applied', async () => {
      const { enforcement } = await lib.run(['true'], {}, { optional: 'all' });
      expect(enforcement.skipped).toEqual([]);
      expect(enforcement).toEqual((await lib.run(['true'])).enforcement);
    });

    test('a sandbox and a wrapped command know it beforehand', async () => {
      loseCalls(without.cgroup);
      await using sandbox = await lib.createSandbox({}, { optional: ['namespace.cgroup'] });
      expect(sandbox.enforcement.skipped).toMatchObject([{ feature: 'namespace.cgroup' }]);
      using wrapped = await lib.wrap(['true'], {}, { optional: ['namespace.cgroup'] });
      expect(wrapped.enforcement).toEqual(sandbox.enforcement);
      expect((await sandbox.run(['true'])).enforcement).toEqual(sandbox.enforcement);
    });
  });

  describe('SANDBOXLIB_BACKEND', () => {
    test('names the backend, also for explain, createSandbox and wrap', async () => {
      process.env['SANDBOXLIB_BACKEND'] = 'none';
      const { enforcement } = await lib.run(['true'], {}, { optional: 'all' });
      expect(enforcement.backend).toBe('none');
      expect((await lib.explain({}, { optional: 'all' })).backend).toBe('none');
      await using sandbox = await lib.createSandbox({}, { optional: 'all' });
      expect(sandbox.plan.backend).toBe('none');
      await expect(lib.wrap(['true'], {}, { optional: 'all' })).rejects.toMatchObject({
        code: 'SBX_BACKEND_UNAVAILABLE',
      });
    });

    test('weakens nothing: what that backend lacks is refused', async () => {
      process.env['SANDBOXLIB_BACKEND'] = 'none';
      const marker = join(bench.directory, 'ran');
      await expect(lib.run(['touch', marker])).rejects.toMatchObject({
        code: 'SBX_FEATURE_UNAVAILABLE',
        backend: 'none',
        missing: expect.arrayContaining([expect.objectContaining({ feature: 'namespace.pid' })]),
      });
      expect(existsSync(marker)).toBe(false);
    });

    test('with a wrong name is an error that has the right ones', async () => {
      for (const name of ['Native', 'nativ', ' ', 'constructor']) {
        process.env['SANDBOXLIB_BACKEND'] = name;
        await expect(lib.run(['true'])).rejects.toMatchObject({
          code: 'SBX_BACKEND_UNAVAILABLE',
          message: `SANDBOXLIB_BACKEND names no backend: '${name}'; known are ${backendNames.join(', ')}`,
        });
      }
    });

    test('that is empty is not set', async () => {
      process.env['SANDBOXLIB_BACKEND'] = '';
      expect((await lib.run(['true'])).enforcement.backend).toBe('native');
    });

    test('gives way to the option', async () => {
      process.env['SANDBOXLIB_BACKEND'] = 'none';
      expect((await lib.run(['true'], {}, { backend: 'native' })).enforcement.backend).toBe('native');
      process.env['SANDBOXLIB_BACKEND'] = 'no such thing';
      expect((await lib.run(['true'], {}, { backend: 'native' })).enforcement.backend).toBe('native');
    });
  });
}
