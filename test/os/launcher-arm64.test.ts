// The launcher for 64-bit Arm, on that architecture's own kernel: the same promises, with that architecture's numbers of system calls in the filter.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// @ts-expect-error: plain JavaScript, shared with nobody
import { boot, fetchMachine, whyNoMachine } from '../../native/test/arm64-vm.mjs';
import { encodePlan } from '../../src/backends/launcher/encode.ts';
import { type EndedLine, parseStatusLine } from '../../src/backends/launcher/status.ts';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { defaultSteps, PROGRAMS, witnessCommand } from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

requires('command:aarch64-linux-gnu-gcc', 'command:qemu-system-aarch64', 'apt');

const MIB = 1024 * 1024;
const inProject = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const users = [
  { name: 'root', uid: 0 },
  { name: 'an ordinary user', uid: 1000 },
];
/** What is bounded how, in a tree of version 2, which this machine has all to itself: each ends as its last word says. */
const bounded = {
  'memory-enough': { files: { 'memory.max': 32 * MIB }, command: ['touch', 16 * MIB, 0] },
  'memory-short': { files: { 'memory.max': 8 * MIB, 'memory.oom.group': 1 }, command: ['touch', 16 * MIB, 0] },
  'memory-of-a-child': { files: { 'memory.max': 8 * MIB }, command: ['touch', 16 * MIB, 1] },
  'pids-enough': { files: { 'pids.max': 6 }, command: ['fork-sleep', 'here', 10, 4] },
  'pids-short': { files: { 'pids.max': 6 }, command: ['fork-sleep', 'here', 100_000, 5] },
  'time-short': { files: {}, cpuMs: 200, command: ['labour', 100, 4, 'ignored'] },
} as const;
type Bounded = keyof typeof bounded;
const boundedNames = Object.keys(bounded) as Bounded[];
/** Where root's sandboxes are bounded, and where those of a user to whom a group was delegated. */
const parents = ['/sys/fs/cgroup', '/sys/fs/cgroup/jobs'] as const;

/** What the machine's root has beside what the kernel mounts. */
const facts = {
  architecture: 'arm64' as const,
  topLevel: [
    { name: 'bin', kind: 'directory' as const, target: undefined },
    { name: 'usr', kind: 'directory' as const, target: undefined },
  ],
  etcEntries: [],
  uidRanges: [{ start: 0, size: 4294967295 }],
  gidRanges: [{ start: 0, size: 4294967295 }],
};

let directory = '';
let said = '';
let why: string | undefined;

beforeAll(async () => {
  why = whyNoMachine();
  if (why === undefined && !existsSync(inProject('prebuilds/linux-arm64/launcher')))
    why = 'prebuilds/linux-arm64/launcher is not built';
  if (why !== undefined) return;
  try {
    await fetchMachine();
  } catch (error) {
    why = `the packages of the machine cannot be fetched: ${(error as Error).message.split('\n')[0]}`;
    return;
  }
  directory = mkdtempSync(join(tmpdir(), 'sandboxlib-arm64-'));
  said = await boot({ directory, files: machineFiles(), script: machineScript() });
});
afterAll(() => {
  if (directory !== '') rmSync(directory, { recursive: true });
});

function machineFiles(): Record<string, Uint8Array> {
  const script = 'id -u; uname -m; grep Seccomp: /proc/self/status; exit 3';
  return {
    launcher: readFileSync(inProject('prebuilds/linux-arm64/launcher')),
    'programs/witness': compiled('witness'),
    'programs/guest': compiled('guest'),
    ...Object.fromEntries(
      users.flatMap(({ uid }) => [
        [`witness-${uid}.plan`, planFor(uid, witnessCommand({ directory: '/files' }, uid))],
        [`shell-${uid}.plan`, planFor(uid, ['/bin/sh', '-c', script])],
        ...boundedNames.map((what): [string, Uint8Array] => [`${what}-${uid}.plan`, boundedPlan(what, uid)]),
      ]),
    ),
  };
}

