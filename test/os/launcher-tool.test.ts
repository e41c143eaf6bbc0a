// A sandbox that another program makes: what it says and how it ends is never taken for what the command did, and nothing of it stays.
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callSteps } from '../../src/backends/launcher/call.ts';
import { encodePlan } from '../../src/backends/launcher/encode.ts';
import { INIT_INSIDE, type Step } from '../../src/backends/launcher/steps.ts';
import { type Bench, callers, makeBench, runSteps } from '../helpers/native-plan.ts';
import { processesWith } from '../helpers/processes.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns', 'command:cc', 'command:unshare');

const PATIENCE_MS = 20_000;
/** Smallest of all tools: namespaces, and our init as pid 1 of them. */
const unshare = ['/usr/bin/unshare', '--map-root-user', '--pid', '--fork', '--mount-proc', '--kill-child'];

let bench: Bench;
beforeAll(() => {
  bench = makeBench();
});
afterAll(() => bench.remove());

function stepsFor(
  argv: readonly string[],
  command: readonly [string, ...string[]],
  {
    env = {},
    room = [],
    uid = 0,
    endSignal = constants.signals.SIGKILL,
  }: { env?: Record<string, string>; room?: readonly Step[]; uid?: number; endSignal?: number } = {},
): Step[] {
  const steps: Step[] = [
    { step: 'namespaces', namespaces: [] },
    ...room,
    { step: 'tool', endSignal, traces: false, argv, env },
    { step: 'umask', umask: 0o022 },
    { step: 'user', uid, gid: uid, setgroups: false, additionalGids: [] },
    { step: 'capabilities', keep: [] },
    { step: 'cwd', path: '/' },
  ];
  return callSteps(
    { steps, env: { PATH: '/usr/bin:/bin' } },
    { command, killSignal: 'SIGTERM', gracePeriodMs: 200 },
    [],
  );
}

const sh = (script: string): string[] => ['/bin/sh', '-c', script];
const starting = (tool: readonly string[]): string => [...tool, ...INIT_INSIDE].join(' ');

async function waitUntilGone(marker: string): Promise<string[]> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const left = processesWith(marker);
    if (left.length === 0 || performance.now() > deadline) return left.map(String);
    await delay(5);
  }
}

