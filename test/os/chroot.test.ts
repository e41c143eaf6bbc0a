// A root that is only entered: what it may not hold, and that the host stays out of it although no namespace keeps it out.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recognized } from '../../src/backends/chroot/recognized.ts';
import { features } from '../../src/features/feature.ts';
import { run, spawn as spawnIn } from '../../src/index.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { guestPath } from '../helpers/guest.ts';
import { processesWith } from '../helpers/processes.ts';
import { requires } from '../helpers/requires.ts';
import { inNode } from '../security/in-node.ts';

requires('root');

const options = { backend: 'chroot', optional: features.filter((feature) => !recognized.has(feature)) } as const;
let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'chroot-'));
  copyFileSync(guestPath(), join(root, 'guest'));
  for (const name of ['proc', 'tmp', 'root', 'dev']) mkdirSync(join(root, name));
});
afterAll(() => rmSync(root, { recursive: true }));

const spec = (more: SandboxSpec = {}): SandboxSpec => ({ root: { path: root, readonly: false }, ...more });

/** Code for a caller of its own, with `run` and the rest imported. */
const call = (args: readonly string[]): string =>
  `run(${JSON.stringify(['/guest', ...args])}, ${JSON.stringify(spec())}, ${JSON.stringify(options)})`;

test('a proc of the host in the root is refused by its path', () => {
  // In a mount namespace of its own, so that nothing is mounted for anybody else.
  const prefix = ['unshare', '--mount', 'sh', '-c', 'mount -t proc proc "$0" && exec "$@"', join(root, 'proc')];
  const { stdout, stderr } = inNode(`await ${call(['exit', '0'])}.catch((error) => console.log(error.message));`, {
    prefix,
  });
  expect(stderr).toBe('');
  expect(stdout).toContain(`cannot make a root of ${root}/proc: EXDEV`);
  expect(stdout).toContain('another file system is mounted there');
});

test('deep trees are looked at whole, and those that are too deep are refused', async () => {
  const deep = join(root, 'deep');
  const path = (levels: number): string => join(deep, ...Array.from({ length: levels }, () => 'd'));
  mkdirSync(path(500), { recursive: true });
  expect((await run(['/guest', 'exit', '3'], spec(), options)).exitCode).toBe(3);
  mkdirSync(path(600), { recursive: true });
  await expect(run(['/guest', 'exit', '3'], spec(), options)).rejects.toMatchObject({
    step: 'root',
    errno: 'ENAMETOOLONG',
  });
  rmSync(deep, { recursive: true });
});

test('directories of many entries are looked at whole', async () => {
  const wide = join(root, 'wide');
  for (let index = 0; index < 1500; index++) mkdirSync(join(wide, `directory-${index}`), { recursive: true });
  expect((await run(['/guest', 'exit', '3'], spec(), options)).exitCode).toBe(3);
  spawnDevice(join(wide, 'directory-1499', 'disk'));
  await expect(run(['/guest', 'exit', '3'], spec(), options)).rejects.toMatchObject({
    step: 'root',
    errno: 'EPERM',
    path: join(wide, 'directory-1499', 'disk'),
  });
  rmSync(wide, { recursive: true });
});

function spawnDevice(path: string): void {
  // Block device 7:0 is the first loop device, which nothing is behind.
  const { status } = inNode(
    `import { spawnSync } from 'node:child_process'; process.exit(spawnSync('mknod', ['${path}', 'b', '7', '0']).status);`,
  );
  expect(status).toBe(0);
}

test('the devices that every distribution has in its root are no matter', async () => {
  const script = `import { spawnSync } from 'node:child_process';
    for (const [name, minor] of [['null', 3], ['zero', 5], ['full', 7], ['random', 8], ['urandom', 9]])
      spawnSync('mknod', ['-m', '0666', '${root}/dev/' + name, 'c', '1', String(minor)]);
    spawnSync('mknod', ['-m', '0666', '${root}/dev/tty', 'c', '5', '0']);`;
  expect(inNode(script).status).toBe(0);
  const { stdout } = await run(['/guest', 'write', '/dev/null', 'x'], spec(), options);
  expect(stdout).toBe('written\n');
  rmSync(join(root, 'dev'), { recursive: true });
  mkdirSync(join(root, 'dev'));
});

