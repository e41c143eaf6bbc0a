// The whole launcher under AddressSanitizer and UndefinedBehaviorSanitizer, on real plans, through all three of its processes: a finding in any of
// them ends that process with a report.
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { endServers } from '../../src/backends/launcher/server.ts';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { createSandbox } from '../../src/index.ts';
import {
  type Bench,
  callers,
  defaultSteps,
  type LauncherRun,
  makeBench,
  PROGRAMS,
  runSteps,
  sanitizeLauncher,
  witnessCommand,
} from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns', 'command:cc');

let bench: Bench;
const before = { asan: process.env['ASAN_OPTIONS'], ubsan: process.env['UBSAN_OPTIONS'] };
beforeAll(() => {
  bench = makeBench('witness', 'without_syscall');
  sanitizeLauncher(bench);
  // What a process holds when it ends is the kernel's to free.
  process.env['ASAN_OPTIONS'] = 'detect_leaks=0:exitcode=99';
  process.env['UBSAN_OPTIONS'] = 'print_stacktrace=1:exitcode=99';
});
afterAll(() => {
  bench.remove();
  restore('ASAN_OPTIONS', before.asan);
  restore('UBSAN_OPTIONS', before.ubsan);
});

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

const shell = (script: string): [string, ...string[]] => ['/bin/sh', '-c', script];

function replaceExec(steps: readonly Step[], argv: readonly string[]): Step[] {
  return steps.map((step) => (step.step === 'exec' ? { ...step, argv } : step));
}

function expectEnd(run: LauncherRun, last: object): void {
  expect({ stderr: run.stderr, last: run.lines.at(-1) }).toMatchObject({ stderr: '', last });
}

describe.each(callers())('as $name', ({ uid }) => {
  const plain = () => defaultSteps(bench, uid, witnessCommand(bench, uid));

  it('the default sandbox runs without a finding', () => {
    const run = runSteps(bench, uid, plain());
    expectEnd(run, { event: 'ended', code: 0 });
    expect(run.stdout).toBe('witness\n');
  });

  it('the ways of an older kernel run without a finding', () => {
    const hidden = [
      'openat2',
      'close_range',
      'mount_setattr',
      'open_tree',
      'move_mount',
      'fsopen',
      'seccomp',
      'keyctl',
    ];
    const run = runSteps(bench, uid, plain(), [bench.program('without_syscall'), ...hidden, '--']);
    expectEnd(run, { event: 'ended', code: 0 });
    expect(run.stdout).toBe('witness\n');
  });

  it('output is counted and cut without a finding', () => {
    const steps = defaultSteps(bench, uid, shell('yes | head -c 300000; echo end >&2'), {
      limits: { coreBytes: 0, outputBytes: 100_000 },
    });
    const run = runSteps(bench, uid, steps);
    expectEnd(run, { event: 'ended', cause: 'limit', limit: 'outputBytes' });
    expect(run.stdout.length).toBe(100_000);
  });

  it('the clock runs out without a finding', () => {
    const steps = defaultSteps(bench, uid, ['/bin/sleep', '60'], { limits: { coreBytes: 0, wallMs: 50 } });
    expectEnd(runSteps(bench, uid, steps), { event: 'ended', cause: 'limit', limit: 'wallMs', signal: 'SIGTERM' });
  });

  it('a terminal is made without a finding', () => {
    const steps = defaultSteps(bench, uid, shell('tty && stty size'), { terminal: { columns: 100, rows: 30 } });
    const run = runSteps(bench, uid, steps);
    expectEnd(run, { event: 'ended', code: 0 });
    expect(run.stdout).toBe('/dev/pts/0\r\n30 100\r\n');
  });

  it.each([
    [['no-such-program'], 'not-found'],
    [[`${PROGRAMS}/absent`], 'not-found'],
    [['/usr'], 'directory'],
    [['/etc/hosts'], 'not-executable'],
    [['/etc/../etc/./hosts/'], 'not-found'],
  ])('%j is refused without a finding', (argv, reason) => {
    expectEnd(runSteps(bench, uid, replaceExec(plain(), argv)), { event: 'failed', step: 'exec', reason });
  });

  it('a mount whose source is absent is refused without a finding', () => {
    const steps = plain().map((step) =>
      step.step === 'mount' && step.destination === PROGRAMS ? { ...step, source: '/no/such/directory' } : step,
    );
    expectEnd(runSteps(bench, uid, steps), {
      event: 'failed',
      step: 'mount',
      errno: 'ENOENT',
      path: '/no/such/directory',
    });
  });
});

it('a server and sandboxes that wait run without a finding', async () => {
  vi.stubEnv('SANDBOXLIB_SERVER', 'always');
  vi.stubEnv('SANDBOXLIB_LAUNCHER', bench.launcher);
  const seen: unknown[] = [];
  const sandbox = await createSandbox({ limits: { outputBytes: 100_000 } }, { backend: 'native', warm: 2 });
  // A finding ends its process, and with it the run.
  for (const options of [{}, {}, { input: 'x'.repeat(65_536) }]) {
    const { outcome, stdout } = await sandbox.run(['sh', '-c', 'yes | head -c 90000; cat'], options);
    seen.push([outcome, String(stdout).length]);
  }
  const { outcome } = await sandbox.run(['yes']);
  await sandbox.dispose();
  await endServers();
  vi.unstubAllEnvs();
  const exited = { kind: 'exited', code: 0 };
  expect([...seen, outcome]).toEqual([
    [exited, 90_000],
    [exited, 90_000],
    [{ kind: 'limit', limit: 'outputBytes' }, 100_000],
    { kind: 'limit', limit: 'outputBytes' },
  ]);
});

it('a server of streams runs without a finding', async () => {
  vi.stubEnv('SANDBOXLIB_SERVER', 'always');
  vi.stubEnv('SANDBOXLIB_LAUNCHER', bench.launcher);
  const sandbox = await createSandbox({ limits: { outputBytes: 3_000_000 } }, { backend: 'native' });
  // The last has more to say than it may.
  const sizes = [0, 1, 100_000, 2_900_000, 3_000_001];
  const handles = sizes.map((size) => {
    const handle = sandbox.spawn(['sh', '-c', `cat; head -c ${size} /dev/zero`], { stdin: 'pipe' });
    handle.stdin.end('x'.repeat(90_000));
    return handle;
  });
  const lengths = await Promise.all(handles.map(async ({ stdout }) => (await buffer(stdout)).length));
  const ends = await Promise.all(handles.map(async (handle) => (await handle).outcome));
  await sandbox.dispose();
  await endServers();
  vi.unstubAllEnvs();
  expect(lengths).toEqual(sizes.map((size) => Math.min(size + 90_000, 3_000_000)));
  const exited = { kind: 'exited', code: 0 };
  expect(ends).toEqual([exited, exited, exited, exited, { kind: 'limit', limit: 'outputBytes' }]);
});
