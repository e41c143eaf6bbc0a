// Every single system call of a run is made to fail, one in each run: all that building a sandbox takes, and what supervisor and init do until the end of
// the command. Either the failure is named, or the command had everything it was promised and ended with its own status; nothing hangs and nothing
// stays. What may fail without harm is listed here, with the reason.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, constants as fileConstants, openSync, writeFileSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stepsOfPreparation } from '../../src/backends/launcher/call.ts';
import { encodePlan } from '../../src/backends/launcher/encode.ts';
import { LaneReader } from '../../src/backends/launcher/lane.ts';
import { encodeCall } from '../../src/backends/launcher/orders.ts';
import { parseStatusLine, type StatusLine } from '../../src/backends/launcher/status.ts';
import { fixedSteps, recordTypes, type Step } from '../../src/backends/launcher/steps.ts';
import { confinedMechanisms } from '../../src/backends/native/confined.ts';
import type { Feature } from '../../src/features/feature.ts';
import { readFilters } from '../../src/seccomp/custom.ts';
import { syscallTable } from '../../src/seccomp/syscalls.ts';
import type { NormalizedOnSyscall, NormalizedSpec, SandboxSpec } from '../../src/spec/types.ts';
import { type Bench, callers, defaultSteps, makeBench, witnessCommand } from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns', 'command:cc', 'command:bash');

/** `supervisor`, `init` or `command` in front: only there. */
const harmless: Record<string, string> = {
  'supervisor splice': 'what passes through a stream is read and written then',
  'supervisor poll':
    'whether it is the other end of a splice that is full: then poll(2) returns at once until it is not',
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
  'supervisor getppid': 'cannot fail',
  'supervisor geteuid': 'cannot fail',
  'supervisor getegid': 'cannot fail',
  'supervisor ioctl': 'a terminal that is not known for one is asked by poll(2) before each write',
  'supervisor open O_NONBLOCK': 'the same for a descriptor that cannot be opened once more',
  'supervisor shutdown': 'the end of the process says the same a moment later',
  'supervisor read': 'of signals, which are asked for again',
  'supervisor recvfrom': 'of messages, which are asked for again',
  'supervisor sendto': 'a status line; nothing of the sandbox depends on it',
  'supervisor write': 'the same, where the status goes into no socket',
  'init fsconfig create':
    'of the table that hides formats of the host: a kernel before 6.7, or a filter around, has none',
  'init ioctl SET_FLAGS': 'of the listener of a filter: a question takes longer',
  'init kill':
    'of what is left when the command has ended: it ends with init, and only its processor time does not count',
  'init waitid': 'of the same',
  'init getppid': 'cannot fail',
  'init read': 'of a signal, which is asked for again',
  'init recvfrom': 'a look at an order before the command starts; it stays, and is read once the command runs',
};

/** What a signal interrupts is made again, which the run shows where nothing else comes between. */
const madeAgainLater: Record<string, string> = {
  'init poll': 'children are looked for in between',
  'init ioctl RECV': 'poll(2) tells of the question once more',
  'init ioctl SEND': 'at once, but with something else in the registers that it does not use',
};

/** Before there is a place to tell it: the start of the C library, and the launcher's own command line, which is answered with its usage. */
const silent: ReadonlySet<string> = new Set(['supervisor arch_prctl', 'supervisor fcntl']);

/** In which sandbox alone what may fail without harm. */
const harmlessIn: Partial<Record<SandboxName, Record<string, string>>> = {
  'that waits': {
    'supervisor openat': 'of the mounts that nobody is to wait for: then somebody does',
  },
  'with a view': {
    'init fchown': 'an owner that has no number in the namespace: the top of the view stays that of the caller',
  },
  'without namespaces': {
    'command prctl securebits': 'EPERM, of a command that is who it is to be, is how an ordinary user answers',
  },
};

/** What cannot fail, and so is believed, whatever it says: here that init is gone, and nobody is left to be told. */
const believed: ReadonlySet<string> = new Set(['command getppid']);

const EINTR = constants.errno.EINTR;
const errors = { EPERM: constants.errno.EPERM, ENOMEM: constants.errno.ENOMEM, EINTR } as const;

const processes = { supervisor: 0, init: 1, command: 2 } as const;
type ProcessName = keyof typeof processes;

const numbers = syscallTable(process.arch === 'arm64' ? 'aarch64' : 'x86_64');
const names = new Map([...numbers].map(([name, number]) => [number, name] as const));

/** Its own number, so that none which came about by itself passes for it. */
const STATUS = 7;

