// Every single system call that building a sandbox takes is made to fail, one in each run. Either the failure is named and nothing starts, or the
// command starts with everything it was promised; nothing hangs and nothing stays. What may fail without harm is listed here, with the reason.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodePlan } from '../../src/backends/launcher/encode.ts';
import { parseStatusLine, type StatusLine } from '../../src/backends/launcher/status.ts';
import { fixedSteps, recordTypes, type Step } from '../../src/backends/launcher/steps.ts';
import { syscallTable } from '../../src/seccomp/syscalls.ts';
import { type Bench, callers, defaultSteps, makeBench, witnessCommand } from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns', 'command:cc');

/** `supervisor`, `init` or `command` in front: only there. */
const harmless: Record<string, string> = {
  close: 'the descriptor stays until the exec closes it',
  close_range: 'the descriptors are walked instead',
  fcntl: 'O_CLOEXEC, which was asked for when the descriptor was made, is asked for again by the C library',
  fsopen: 'mount(2) instead; EPERM is also what filters answer to unknown calls',
  openat2: 'the path is walked by hand instead; EPERM as above',
  mount_setattr: 'the question whether it exists; mount(2) instead',
  rt_sigprocmask: "around the C library's sigaction(3)",
  'command keyctl': 'without keyctl(2) there is no keyring to be reached',
  umask: 'cannot fail',
  'supervisor set_tid_address': "the C library's start",
  'supervisor ioprio_get': 'a kernel without I/O classes',
  'supervisor ppoll': 'every source is asked anyhow',
  'supervisor read': 'of signals, which are asked for again',
  'supervisor recvfrom': 'of messages, which are asked for again',
  'supervisor sendto': 'a status line; nothing of the sandbox depends on it',
  'supervisor write': 'the same, where the status goes into no socket',
  'init read': 'of a signal, which is asked for again',
  'init recvfrom': 'a look at an order before the command starts; it stays, and is read once the command runs',
};

/** Before there is a place to tell it: the start of the C library, and the launcher's own command line, which is answered with its usage. */
const silent: ReadonlySet<string> = new Set(['supervisor arch_prctl', 'supervisor fcntl']);

const processes = ['supervisor', 'init', 'command'] as const;
const names = new Map(
  [...syscallTable(process.arch === 'arm64' ? 'aarch64' : 'x86_64')].map(([name, number]) => [number, name] as const),
);

interface Row {
  readonly call: number;
  readonly reached: boolean;
  readonly number: number;
  readonly code: number;
  readonly signal: number;
  readonly hung: boolean;
  readonly outlived: boolean;
  readonly status: string;
  readonly stdout: string;
}

let bench: Bench;
beforeAll(() => {
  bench = makeBench('witness', 'inject_fault');
});
afterAll(() => bench.remove());

/** One of each kind is enough: every run counts. */
function fewSteps(uid: number): Step[] {
  return defaultSteps(bench, uid, witnessCommand(bench, uid)).filter(
    (step) => step.step !== 'mount' || !/^\/(etc\/|opt$)/.test(step.destination),
  );
}

function inject(uid: number, process: number, errno: number): Row[] {
  const plan = join(bench.directory, `plan-${uid}`);
  writeFileSync(plan, encodePlan(fewSteps(uid)));
  const { stdout, stderr, status, error } = spawnSync(
    bench.program('inject_fault'),
    [String(errno), String(process), bench.launcher, plan],
    {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      cwd: '/',
      ...(uid === globalThis.process.getuid?.() ? {} : { uid, gid: uid }),
    },
  );
  if (error !== undefined) throw error;
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
}

/** What is wrong with a run; `undefined` when nothing is. */
function judge(process: string, row: Row): string | undefined {
  const name = names.get(row.number) ?? String(row.number);
  const last = row.status === '' ? undefined : row.status.trimEnd().split('\n').map(parseStatusLine).at(-1);
  const told = `${process}, call ${row.call}, ${name}: ${JSON.stringify({ ...row, last })}`;
  if (row.hung) return `hangs: ${told}`;
  if (row.outlived) return `leaves a process: ${told}`;
  if (row.stdout === '') return isRefusal(row, last, `${process} ${name}`) ? undefined : `no named failure: ${told}`;
  if (row.stdout !== 'witness\n' || row.code !== 0) return `the command lacks something: ${told}`;
  return name in harmless || `${process} ${name}` in harmless ? undefined : `passes unnoticed: ${told}`;
}

function isRefusal(row: Row, last: StatusLine | undefined, call: string): boolean {
  if (last === undefined) return silent.has(call) && (row.code === 125 || row.signal !== 0);
  if (last.event !== 'failed') return false;
  const known = last.step in recordTypes || (fixedSteps as readonly string[]).includes(last.step);
  return known && row.code === (last.step === 'exec' ? 126 : 125);
}

describe.each(callers())('as $name', ({ uid }) => {
  it.each(processes.map((name, number) => ({ name, number })))(
    'no call of $name can fail unnoticed',
    ({ name, number }) => {
      const rows = inject(uid, number, constants.errno.EPERM);
      const last = rows.pop();
      expect(rows.length).toBeGreaterThan(50);
      expect(last).toMatchObject({ reached: false, code: 0, stdout: 'witness\n' });
      expect(rows.map((row) => judge(name, row)).filter((wrong) => wrong !== undefined)).toEqual([]);
    },
  );
});