function compiled(name: string): Uint8Array {
  const program = join(directory, name);
  const { status, stderr } = spawnSync(
    'aarch64-linux-gnu-gcc',
    [
      '-std=c11',
      '-D_GNU_SOURCE',
      '-O1',
      '-static',
      '-s',
      '-pthread',
      '-o',
      program,
      inProject(`native/test/${name}.c`),
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  return readFileSync(program);
}

function boundedPlan(what: Bounded, uid: number): Uint8Array {
  const { files, command } = bounded[what];
  const steps = defaultSteps({ directory: '/files' }, uid, [`${PROGRAMS}/guest`, ...command.map(String)], {}, facts);
  const first = steps.findIndex(({ step }) => !['namespaces', 'map-ids'].includes(step));
  const group: Step = {
    step: 'cgroup',
    holds: ['memory', 'pids', 'processor-time'],
    unified: true,
    vacate: uid !== 0,
    own: 1,
    parent: uid === 0 ? parents[0] : parents[1],
    files: Object.entries(files).map(([name, value]) => ({ name, value: String(value), optional: false })),
  };
  const time = what === 'time-short' ? [{ step: 'limit-cpu', milliseconds: bounded[what].cpuMs } as const] : [];
  return encodePlan([...steps.slice(0, first), group, ...time, ...steps.slice(first)]);
}

function planFor(uid: number, command: readonly [string, ...string[]]): Uint8Array {
  const steps = defaultSteps({ directory: '/files' }, uid, command, {}, facts);
  return encodePlan(steps);
}

/** Each run between two lines of its own: what it wrote, its status lines, its exit status. */
function machineScript(): string {
  const runs = users.flatMap(({ uid }) =>
    ['witness', 'shell', ...boundedNames].map(
      (what) => `
echo "begin ${what} ${uid}"
(
  test ${uid} = 0 || echo 0 >${parents[1]}/cgroup.procs || echo 0 >${parents[1]}/sandboxlib-callers/cgroup.procs
  exec start-stop-daemon -S -c ${uid}:${uid} -x /files/launcher -- run --plan-fd 3 --status-fd 4 3</files/${what}-${uid}.plan 4>/tmp/status
)
echo "exit $?"
echo "status"
cat /tmp/status
echo "end ${what} ${uid}"`,
    ),
  );
  const accounts = users.map(
    ({ uid }) => `echo 'u${uid}:x:${uid}:${uid}::/:/bin/sh' >>/etc/passwd; echo 'u${uid}:x:${uid}:' >>/etc/group`,
  );
  const groups = `
mount -t cgroup2 none ${parents[0]}
echo '+memory +pids +cpu' >${parents[0]}/cgroup.subtree_control
mkdir ${parents[1]}
chown 1000 ${parents[1]} ${parents[1]}/cgroup.procs ${parents[1]}/cgroup.subtree_control`;
  const left = `echo "begin groups"; find ${parents[0]} -mindepth 1 -type d; echo "end groups"`;
  return ['mkdir -p /usr /etc', ...accounts, groups, ...runs, left].join('\n');
}

function runOf(what: string, uid: number): { output: string; code: number; last: unknown } {
  const pattern = new RegExp(`begin ${what} ${uid}\\n([^]*?)exit (\\d+)\\nstatus\\n([^]*?)end ${what} ${uid}\\n`);
  const [, output, code, status] = pattern.exec(said) ?? [];
  if (output === undefined || status === undefined || status === '')
    throw new Error(`no whole run of ${what} as ${uid} in:\n${said}`);
  return { output, code: Number(code), last: status.trimEnd().split('\n').map(parseStatusLine).at(-1) };
}

describe.each(users)('on 64-bit Arm as $name', ({ uid }) => {
  it('the default sandbox keeps every promise', ({ skip }) => {
    skip(why !== undefined, why);
    expect(runOf('witness', uid)).toMatchObject({
      output: 'witness\n',
      code: 0,
      last: { event: 'ended', cause: 'command', code: 0 },
    });
  });

  it('a command runs under its user and a filter, and its status comes out', ({ skip }) => {
    skip(why !== undefined, why);
    expect(runOf('shell', uid)).toMatchObject({
      output: `${uid}\naarch64\nSeccomp:\t2\n`,
      code: 3,
      last: { event: 'ended', cause: 'command', code: 3 },
    });
  });

  it.for(boundedNames)('a control group of version 2 is bounded by the kernel: %s', (what, { skip }) => {
    skip(why !== undefined, why);
    const { last, code } = runOf(what, uid);
    const limit = { memory: 'memoryBytes', pids: 'pids', time: 'cpuMs' }[
      what.split('-')[0] as 'memory' | 'pids' | 'time'
    ];
    if (what.endsWith('-enough'))
      expect({ last, code }).toMatchObject({ last: { cause: 'command', code: 0 }, code: 0 });
    else expect({ last, code }).toMatchObject({ last: { cause: 'limit', limit }, code: 124 });
    const { memoryBytes, cpuUserMs = 0, cpuSystemMs = 0 } = last as EndedLine;
    if (what === 'memory-enough') {
      expect(memoryBytes).toBeGreaterThan(16 * MIB);
      expect(memoryBytes).toBeLessThan(32 * MIB);
    }
    if (what === 'time-short') expect(cpuUserMs + cpuSystemMs).toBeGreaterThanOrEqual(200);
  });
});

it('no control group is left but the one for the callers of a group that was occupied', ({ skip }) => {
  skip(why !== undefined, why);
  const [, left = ''] = /begin groups\n([\s\S]*?)end groups\n/.exec(said) ?? [];
  expect(left.trimEnd().split('\n').sort()).toEqual([parents[1], `${parents[1]}/sandboxlib-callers`]);
});