/** As a plan may ask for it: what the supervisor does differs. */
const sandboxes = {
  plain: { way: 'plan', overrides: {} },
  'with bounds': { way: 'channel', overrides: { limits: { coreBytes: 0, wallMs: 600_000, outputBytes: 65_536 } } },
  'on a terminal': { way: 'channel', overrides: { terminal: { columns: 80, rows: 24 } } },
  // Of one call, which every command makes.
  'that asks': { way: 'channel', overrides: { onSyscall: askingFilter() } },
  // Made before it is known what for.
  'that waits': { way: 'channel', overrides: {} },
  'with a view': { way: 'plan', overrides: {} },
  'without namespaces': { way: 'plan', overrides: {} },
} as const satisfies Record<string, { way: 'plan' | 'channel'; overrides: Partial<NormalizedSpec> }>;
type SandboxName = keyof typeof sandboxes;

function askingFilter(): NormalizedOnSyscall {
  const spec: SandboxSpec = { onSyscall: [{ names: ['exit_group'], action: 'log' }] };
  const { onSyscall } = readFilters(spec, { architecture: process.arch === 'arm64' ? 'arm64' : 'x64' });
  if (onSyscall === undefined) throw new Error('no filter');
  return onSyscall;
}

interface Round {
  readonly name: ProcessName;
  readonly sandbox: SandboxName;
  /** Counts from its first call of this name on: what comes before is the same as in a plain sandbox. */
  readonly from?: string;
}

const rounds: readonly Round[] = [
  { name: 'supervisor', sandbox: 'plain' },
  { name: 'supervisor', sandbox: 'with bounds', from: 'sched_getscheduler' },
  { name: 'supervisor', sandbox: 'on a terminal', from: 'sched_getscheduler' },
  { name: 'init', sandbox: 'plain' },
  { name: 'init', sandbox: 'on a terminal', from: 'pivot_root' },
  { name: 'init', sandbox: 'that asks', from: 'pivot_root' },
  // Nobody else changes an owner.
  { name: 'init', sandbox: 'with a view', from: 'fchown' },
  { name: 'command', sandbox: 'plain' },
  { name: 'supervisor', sandbox: 'without namespaces', from: 'sched_getscheduler' },
  { name: 'init', sandbox: 'without namespaces' },
  { name: 'command', sandbox: 'without namespaces' },
  { name: 'command', sandbox: 'on a terminal' },
  { name: 'supervisor', sandbox: 'that waits', from: 'sched_getscheduler' },
  { name: 'init', sandbox: 'that waits', from: 'pivot_root' },
  { name: 'command', sandbox: 'that waits' },
];

