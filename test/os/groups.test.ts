// Control groups of sandboxes: who may make them, and that none is left.
import { spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { callerFacts } from '../../src/host/facts.ts';
import { run, spawn } from '../../src/index.ts';
import { ordinaryUser, runAsUser } from '../helpers/as-user.ts';
import { buildCli, cliPath } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'root', 'userns');

const PATIENCE_MS = 10_000;
const directories = new Set(Object.values(callerFacts().cgroups.parents).map(({ directory }) => directory));

/** Groups of the launcher with this number, wherever they could be. */
function groupsOf(launcher: number | undefined): string[] {
  return [...directories].flatMap((directory) =>
    readdirSync(directory)
      .filter((name) => name.startsWith('sandboxlib-') && name.endsWith(`-${launcher}`))
      .map((name) => join(directory, name)),
  );
}

async function waitUntilGone(launcher: number | undefined): Promise<string[]> {
  const deadline = performance.now() + PATIENCE_MS;
  while (groupsOf(launcher).length > 0 && performance.now() < deadline) await delay(5);
  return groupsOf(launcher);
}

const limits = { pids: 32, memoryBytes: '256MiB', cpuMs: '600s', cpus: 1 };

describe('nothing is left', () => {
  it('as long as a sandbox runs it has its groups, and then none', async () => {
    const sandbox = spawn(['sleep', '600'], { limits });
    await sandbox.started;
    expect(groupsOf(sandbox.pid)).toHaveLength(directories.size);
    sandbox.kill();
    await sandbox;
    expect(groupsOf(sandbox.pid)).toEqual([]);
  });

  it('when the launcher is killed the one that waits for that removes them', async () => {
    const sandbox = spawn(['sleep', '600'], { limits });
    await sandbox.started;
    const { pid } = sandbox;
    process.kill(pid as number, 'SIGKILL');
    await expect(sandbox).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED', step: 'lost' });
    expect(await waitUntilGone(pid)).toEqual([]);
  });

  it('when the command cannot be executed they are gone with the error', async () => {
    const sandbox = spawn(['/no/such/program'], { limits });
    await expect(sandbox).rejects.toMatchObject({ reason: 'not-found' });
    expect(groupsOf(sandbox.pid)).toEqual([]);
  });

  it('many at once do not meet', async () => {
    const results = await Promise.all(Array.from({ length: 40 }, () => run(['true'], { limits })));
    expect(results.every(({ exitCode }) => exitCode === 0)).toBe(true);
    for (const directory of directories)
      expect(readdirSync(directory).filter((name) => name.endsWith(`-${process.pid}`))).toEqual([]);
  });

  it('the groups are roots to the command: it does not see where they lie', async () => {
    const { stdout } = await run(['cat', '/proc/self/cgroup'], { limits });
    for (const line of String(stdout).trimEnd().split('\n')) expect(line).toMatch(/:\/$/);
  });
});

describe('an ordinary user', () => {
  beforeAll(() => buildCli());
  const cli = (...args: string[]) => runAsUser(process.execPath, [cliPath, ...args]);

  it('who may make no group is told so, and what to do', ({ skip }) => {
    skip(
      runAsUser('/bin/sh', ['-c', 'test -r "$0"', cliPath]).status !== 0,
      'an ordinary user cannot reach the checkout: EACCES',
    );
    const { stderr, status } = cli('--pids', '8', 'true');
    expect(stderr).toMatch(/limits\.pids/);
    expect(stderr).toMatch(/EACCES/);
    expect(stderr).toMatch(/Delegate=yes/);
    expect(status).toBe(125);
    const result = cli('--pids', '8', '--optional', 'limits.pids', '--json', 'true');
    expect(result.status).toBe(0);
    expect(result.stderr).toMatch(/"skipped":\[\{"feature":"limits\.pids"/);
  });

  it('to whom groups of version 1 were delegated has sandboxes with bounds in them', async ({ skip }) => {
    skip(
      runAsUser('/bin/sh', ['-c', 'test -r "$0"', cliPath]).status !== 0,
      'an ordinary user cannot reach the checkout: EACCES',
    );
    const parents = Object.values(callerFacts().cgroups.parents);
    skip(parents.length === 0 || parents.some(({ unified }) => unified), 'this host has no trees of version 1');
    const { uid = 0, gid = 0 } = ordinaryUser;
    const delegated = [...directories].map((directory) => join(directory, `delegated-by-tests-${process.pid}`));
    for (const group of delegated) {
      mkdirSync(group);
      for (const file of ['', 'cgroup.procs']) chownSync(join(group, file), uid, gid);
    }
    try {
      const enter = delegated.map((group) => `echo 0 >${group}/cgroup.procs`).join(' && ');
      const become = `exec setpriv --reuid=${uid} --regid=${gid} --clear-groups`;
      const hog = ['--memory', '64MiB', '--', 'sh', '-c', 'x=; while :; do x=$x$x.; done'];
      const bounded = (args: string[]) =>
        spawnSync('/bin/sh', ['-c', `${enter} && ${become} "$@"`, 'sh', process.execPath, cliPath, ...args], {
          encoding: 'utf8',
          env: {},
          cwd: '/',
        });
      expect(bounded(hog)).toMatchObject({ status: 124, stderr: expect.stringContaining('limit memoryBytes') });
      expect(bounded(['--pids', '4', '--cpu', '10s', '--cpus', '1', 'true'])).toMatchObject({ status: 0, stderr: '' });
      for (const group of delegated)
        expect(readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory())).toEqual([]);
    } finally {
      for (const group of delegated) rmdirSync(group);
    }
  });
});
