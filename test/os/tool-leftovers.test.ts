// What a program that makes the sandbox could leave: its container, which does not end with it; its state, locks and sockets; its control groups. Whoever
// is killed, nothing of it stays. The mounts of this machine are looked at around each test file.
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Backend, LaunchedProcess } from '../../src/backends/backend.ts';
import { loadDocker } from '../../src/backends/docker/index.ts';
import { loadOci } from '../../src/backends/oci/index.ts';
import { podman } from '../../src/backends/podman/index.ts';
import { systemdNspawn } from '../../src/backends/systemd-nspawn/index.ts';
import { callerFacts } from '../../src/host/facts.ts';
import { nodeSpecHost } from '../../src/spec/host.ts';
import { normalize } from '../../src/spec/normalize.ts';
import { whyClosed } from '../helpers/closed-backends.ts';
import { isListenedOn } from '../helpers/leftover-reading.ts';
import { processesWith } from '../helpers/processes.ts';
import { type Need, requires } from '../helpers/requires.ts';

/** Where tools keep state, and where they make control groups. */
const places = [
  '/run',
  '/run/containers',
  '/run/crun',
  '/run/libpod',
  '/run/runc',
  '/run/systemd',
  '/run/systemd/machines',
  '/run/systemd/nspawn',
  '/run/systemd/nspawn/locks',
  '/dev/shm',
  '/tmp',
  '/var/lib/containers',
  '/var/lib/containers/storage',
  '/var/tmp',
  ...controlGroups(),
];

interface Tool {
  readonly name: string;
  readonly needs: readonly Need[];
  readonly load: () => Promise<Backend>;
}

const tools: readonly Tool[] = [
  { name: 'oci, by crun', needs: ['command:crun'], load: async () => (await loadOci('crun')) as Backend },
  { name: 'oci, by runc', needs: ['command:runc'], load: async () => (await loadOci('runc')) as Backend },
  { name: 'podman', needs: ['command:podman', 'command:crun'], load: async () => podman as Backend },
  { name: 'docker', needs: [], load: async () => loadDocker() as Backend },
  { name: 'systemd-nspawn', needs: ['root', 'command:systemd-nspawn'], load: async () => systemdNspawn as Backend },
];

describe.each(tools)('$name', ({ name, needs, load }) => {
  requires('linux', 'userns', ...needs);
  beforeEach((context) => {
    const why = name === 'docker' ? whyClosed(name) : undefined;
    if (why !== undefined) context.skip(why);
  });
  let backend: Backend;
  beforeAll(async () => {
    backend = await load();
  });

  /** Two processes of the command in two sessions, both deaf to what can be ignored. */
  async function start(marker: string): Promise<LaunchedProcess> {
    const plan = backend.plan(normalize({}, nodeSpecHost()), backend.recognized, callerFacts());
    const launched = backend.launch(plan, {
      command: ['sh', '-c', `trap '' TERM HUP INT; setsid sleep ${marker} & sleep ${marker}`],
      stdio: ['ignore', 'ignore', 'ignore'],
      killSignal: 'SIGTERM',
      gracePeriodMs: 60_000,
    });
    await launched.started;
    await expect.poll(() => processesWith(marker).length, { timeout: 30_000 }).toBeGreaterThanOrEqual(3);
    return launched;
  }

  /** Below the launcher: the tool, then init, then the command. */
  const victims: Readonly<Record<string, (launcher: number) => readonly number[]>> = {
    'the launcher': (launcher) => [launcher],
    'the tool': (launcher) => childrenOf(launcher),
    'init in the sandbox': (launcher) => childrenOf(launcher).flatMap(childrenOf),
    'all of them': (launcher) => {
      const found = childrenOf(launcher);
      return [launcher, ...found, ...found.flatMap(childrenOf)];
    },
  };

  test.each(Object.entries(victims))('SIGKILL for %s leaves nothing', async (_who, victimsOf) => {
    const before = contents();
    const marker = String(1e9 + Number.parseInt(randomUUID().slice(0, 6), 16));
    const launched = await start(marker);
    try {
      const found = victimsOf(launched.pid ?? 0);
      expect(found.length).toBeGreaterThan(0);
      for (const pid of found) killIfThere(pid);
      await expect(launched.ended).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED' });
    } finally {
      launched.kill();
    }
    await expect.poll(() => processesWith(marker), { timeout: 30_000 }).toEqual([]);
    await expectNothingNew(before);
  });

  test('a run that ends by itself leaves nothing', async () => {
    const before = contents();
    const plan = backend.plan(normalize({}, nodeSpecHost()), backend.recognized, callerFacts());
    const { ended } = backend.launch(plan, {
      command: ['true'],
      stdio: ['ignore', 'ignore', 'ignore'],
      killSignal: 'SIGKILL',
      gracePeriodMs: 0,
    });
    expect((await ended).code).toBe(0);
    await expectNothingNew(before);
  });
});

/** The end of one of them ends the next, at times before its own signal. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A socket of a run beside this one may be gone between two looks at it; what is left stays. */
async function expectNothingNew(before: readonly string[]): Promise<void> {
  await expect.poll(() => contents().filter((name) => !before.includes(name)), { timeout: 10_000 }).toEqual([]);
}

const ofTools = /container|crun|libpod|netns|podman|runc|sandbox|nspawn|payload|supervisor/;
/** Directories of test runs beside this one, and of measurements, which come and go. */
const ofTests = /^sandboxlib-(test|bench)-/;

/** Names that a tool or this backend gives; others on this machine may make others meanwhile. */
function contents(): string[] {
  return places.flatMap((place) =>
    existsSync(place)
      ? namesIn(place)
          .filter((name) => ofTools.test(name) && !ofTests.test(name) && !isListenedOn(name))
          .map((name) => join(place, name))
      : [],
  );
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    // A control group, or a file of somebody else, that is gone by now; or closed to an ordinary user.
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'EACCES') return [];
    throw error;
  }
}

/** Of every tree that this process is in: its own group, where a tool makes that of a container. */
function controlGroups(): string[] {
  const trees = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4] ?? '');
  const own = readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .map((line) => line.slice(line.lastIndexOf(':') + 1));
  return [...new Set(trees.flatMap((tree) => [tree, ...own.map((path) => join(tree, path))]))];
}

/** Of every thread: those of runc make one each. */
function childrenOf(pid: number): number[] {
  const lists = readdirSync(`/proc/${pid}/task`).map((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim(),
  );
  return lists.flatMap((text) => (text === '' ? [] : text.split(' ').map(Number)));
}