interface Row {
  readonly call: number;
  readonly reached: boolean;
  readonly number: number;
  /** Its first three. */
  readonly arguments: readonly number[];
  /** The command had been executed by then. */
  readonly after: boolean;
  /** The very same call came next. */
  readonly again: boolean;
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

/** Others of the same kind are there, and the witness does not ask for these. */
const spared =
  /^\/(opt|etc\/.*|s?bin|lib(32|x32)|dev\/(full|random|tty|urandom|std.*)|proc\/(kpage|pagetype|slab|vm).*)$/;

/** What the witness asks for, as far as it is promised without namespaces; and init is out of reach. */
const confinedWitness = `
  s=/proc/self/status
  for line in NoNewPrivs:.1 Seccomp:.2 Cap{Inh,Prm,Eff,Amb}:.0000000000000000; do grep -q "^$line$" $s || exit 1; done
  [ "$(pwd) $(umask) $(ulimit -c) $PATH" = "/ 0022 0 /usr/bin:/bin" ] && ! kill -0 $PPID 2>/dev/null && echo witness
  exit ${STATUS}`;
const confined = new Set(Object.keys(confinedMechanisms) as Feature[]);

/** One of each kind is enough: every run counts. */
function fewSteps(uid: number, sandbox: SandboxName): Step[] {
  if (sandbox === 'without namespaces')
    return defaultSteps(bench, uid, ['/bin/bash', '-c', confinedWitness], {}, {}, confined);
  const command: [string, ...string[]] = [...witnessCommand(bench, uid), String(STATUS)];
  const few = defaultSteps(bench, uid, command, sandboxes[sandbox].overrides).filter((step) => {
    if (step.step === 'mount') return !spared.test(step.destination);
    return (step.step !== 'symlink' && step.step !== 'mask') || !spared.test(step.path);
  });
  return sandbox === 'with a view' ? few.flatMap((step) => (step.step === 'pivot' ? [...view, step] : [step])) : few;
}

/** Of two layers, and read-only in the end for the witness, which finds every place that it may write to. */
const view: readonly Step[] = [
  { step: 'layer', path: '/usr' },
  {
    step: 'mount',
    kind: 'overlay',
    flags: ['nosuid', 'nodev', 'create', 'sourceWithoutLinks'],
    sourceKind: 'directory',
    source: '/etc',
    destination: '/tmp/view',
    options: 'size=1m,mode=0755',
  },
  { step: 'readonly', path: '/tmp/view' },
];

/** With the order behind it that the sandbox waits for. */
function waitingPlan(steps: readonly Step[]): Buffer {
  const exec = steps.at(-1);
  if (exec?.step !== 'exec') throw new Error('a plan without exec');
  const split = steps.findIndex(({ step }) => step === 'hostname');
  const waiting = [
    ...steps.slice(0, split),
    ...stepsOfPreparation({ steps, env: {} }),
    ...steps.slice(split, -1),
    { ...exec, argv: [] },
  ];
  const call = encodeCall({ command: exec.argv as [string], killSignal: 'SIGTERM', gracePeriodMs: 2000 });
  return Buffer.concat([encodePlan(waiting), call ?? Buffer.alloc(0)]);
}

/** What stands between the lines there is output. */
function separate(row: Row): { readonly lines: StatusLine[]; readonly said: string } {
  const lines: StatusLine[] = [];
  let said = row.stdout;
  const reader = new LaneReader(
    (line) => lines.push(line),
    (_, bytes) => {
      said += bytes.toString();
    },
  );
  reader.read(Buffer.from(row.status, 'latin1'));
  return { lines, said: said.replaceAll('\r\n', '\n') };
}

/** Several at once, for they wait more than they work. */
const SHARES = 2 * availableParallelism();

/** Every call, but for a second user only every third of what the first user's runs have shown with the same error. */
function strideFor(uid: number, errno: number): number {
  return uid === process.getuid?.() || errno === errors.EPERM ? 1 : 3;
}

async function inject(uid: number, errno: number, { name, sandbox, from }: Round): Promise<Row[]> {
  const plan = join(bench.directory, `plan-${uid}-${sandbox}`);
  const steps = fewSteps(uid, sandbox);
  writeFileSync(plan, sandbox === 'that waits' ? waitingPlan(steps) : encodePlan(steps));
  const process = from === undefined ? String(processes[name]) : `${processes[name]}@${numbers.get(from)}`;
  const stride = strideFor(uid, errno);
  const shares = Array.from({ length: SHARES }, (_, share) => {
    const calls = [String(1 + share * stride), String(SHARES * stride)];
    return injectShare(uid, [String(errno), process, ...calls, sandboxes[sandbox].way, bench.launcher, plan]);
  });
  return (await Promise.all(shares)).flat().sort((a, b) => a.call - b.call);
}

async function injectShare(uid: number, args: readonly string[]): Promise<Row[]> {
  const child = spawn(bench.program('inject_fault'), args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
    ...(uid === process.getuid?.() ? {} : { uid, gid: uid }),
  });
  const ended = new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject));
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
}

function nameOf({ number, arguments: [, second = 0, third = 0] }: Row): string {
  const name = names.get(number) ?? String(number);
  // The same call is made for what nothing may go without.
  const flags = name === 'open' ? second : name === 'openat' ? third : 0;
  return (flags & fileConstants.O_NONBLOCK) === 0 ? name : `${name} O_NONBLOCK`;
}

const FSCONFIG_CMD_CREATE = 6;
const PR_SET_SECUREBITS = 28;
/** Of the listener of a filter. */
const NOTIF_RECV = 0xc0502100;
const NOTIF_SEND = 0xc0182101;
const NOTIF_SET_FLAGS = 0x40082104;

/** With the request, where one of them may fail and others may not. */
function wholeNameOf(row: Row): string {
  const name = nameOf(row);
  const request = row.arguments[1];
  // Only that of the empty table of formats: without any other the command would lack a file system.
  if (name === 'fsconfig' && request === FSCONFIG_CMD_CREATE) return 'fsconfig create';
  if (name === 'ioctl' && request === NOTIF_RECV) return 'ioctl RECV';
  if (name === 'ioctl' && request === NOTIF_SEND) return 'ioctl SEND';
  return name === 'ioctl' && request === NOTIF_SET_FLAGS ? 'ioctl SET_FLAGS' : name;
}