describe.each(callers())('as $name', ({ uid }) => {
  const run = (steps: readonly Step[]) => runSteps(bench, uid, steps);
  const last = (steps: readonly Step[]) => run(steps).lines.at(-1);

  it("the command's status, output and descriptors are its own", () => {
    const command: [string, ...string[]] = ['/bin/sh', '-c', 'echo out; echo err >&2; ls /proc/self/fd; exit 7'];
    const { code, stdout, stderr, lines } = run(stepsFor([...unshare, ...INIT_INSIDE], command));
    expect(lines.at(-1)).toMatchObject({ event: 'ended', cause: 'command', code: 7 });
    expect({ code, stdout, stderr }).toEqual({ code: 7, stdout: 'out\n0\n1\n2\n3\n', stderr: 'err\n' });
  });

  it('a signal that ends the command is told, whatever the tool makes of it', () => {
    const command: [string, ...string[]] = ['/bin/sh', '-c', 'kill -SEGV $$'];
    expect(last(stepsFor([...unshare, ...INIT_INSIDE], command))).toMatchObject({ event: 'ended', signal: 'SIGSEGV' });
  });

  it('what the tool writes is not among the output', () => {
    const tool = sh(`echo from the tool; echo from the tool >&2; exec ${starting(unshare)}`);
    expect(run(stepsFor(tool, ['/bin/echo', 'from the command']))).toMatchObject({
      code: 0,
      stdout: 'from the command\n',
      stderr: '',
    });
  });

  it('the tool has an empty stdin, its environment and no other, and only what it is to find open', () => {
    const look =
      'read line && echo "read $line"; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL=; for n in $(seq 0 40); do [ ! -e /proc/$$/fd/$n ] || echo $n; done; exit 1';
    const failed = last(stepsFor(sh(look), ['/bin/true'], { env: { ONLY: 'this', LISTEN_PID: '' } }));
    expect(failed).toMatchObject({ event: 'failed', step: 'tool' });
    const { detail } = failed as { detail: string };
    expect(detail.split('\n').sort()).toEqual([...'01234', expect.stringMatching(/^LISTEN_PID=\d+$/), 'ONLY=this']);
  });

  it('sources are opened without following a link, and texts are files', () => {
    const room: Step[] = [
      { step: 'source', number: 10, sourceKind: 'directory', path: bench.directory },
      { step: 'content', number: 12, content: Buffer.from('a text').toString('base64') },
    ];
    const look = 'ls -d /proc/self/fd/10/. && cat /proc/self/fd/12 && exit 1';
    expect(last(stepsFor(sh(look), ['/bin/true'], { room }))).toMatchObject({
      step: 'tool',
      detail: '/proc/self/fd/10/.\na text',
    });
    const path = join(bench.directory, `link-${uid}`);
    symlinkSync('/etc', path);
    const link: Step = { step: 'source', number: 10, sourceKind: 'any', path };
    expect(last(stepsFor(sh('exit 1'), ['/bin/true'], { room: [link] }))).toMatchObject({
      step: 'source',
      errno: 'ELOOP',
    });
  });

  it.each([
    ['says nothing', sh('exit 3'), 'it ended with status 3, without a word'],
    ['is ended by a signal', sh('kill -KILL $$'), 'it was ended by signal 9, without a word'],
    ['says why', sh('echo first; echo "the reason" >&2; exit 0'), 'first\nthe reason'],
  ])('a tool that %s and starts no init failed, whatever its status', (_, tool, detail) => {
    expect(run(stepsFor(tool, ['/bin/true']))).toMatchObject({
      code: 125,
      lines: [{ event: 'failed', step: 'tool', path: '/bin/sh', detail }],
    });
  });

  it('of a flood of words the last ones are kept', () => {
    const failed = last(stepsFor(sh('seq 100000; echo the end; exit 1'), ['/bin/true'])) as { detail: string };
    expect(failed.detail).toMatch(/100000\nthe end$/);
    expect(failed.detail.length).toBeLessThan(512);
  });

  it('a tool that is not there is named', () => {
    expect(last(stepsFor(['/no/such/tool'], ['/bin/true']))).toMatchObject({
      event: 'failed',
      step: 'tool',
      errno: 'ENOENT',
      path: '/no/such/tool',
    });
  });

  it('a command that cannot be executed is told apart from a tool that failed', () => {
    expect(last(stepsFor([...unshare, ...INIT_INSIDE], ['/no/such/command']))).toMatchObject({
      event: 'failed',
      step: 'exec',
      reason: 'not-found',
    });
  });

  it('what a tool leaves behind ends with the run', async () => {
    const marker = String(100_000_000 + randomInt(800_000_000));
    const tool = sh(`setsid sleep ${marker} & exec ${starting(unshare)}`);
    expect(run(stepsFor(tool, ['/bin/true']))).toMatchObject({ code: 0 });
    expect(await waitUntilGone(marker)).toEqual([]);
  });

  it('a tool that never comes to an end can be ended', async () => {
    const marker = String(100_000_000 + randomInt(800_000_000));
    const { launcher, ended } = start(stepsFor(sh(`sleep ${marker}; exit 0`), ['/bin/true']), uid);
    while (processesWith(marker).length === 0) await delay(5);
    launcher.kill('SIGTERM');
    expect(await ended).toMatch(/"event":"ended","cause":"signalled","by":"SIGTERM"/);
    expect(await waitUntilGone(marker)).toEqual([]);
  });

  it.each(['SIGTERM', 'SIGKILL'] as const)('a tool that clears something away is let to, on %s too', async (signal) => {
    const directory = join(bench.directory, `of-the-tool-${uid}-${signal}`);
    mkdirSync(directory);
    chmodSync(directory, 0o777);
    const marker = join(directory, 'marker');
    const tool = sh(`trap 'rm ${marker}; exit 0' QUIT; echo > ${marker}; while :; do sleep 0.05; done`);
    const { launcher, ended } = start(stepsFor(tool, ['/bin/true'], { endSignal: constants.signals.SIGQUIT }), uid);
    while (!existsSync(marker)) await delay(5);
    launcher.kill(signal);
    await ended;
    await expect.poll(() => existsSync(marker), { timeout: PATIENCE_MS }).toBe(false);
  });

  it('a tool that ends by itself ends after init, and one that does not is killed all the same', async () => {
    const marker = String(100_000_000 + randomInt(800_000_000));
    for (const lingers of ['echo done', `sleep ${marker}`]) {
      const tool = sh(`${starting(unshare)}; ${lingers}`);
      const command: [string, ...string[]] = ['/bin/sleep', marker];
      const { launcher, ended } = start(stepsFor(tool, command, { endSignal: 0 }), uid);
      while (processesWith(marker).length === 0) await delay(5);
      launcher.kill('SIGTERM');
      expect(await ended).toMatch(/"event":"ended","cause":"signalled","by":"SIGTERM"/);
      expect(await waitUntilGone(marker)).toEqual([]);
    }
  });

  it('SIGKILL for the supervisor at any moment leaves nothing', async () => {
    const marker = String(100_000_000 + randomInt(800_000_000));
    const command: [string, ...string[]] = ['/bin/sh', '-c', `setsid sleep ${marker} & exec sleep ${marker}`];
    for (let round = 0; round < 20; round++) {
      const { launcher, ended } = start(stepsFor([...unshare, ...INIT_INSIDE], command), uid);
      await delay(randomInt(40));
      launcher.kill('SIGKILL');
      await ended;
      expect(await waitUntilGone(marker), `round ${round}`).toEqual([]);
    }
  });
});

/** Not waited for; `ended` is its status lines. */
function start(steps: readonly Step[], uid: number) {
  const file = join(bench.directory, `tool-plan-${uid}`);
  writeFileSync(file, encodePlan(steps));
  const plan = openSync(file, 'r');
  const launcher = spawn(bench.launcher, ['run', '--plan-fd', '3', '--status-fd', '4'], {
    stdio: ['ignore', 'ignore', 'inherit', plan, 'pipe'],
    cwd: '/',
    ...(uid === process.getuid?.() ? {} : { uid, gid: uid }),
  });
  closeSync(plan);
  let text = '';
  launcher.stdio[4]?.on('data', (chunk) => {
    text += String(chunk);
  });
  return { launcher, ended: once(launcher, 'close').then(() => text) };
}
