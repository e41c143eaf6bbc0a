// SANDBOXLIB_LAUNCHER may name any program, and a package may be broken. Whatever is in the launcher's place, a run settles, the program is ended, and the
// message says what is wrong. What such a program may write is in test/security/techniques/false-launcher.ts.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { probe, run, spawn } from '../../src/index.ts';
import { until } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';
import { sendSignal } from '../helpers/serving.ts';

requires('linux', 'userns');

const ENDED =
  '{"event":"ended","cause":"command","code":0,"stdoutTruncated":false,"stderrTruncated":false,"wallMs":1,"cpuUserMs":1,"cpuSystemMs":1}';
const FAILED = '{"event":"failed","step":"root","syscall":"mount","errno":"EPERM"}';

let directory: string;
let original: string | undefined;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'false-launcher-'));
});
afterAll(() => rmSync(directory, { recursive: true }));
beforeEach(() => {
  original = process.env['SANDBOXLIB_LAUNCHER'];
});
afterEach(() => {
  if (original === undefined) delete process.env['SANDBOXLIB_LAUNCHER'];
  else process.env['SANDBOXLIB_LAUNCHER'] = original;
});

let files = 0;
function launcherOf(content: string, mode = 0o755): string {
  const file = join(directory, `launcher-${files++}`);
  writeFileSync(file, content);
  chmodSync(file, mode);
  process.env['SANDBOXLIB_LAUNCHER'] = file;
  return file;
}

const isThere = (pid: number | undefined): boolean =>
  existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');

/** What a run comes to, and that its launcher does not outlive it. Asked to probe, which a failure is explained by, it just fails. */
async function endOf(script: string): Promise<unknown> {
  launcherOf(`#!/bin/sh\n[ "$1" = run ] || exit 9\n${script}\n`);
  const handle = spawn(['true']);
  const end = await handle.then(
    ({ outcome }) => outcome,
    ({ code, message, cause }: { code: string; message: string; cause?: Error }) => ({ code, message, cause }),
  );
  expect(handle.pid).toBeGreaterThan(0);
  await until(
    () => !isThere(handle.pid),
    () => `the launcher ${handle.pid} is still there`,
  );
  return end;
}

describe('a launcher that lives on is ended', () => {
  it('after it has said that the command ended', async () => {
    expect(await endOf(`echo '${ENDED}' >&3; exec sleep 1000`)).toEqual({ kind: 'exited', code: 0 });
  });

  it('after it has said that it failed', async () => {
    expect(await endOf(`echo '${FAILED}' >&3; exec sleep 1000`)).toMatchObject({
      code: 'SBX_BACKEND_UNAVAILABLE',
      message: expect.stringMatching(/probe" ended with exit status 9;.* SANDBOXLIB_LAUNCHER names it/),
      cause: { message: 'cannot make a root of the sandbox: EPERM from mount(2), step root' },
    });
  });

  it('after it has closed the channel without a word', async () => {
    expect(await endOf('exec 3>&-; exec sleep 1000')).toMatchObject({
      code: 'SBX_BACKEND_UNAVAILABLE',
      cause: { message: expect.stringMatching(/was ended by SIGKILL without a word.*SANDBOXLIB_LAUNCHER names it/) },
    });
  });

  it('after it has said what cannot be read', async () => {
    expect(await endOf('echo garbage >&3; exec sleep 1000')).toMatchObject({ code: 'SBX_INTERNAL' });
  });
});

it('a launcher that ended is not waited for because a child of its own has the channel', async () => {
  const note = join(directory, 'child');
  const script = `sleep 1000 >/dev/null 2>&1 </dev/null & echo $! > ${note}; exit 3`;
  expect(await endOf(script)).toMatchObject({
    code: 'SBX_BACKEND_UNAVAILABLE',
    cause: { message: expect.stringContaining('ended with status 3 without a word') },
  });
  // Which that program started is none of ours to end.
  sendSignal(readFileSync(note, 'utf8').trim(), 'SIGKILL');
});

describe('what is no launcher is named with the remedy', () => {
  const messageOf = (launcher: string) => {
    process.env['SANDBOXLIB_LAUNCHER'] = launcher;
    return run(['true']).then(
      ({ outcome }) => JSON.stringify(outcome),
      ({ message }: Error) => message,
    );
  };

  it.each([
    ['an empty file', () => launcherOf(''), 'is empty', ''],
    [
      'a file without execute permission',
      () => launcherOf('#!/bin/sh\n', 0o644),
      'is not executable',
      'make it executable, or ',
    ],
    ['a directory', () => directory, 'is a directory', ''],
    ['a device', () => '/dev/null', 'is not a file', ''],
    ['nothing', () => join(directory, 'nowhere'), 'does not exist', ''],
  ])('%s', async (_what, make, wrong, remedy) => {
    const launcher = make();
    expect(await messageOf(launcher)).toBe(
      `cannot start a sandbox; native: the launcher ${launcher} ${wrong} (SANDBOXLIB_LAUNCHER names it); ${remedy}unset SANDBOXLIB_LAUNCHER`,
    );
  });

  it('a script whose interpreter is not there', async () => {
    expect(await messageOf(launcherOf('#!/no/such/interpreter\n'))).toMatch(/ENOENT|interpreter/);
  });
});

it('what was found out about one launcher does not hold for another', async () => {
  const usable = async () => (await probe()).backends.find(({ backend }) => backend === 'native')?.usable;
  mkdirSync(join(directory, 'empty'));
  process.env['SANDBOXLIB_LAUNCHER'] = join(directory, 'empty', 'nowhere');
  expect(await usable()).toMatchObject({ available: false });
  launcherOf('#!/bin/sh\necho broken >&2; exit 9\n');
  expect(await usable()).toMatchObject({ available: false, because: expect.stringContaining('exit status 9: broken') });
  delete process.env['SANDBOXLIB_LAUNCHER'];
  expect(await usable()).toMatchObject({ available: true });
});