/** What is wrong with a run; `undefined` when nothing is. */
function judge({ name: process, sandbox }: Round, errno: number, row: Row): string | undefined {
  if (sandbox === 'without namespaces' && believed.has(`${process} ${nameOf(row)}`)) return undefined;
  const name = wholeNameOf(row);
  const { lines, said } = separate(row);
  const last = lines.at(-1);
  const told = `${process}, call ${row.call}, ${name}: ${JSON.stringify({ ...row, last })}`;
  if (row.hung) return `hangs: ${told}`;
  if (row.outlived) return `leaves a process: ${told}`;
  if (last?.event !== 'ended')
    return isRefusal(process, name, row, last, said) ? undefined : `no named failure: ${told}`;
  if (said !== 'witness\n') return `the command lacks something: ${told}`;
  if (last.cause !== 'command' || last.code !== STATUS || row.code !== STATUS || last.stdoutTruncated)
    return `another end than the command's: ${told}`;
  if (errno === EINTR && (row.again || `${process} ${name}` in madeAgainLater)) return undefined;
  const only =
    name === 'prctl' && row.arguments[0] === PR_SET_SECUREBITS && errno === errors.EPERM ? ' securebits' : '';
  if (`${process} ${name}${only}` in (harmlessIn[sandbox] ?? {})) return undefined;
  return name in harmless || `${process} ${name}` in harmless ? undefined : `passes unnoticed: ${told}`;
}

/** A failure that is told, by the name of its step; and the command was not started with less than it was promised. */
function isRefusal(process: ProcessName, name: string, row: Row, last: StatusLine | undefined, said: string): boolean {
  // Supervisor and init go on while the command starts: what stops them may come too late for that, and the tracer may learn of the command's exec only
  // after a call of init that followed it. The witness says its word only where it found all that it was promised.
  const mayHaveStarted = row.after || process !== 'command';
  if (said !== '' && !(mayHaveStarted && said === 'witness\n')) return false;
  if (last?.event !== 'failed') return isSilent(process, name, row);
  const known = last.step in recordTypes || (fixedSteps as readonly string[]).includes(last.step);
  return known && last.step !== 'lost' && row.code === (last.step === 'exec' ? 126 : 125);
}

/** The library says by itself that the launcher ended without a word. */
function isSilent(process: ProcessName, name: string, row: Row): boolean {
  const lastWord = process === 'supervisor' && row.after && (name === 'sendto' || name === 'write');
  return lastWord ? row.code === STATUS : silent.has(`${process} ${name}`) && (row.code === 125 || row.signal !== 0);
}

describe.each(callers())('as $name', ({ uid }) => {
  describe.each(Object.entries(errors))('with %s', (_name, errno) => {
    it.each(rounds)('no call of $name $sandbox can fail unnoticed', async (round) => {
      const rows = await inject(uid, errno, round);
      const ended = rows.filter(({ reached }) => !reached);
      expect(ended).toHaveLength(SHARES);
      for (const row of ended)
        expect({ code: row.code, said: separate(row).said }).toEqual({ code: STATUS, said: 'witness\n' });
      const failed = rows.filter(({ reached }) => reached);
      expect(failed.length).toBeGreaterThan((round.from === undefined ? 30 : 20) / strideFor(uid, errno));
      expect(failed.some(({ after }) => after)).toBe(round.name !== 'command');
      expect(failed.map((row) => judge(round, errno, row)).filter((wrong) => wrong !== undefined)).toEqual([]);
    });
  });
});

it('output that cannot be passed on is a failure of that name, whatever the command says', () => {
  const file = join(bench.directory, 'plan-full');
  const bounds = { limits: { coreBytes: 0, outputBytes: 1024 } };
  writeFileSync(file, encodePlan(defaultSteps(bench, process.getuid?.() ?? 0, ['/bin/echo', 'word'], bounds)));
  const plan = openSync(file, 'r');
  const full = openSync('/dev/full', 'w');
  const { status, output } = spawnSync(bench.launcher, ['run', '--plan-fd', '3', '--status-fd', '4'], {
    stdio: ['ignore', full, 'inherit', plan, 'pipe'],
    encoding: 'utf8',
    cwd: '/',
  });
  closeSync(plan);
  closeSync(full);
  const lines = (output[4] ?? '').trimEnd().split('\n').map(parseStatusLine);
  expect(lines.at(-1)).toEqual({ event: 'failed', step: 'relay', syscall: 'write', errno: 'ENOSPC' });
  expect(status).toBe(125);
});
