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
import { parseStatusLine } from '../../src/backends/launcher/status.ts';
import { defaultSteps, witnessCommand } from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

requires('command:aarch64-linux-gnu-gcc', 'command:qemu-system-aarch64', 'apt');

const inProject = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const users = [
  { name: 'root', uid: 0 },
  { name: 'an ordinary user', uid: 1000 },
];
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
  const witness = join(directory, 'witness');
  const { status, stderr } = spawnSync(
    'aarch64-linux-gnu-gcc',
    ['-std=c11', '-D_GNU_SOURCE', '-O1', '-static', '-s', '-o', witness, inProject('native/test/witness.c')],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  const script = 'id -u; uname -m; grep Seccomp: /proc/self/status; exit 3';
  return {
    launcher: readFileSync(inProject('prebuilds/linux-arm64/launcher')),
    'programs/witness': readFileSync(witness),
    ...Object.fromEntries(
      users.flatMap(({ uid }) => [
        [`witness-${uid}.plan`, planFor(uid, witnessCommand({ directory: '/files' }, uid))],
        [`shell-${uid}.plan`, planFor(uid, ['/bin/sh', '-c', script])],
      ]),
    ),
  };
}

function planFor(uid: number, command: readonly [string, ...string[]]): Uint8Array {
  const steps = defaultSteps({ directory: '/files' }, uid, command, {}, facts);
  return encodePlan(steps);
}

/** Each run between two lines of its own: what it wrote, its status lines, its exit status. */
function machineScript(): string {
  const runs = users.flatMap(({ uid }) =>
    ['witness', 'shell'].map(
      (what) => `
echo "begin ${what} ${uid}"
start-stop-daemon -S -c ${uid}:${uid} -x /files/launcher -- run --plan-fd 3 --status-fd 4 3</files/${what}-${uid}.plan 4>/tmp/status
echo "exit $?"
echo "status"
cat /tmp/status
echo "end ${what} ${uid}"`,
    ),
  );
  const accounts = users.map(
    ({ uid }) => `echo 'u${uid}:x:${uid}:${uid}::/:/bin/sh' >>/etc/passwd; echo 'u${uid}:x:${uid}:' >>/etc/group`,
  );
  return ['mkdir -p /usr /etc', ...accounts, ...runs].join('\n');
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
});
