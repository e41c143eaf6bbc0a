// The detector that looks around every test file: each kind of thing that it is to find is left behind here on purpose, found, and taken away.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { until } from '../helpers/cli.ts';
import {
  cgroups,
  type Inventory,
  leftoversSince,
  mounts,
  takeInventory,
  waitForNothingLeft,
} from '../helpers/leftovers.ts';
import { requires } from '../helpers/requires.ts';
import { PYTHON } from '../security/python.ts';

requires('linux');

const name = (): string => `sandboxlib-leftover-${randomUUID()}`;

/** Found while it is there, and not after. An orphan of another test file may be found beside it, but none of those lasts. */
async function expectFound(before: Inventory, words: RegExp, remove: () => unknown): Promise<void> {
  try {
    await expect.poll(() => leftoversSince(before), { timeout: 10_000 }).toEqual([expect.stringMatching(words)]);
  } finally {
    await remove();
  }
  expect(await waitForNothingLeft(before)).toEqual([]);
}

/** Starts `script` so that nobody is its parent any more but pid 1, or whoever stands in for it; returns its pid. */
async function orphan(environment: readonly string[], ...command: readonly string[]): Promise<number> {
  const wrapped = ['-c', '"$@" </dev/null >/dev/null 2>&1 & echo $!', 'sh', 'env', ...environment, ...command];
  const pid = Number(execFileSync('/bin/sh', wrapped, { encoding: 'utf8' }));
  expect(pid).toBeGreaterThan(1);
  return pid;
}