test('a root that became a symlink is refused', async () => {
  const link = `${root}-link`;
  mkdirSync(link);
  copyFileSync(guestPath(), join(link, 'guest'));
  const { createSandbox } = await import('../../src/index.ts');
  await using sandbox = await createSandbox({ root: { path: link, readonly: false } }, options);
  expect((await sandbox.run(['/guest', 'exit', '0'])).exitCode).toBe(0);
  rmSync(link, { recursive: true });
  symlinkSync('/', link);
  await expect(sandbox.run(['/guest', 'exit', '0'])).rejects.toMatchObject({ step: 'root', errno: 'ELOOP' });
  rmSync(link);
});

test('the host view, which nothing here could make, is refused by name', async () => {
  const asked = run(['true'], {}, { backend: 'chroot', optional: 'all' });
  await expect(asked).rejects.toMatchObject({ code: 'SBX_FEATURE_UNAVAILABLE', missing: [{ feature: 'root.host' }] });
  await expect(asked).rejects.toThrow("give a directory: root: './rootfs'");
});

test('whatever ends the command, what it started ends too, and nobody else', async () => {
  const bystander = spawn(guestPath(), ['sleep', '600000', `bystander-of-${root}`], { stdio: 'ignore' });
  await once(bystander, 'spawn');
  try {
    for (const end of ['terminate', 'kill', 'exit'] as const) {
      const marker = `${end}-of-${root}`;
      const args = end === 'exit' ? ['daemon', marker, '600000'] : ['fork-sleep', marker, '600000', '3'];
      const running = spawnIn(['/guest', ...args], spec(), options);
      const [line] = await running
        .lines()
        [Symbol.asyncIterator]()
        .next()
        .then(({ value }) => [value]);
      expect(line).toBe(end === 'exit' ? 'daemon started' : 'ready');
      if (end !== 'exit') running[end]();
      await running;
      expect(processesWith(marker)).toEqual([]);
    }
    expect(processesWith(`bystander-of-${root}`)).toHaveLength(1);
  } finally {
    bystander.kill('SIGKILL');
  }
});

test('a signal to everybody, from the command or for it, reaches nobody of the host', () => {
  // In a pid namespace of its own: were it to go wrong, it would be all of this machine.
  const prefix = ['unshare', '--pid', '--fork', '--mount', '--mount-proc'];
  const script = `
    import { spawn as start } from 'node:child_process';
    const bystander = start(${JSON.stringify(guestPath())}, ['sleep', '600000'], { stdio: 'ignore' });
    const said = await ${call(['kill', '-1', '0'])};
    const running = spawn(['/guest', 'stubborn'], ${JSON.stringify(spec())}, { ...${JSON.stringify(options)}, gracePeriodMs: 200 });
    await running.lines()[Symbol.asyncIterator]().next();
    running.terminate();
    const { outcome } = await running;
    console.log(said.stdout.trim(), outcome.kind, bystander.exitCode, bystander.signalCode);
    bystander.kill('SIGKILL');`;
  const { stdout, stderr } = inNode(script, { prefix });
  expect({ stdout, stderr }).toEqual({ stdout: 'errno EPERM cancelled null null\n', stderr: '' });
});

test('no limit of another process can be set', async () => {
  const bystander = spawn(guestPath(), ['sleep', '600000'], { stdio: 'ignore' });
  await once(bystander, 'spawn');
  try {
    const { stdout, stderr } = await run(['/guest', 'bound', String(bystander.pid)], spec(), options);
    expect(`${stdout}${stderr}`).toContain('EPERM');
    expect([bystander.exitCode, bystander.signalCode]).toEqual([null, null]);
  } finally {
    bystander.kill('SIGKILL');
  }
});

test('the command ends when its init or the launcher is killed', async () => {
  for (const victim of ['init', 'launcher'] as const) {
    const marker = `${victim}-of-${root}`;
    const running = spawnIn(['/guest', 'stubborn', marker], spec(), options);
    await running.lines()[Symbol.asyncIterator]().next();
    const [command = ''] = processesWith(marker);
    const init = parentOf(Number(command));
    process.kill(victim === 'init' ? init : parentOf(init), 'SIGKILL');
    await expect(running.result).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED', step: 'lost' });
    await expect.poll(() => processesWith(marker)).toEqual([]);
  }
});

function parentOf(pid: number): number {
  const [, parent] = /^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(parent);
}
