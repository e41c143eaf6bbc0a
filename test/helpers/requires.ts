// What a test needs of the machine. A test without it is skipped with the reason; `SANDBOXLIB_TEST_MUST=root,userns` makes that a failure, and
// `SANDBOXLIB_TEST_WITHOUT=command:bwrap` rehearses a lesser machine.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { beforeEach, TestRunner } from 'vitest';

export type Need =
  | 'linux'
  /** The test runs as root. */
  | 'root'
  /** The test does not run as root. */
  | 'ordinary-user'
  /** The calling user may make a user namespace. */
  | 'userns'
  /** newuidmap(1), and a range in /etc/subuid for the calling user. */
  | 'subordinate-ids'
  /** Debian packages can be fetched. */
  | 'apt'
  | 'npm-registry'
  | `user:${string}`
  | `command:${string}`
  | `file:${string}`;

/**
 * Skips the running test unless the machine has all of `needs`. In the body of a file or of a `describe`: every test of it.
 *
 * @throws when `SANDBOXLIB_TEST_MUST` names a need that is missing.
 */
export function requires(...needs: readonly Need[]): void {
  const test = TestRunner.getCurrentTest();
  if (test === undefined) {
    beforeEach(() => requires(...needs));
    return;
  }
  const missing = needs.map(whyMissing).filter((reason) => reason !== undefined);
  if (missing.length > 0) test.context.skip(missing.join('; '));
}

/** Why the machine lacks `need`, in words; `undefined` when it has it. */
export function whyMissing(need: Need): string | undefined {
  const reason = listed('SANDBOXLIB_TEST_WITHOUT', need) ? 'SANDBOXLIB_TEST_WITHOUT says so' : examine(need);
  if (reason === undefined) return undefined;
  if (listed('SANDBOXLIB_TEST_MUST', need)) throw new Error(`SANDBOXLIB_TEST_MUST names ${need}, but ${reason}`);
  return `needs ${need}: ${reason}`;
}

function listed(variable: string, need: Need): boolean {
  return (process.env[variable] ?? '').split(',').includes(need);
}

const findings = new Map<Need, string | undefined>();

function examine(need: Need): string | undefined {
  if (!findings.has(need)) findings.set(need, findOut(need));
  return findings.get(need);
}

function findOut(need: Need): string | undefined {
  const [kind, argument = ''] = splitOnce(need);
  switch (kind) {
    case 'linux':
      return process.platform === 'linux' ? undefined : `this is ${process.platform}`;
    case 'root':
      return process.getuid?.() === 0 ? undefined : 'the tests run as an ordinary user';
    case 'ordinary-user':
      return process.getuid?.() === 0 ? 'the tests run as root' : undefined;
    case 'userns':
      return failureOf('unshare', ['--user', '--map-root-user', 'true']);
    case 'subordinate-ids':
      return findCommand('newuidmap') === undefined ? 'newuidmap is not on PATH' : withoutSubordinateIds();
    case 'apt':
      return findCommand('apt-get') === undefined ? 'apt-get is not on PATH' : undefined;
    case 'npm-registry':
      return failureOf('npm', ['view', 'zod', 'version']);
    case 'user':
      return passwdHas(argument) ? undefined : `there is no user ${argument}`;
    case 'command':
      return findCommand(argument) === undefined ? `${argument} is not on PATH` : undefined;
    case 'file':
      return existsSync(argument) ? undefined : `${argument} does not exist`;
    default:
      throw new Error(`unknown need ${need}`);
  }
}

function splitOnce(need: Need): [string, string | undefined] {
  const at = need.indexOf(':');
  return at === -1 ? [need, undefined] : [need.slice(0, at), need.slice(at + 1)];
}

/** Absolute path of a program; the administrator's directories are searched too. */
export function findCommand(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return directories
    .filter((directory) => directory.startsWith('/'))
    .map((directory) => join(directory, name))
    .find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function failureOf(command: string, args: readonly string[]): string | undefined {
  const { status, error, stderr } = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  if (status === 0) return undefined;
  const words = error?.message ?? stderr.trim().split('\n')[0] ?? '';
  return `"${[command, ...args].join(' ')}" failed${words === '' ? '' : `: ${words}`}`;
}

function passwdHas(name: string): boolean {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .some((line) => line.startsWith(`${name}:`));
}

function withoutSubordinateIds(): string | undefined {
  const name = process.env['USER'] ?? '';
  const lines = existsSync('/etc/subuid') ? readFileSync('/etc/subuid', 'utf8').split('\n') : [];
  const prefixes = [`${name}:`, `${process.getuid?.()}:`];
  return lines.some((line) => prefixes.some((prefix) => line.startsWith(prefix)))
    ? undefined
    : `/etc/subuid has no range for ${name}`;
}