async function killChild(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

it('a child is found', async () => {
  const before = takeInventory();
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  await expectFound(before, new RegExp(`^process ${child.pid} \\(.*\\), state ., parent ${process.pid}$`), () =>
    killChild(child),
  );
});

it('an orphan that carries the mark is found', async () => {
  const before = takeInventory();
  const pid = await orphan([], 'sleep', '1000');
  await expectFound(before, new RegExp(`^process ${pid} `), () => process.kill(pid, 'SIGKILL'));
});

it("an orphan that carries another file's mark is not ours", async () => {
  const before = takeInventory();
  const pid = await orphan([`SANDBOXLIB_TEST_MARK=${randomUUID()}`], 'sleep', '1000');
  // Until the exec it carries ours.
  await until(
    () => leftoversSince(before).length === 0,
    () => leftoversSince(before).join(),
  );
  expect(existsSync(`/proc/${pid}`)).toBe(true);
  process.kill(pid, 'SIGKILL');
});

it.each(['--mount', '--net', '--ipc', '--uts'])(
  'an orphan with a clean environment in a namespace of unshare %s is found',
  async (flag) => {
    requires('userns');
    const before = takeInventory();
    const pid = await orphan(['-i', '/usr/bin/unshare', '--user', flag], '/bin/sleep', '1000');
    await until(
      () => leftoversSince(before).some((line) => line.startsWith(`process ${pid} (sleep)`)),
      () => leftoversSince(before).join(),
    );
    await expectFound(before, new RegExp(`^process ${pid} `), () => process.kill(pid, 'SIGKILL'));
  },
);

it('a mount, and a namespace that a mount keeps, are found', async () => {
  requires('root', 'command:unshare', 'command:nsenter');
  // The table of mounts is the machine's own, so this is done in another: that of a child.
  const place = mkdtempSync(join(tmpdir(), 'mounts-'));
  const script = 'mount --make-rprivate / && echo ready && exec sleep 1000';
  const child = spawn('unshare', ['--mount', 'sh', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'data');
    const pid = child.pid ?? 0;
    const before = mounts(pid);
    writeFileSync(join(place, 'net'), '');
    mkdirSync(join(place, 'fs'));
    const inside = (...command: string[]) => execFileSync('nsenter', [`--mount=/proc/${pid}/ns/mnt`, ...command]);
    inside('mount', '-t', 'tmpfs', 'none', join(place, 'fs'));
    inside('unshare', `--net=${join(place, 'net')}`, 'true');
    const found = mounts(pid).filter((line) => !before.includes(line));
    expect(found).toEqual([
      expect.stringContaining(`${join(place, 'fs')} rw`),
      expect.stringMatching(/net:\[\d+\] .*\/net rw.* - nsfs /),
    ]);
  } finally {
    // With the last process of a mount namespace its mounts are gone.
    await killChild(child);
    child.stdout.destroy();
    rmSync(place, { recursive: true });
  }
});

it('a cgroup of our name is found below others', () => {
  const root = mkdtempSync(join(tmpdir(), 'cgroups-'));
  const made = join(root, 'user.slice', name());
  mkdirSync(join(root, 'user.slice', 'session.scope'), { recursive: true });
  expect(cgroups(root)).toEqual([]);
  mkdirSync(made);
  mkdirSync(join(root, `sandboxlib-of-${process.ppid}`));
  mkdirSync(join(root, `sandboxlib-of-${process.pid}`));
  expect(cgroups(root).sort()).toEqual([join(root, `sandboxlib-of-${process.pid}`), made]);
  rmSync(root, { recursive: true });
});

it('an open file is found', async () => {
  const before = takeInventory();
  const file = openSync('/etc/passwd', 'r');
  await expectFound(before, /^descriptor \d+ -> \/etc\/passwd$/, () => closeSync(file));
});

function closed(server: Server): Promise<unknown> {
  return new Promise((resolve) => server.close(resolve));
}

it('a listening socket is found, and said to be one', async () => {
  const before = takeInventory();
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  await expectFound(before, /^descriptor \d+ -> socket:\[\d+\], listening on tcp [0-9A-F]+:[0-9A-F]+$/, () =>
    closed(server),
  );
});

it('a unix socket is found by its path, whoever holds it', async () => {
  const before = takeInventory();
  const path = join(tmpdir(), 'listening');
  const server = createServer().listen(path);
  await once(server, 'listening');
  try {
    const left = leftoversSince(before);
    expect(left).toContainEqual(expect.stringMatching(new RegExp(`^descriptor .* listening on unix ${path}$`)));
    expect(left).toContainEqual(expect.stringMatching(new RegExp(`^unix socket ${path} \\[\\d+\\]$`)));
  } finally {
    await closed(server);
  }
  expect(await waitForNothingLeft(before)).toEqual([]);
});

it.each(['/dev/shm', '/var/tmp', '/tmp'])('a file of our name in %s is found', async (directory) => {
  requires(`file:${directory}`);
  const before = takeInventory();
  const file = join(directory, name());
  writeFileSync(file, '');
  await expectFound(before, new RegExp(`^file ${file}$`), () => rmSync(file));
});

it.each([
  ['shm', ['--shmem', '4096'], '--shmem-id'],
  ['sem', ['--semaphore', '1'], '--semaphore-id'],
  ['msg', ['--queue'], '--queue-id'],
])('a SysV object is found: %s', async (kind, make, remove) => {
  requires('command:ipcmk', 'command:ipcrm');
  const before = takeInventory();
  const id = /\d+$/.exec(execFileSync('ipcmk', make, { encoding: 'utf8' }).trim())?.[0] ?? '';
  await expectFound(before, new RegExp(`^SysV ${kind} ${id}, key `), () => execFileSync('ipcrm', [remove, id]));
});

it('a keyring of our name is found', async () => {
  requires(`file:${PYTHON}`);
  const before = takeInventory();
  // Below the user's own keyring (-4), which lasts.
  const add = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
key = libc.syscall(217 if os.uname().machine == 'aarch64' else 248, b'keyring', sys.argv[1].encode(), None, 0, -4)
print(key)
`;
  const unlink = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
sys.exit(libc.syscall(219 if os.uname().machine == 'aarch64' else 250, 9, int(sys.argv[1]), -4) < 0)
`;
  const keyring = name();
  const key = execFileSync(PYTHON, ['-c', add, keyring], { encoding: 'utf8' }).trim();
  expect(Number(key)).toBeGreaterThan(0);
  await expectFound(before, new RegExp(`^keyring [0-9a-f]+ ${keyring}:?$`), () =>
    execFileSync(PYTHON, ['-c', unlink, key]),
  );
});
