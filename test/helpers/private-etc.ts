// The library as an ordinary user with an account, and with ranges of ids if it is given any, on a machine whose own /etc stays as it is: in a mount
// namespace of their own, root puts an overlay over /etc, writes the account there, and becomes that user. newuidmap(1) reads the same files.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RunOptions, RunResult, SandboxSpec } from '../../src/index.ts';

export const account = { name: 'sandboxlib-tester', uid: 23456, gid: 23457 } as const;

/** What a test of ranges needs, beside what it shows in them. */
export const rangesNeed = [
  'linux',
  'root',
  'userns',
  'command:newuidmap',
  'command:setpriv',
  'command:unshare',
] as const;
/** Of the account, as text of a file. */
export const ranges: string = `${account.name}:700000:1000\\n`;

const setUp = `set -e
private=$1
mount -t tmpfs none "$private"
mkdir "$private/upper" "$private/work"
mount -t overlay none -o "lowerdir=/etc,upperdir=$private/upper,workdir=$private/work" /etc
echo '${account.name}:x:${account.uid}:${account.gid}::/nonexistent:/bin/sh' >> /etc/passwd
echo '${account.name}:x:${account.gid}:' >> /etc/group
printf "$2" > /etc/subuid
printf "$3" > /etc/subgid
eval "$4"
shift 4
exec setpriv --reuid ${account.uid} --regid ${account.gid} --clear-groups -- "$@"
`;

const index = new URL('../../dist/index.js', import.meta.url);
const runEach = `
const { run } = await import(${JSON.stringify(index.href)});
const answers = [];
for (const [command, spec, options] of JSON.parse(process.argv[1])) {
  try {
    answers.push({ result: await run(command, spec, options) });
  } catch (error) {
    answers.push({ error: { ...error, message: error.message, cause: error.cause && { ...error.cause } } });
  }
}
console.log(JSON.stringify(answers));
`;

export interface PrivateEtc {
  /** Text of the files; one line for each range. */
  readonly subuid?: string;
  readonly subgid?: string;
  /** More of the set-up, in the words of a shell. What it mounts is seen by nobody else. */
  readonly also?: string;
}

export type Call = readonly [command: readonly string[], spec?: SandboxSpec, options?: RunOptions];
export interface Answer {
  readonly result?: RunResult;
  readonly error?: Readonly<Record<string, unknown>>;
}

/** Preconditions: root; dist/ is built. */
export function runWithPrivateEtc(etc: PrivateEtc, calls: readonly Call[]): Answer[] {
  return JSON.parse(scriptWithPrivateEtc(etc, runEach, JSON.stringify(calls))) as Answer[];
}

/** What a module of Node prints; its arguments are from `process.argv[1]` on. */
export function scriptWithPrivateEtc(
  { subuid = '', subgid = subuid, also = '' }: PrivateEtc,
  script: string,
  ...args: readonly string[]
): string {
  const directory = mkdtempSync(join(tmpdir(), 'private-etc-'));
  const mountPoint = join(directory, 'private');
  mkdirSync(mountPoint);
  try {
    const node = [process.execPath, '--input-type=module', '-e', script, ...args];
    const words = ['--mount', '--propagation', 'private', 'sh', '-c', setUp, 'sh', mountPoint, subuid, subgid, also];
    const { status, stdout, stderr } = spawnSync('unshare', [...words, ...node], {
      cwd: '/',
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`exit status ${status}: ${stderr}`);
    return stdout;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
