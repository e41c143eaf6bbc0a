import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { createSandbox, type RunOptions, run, type SandboxSpec, spawn } from '../../../src/index.ts';
import type { Bench } from '../../conformance/bench.ts';
import { inNode } from '../in-node.ts';
import { inPython, pythonCommand } from '../in-python.ts';
import { lighter, type Technique } from '../technique.ts';

const wall = { limits: { wallMs: 300 } };
const quick: RunOptions = { gracePeriodMs: 100 };
const atWall = { kind: 'limit', limit: 'wallMs' };

/** Ways not to hear that one shall go. */
const deaf: Readonly<Record<string, string>> = {
  'that stops itself': 'os.kill(os.getpid(), 19); print("continued")\nwhile True: pass',
  'that stops its whole group': 'os.killpg(0, 19)\nwhile True: pass',
  'that ignores every signal it can': `
import signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: time.sleep(1)`,
  'that blocks every signal': `
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: pass`,
  'that waits for a child that waits': `
import signal, subprocess
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
subprocess.run(['sh', '-c', 'trap "" TERM HUP INT; while :; do sleep 1; done'])`,
  'that is stopped by a tracer of its own': `
import signal, time
child = os.fork()
if child == 0:
    # PTRACE_ATTACH, and never a word again.
    signal.signal(15, signal.SIG_IGN)
    libc.ptrace(16, os.getppid(), 0, 0)
    while True: time.sleep(1)
while True: time.sleep(0.01)`,
  'with a hundred children in sessions of their own': `
import time
for _ in range(100):
    if os.fork() == 0:
        os.setsid()
        while True: time.sleep(1)
while True: time.sleep(1)`,
  'that stops init': 'for pid in (1, -1): attempt(lambda: os.kill(pid, 19))\nwhile True: pass',
};

async function outcomeOf(bench: Bench, script: string, spec: SandboxSpec, options: RunOptions): Promise<unknown> {
  const { outcome } = await run(pythonCommand(script), bench.withHost(spec), bench.options(options));
  return outcome;
}

export const technique: Technique = {
  name: 'outstaying',
  attacks: ['limits.wallMs', 'lifecycle.killTree', 'namespace.pid'],
  cases: {
    ...Object.fromEntries(
      Object.entries(deaf).map(([which, script]) => [
        `limits.wallMs ends a command ${which}`,
        async (bench: Bench) => expect(await outcomeOf(bench, script, wall, quick)).toEqual(atWall),
      ]),
    ),
    'limits.wallMs holds while the event loop of the caller is blocked': async (bench) => {
      const script = `
        import { readdirSync, readFileSync } from 'node:fs';
        const marker = '86' + process.pid + '.25';
        const alive = () => readdirSync('/proc').filter((pid) => {
          try { return /^\\d+$/.test(pid) && readFileSync('/proc/' + pid + '/cmdline', 'latin1') === 'sleep\\0' + marker + '\\0'; } catch { return false; }
        }).length;
        let handle;
        let over = true;
        // On a busy machine it may be over before it was seen alive, which shows nothing: again.
        while (over) {
          handle = spawn(['sleep', marker], ${JSON.stringify(bench.withHost({ limits: { wallMs: 500 } }))}, ${JSON.stringify(bench.options({ gracePeriodMs: 100 }))});
          over = false;
          handle.then(() => { over = true; });
          await handle.started;
          while (alive() === 0 && !over) await new Promise((resolve) => setTimeout(resolve, 5));
        }
        const end = performance.now() + 3000;
        while (performance.now() < end);
        const left = alive();
        console.log(JSON.stringify({ left, outcome: (await handle).outcome, wallMs: (await handle).usage.wallMs }));`;
      const { stdout, stderr } = inNode(script);
      expect(stderr).toBe('');
      const answer = JSON.parse(stdout) as { left: number; outcome: unknown; wallMs: number };
      expect(answer).toMatchObject({ left: 0, outcome: atWall });
      expect(answer.wallMs).toBeLessThan(3000);
    },
    'one SIGKILL is not like another': async (bench) => {
      const ask = bench.options({ ...quick, killSignal: 'SIGKILL' });
      const host = bench.withHost({});
      const sleeping = ['sleep', '100'];
      expect((await run(sleeping, bench.withHost(wall), ask)).outcome).toEqual(atWall);
      expect((await run(['sh', '-c', 'kill -9 $$'], host, ask)).outcome).toEqual({
        kind: 'signalled',
        signal: 'SIGKILL',
      });
      const aborted = await run(sleeping, host, { ...ask, signal: AbortSignal.timeout(200) });
      expect(aborted.outcome).toMatchObject({ kind: 'cancelled', reason: { name: 'TimeoutError' } });
      await using handle = spawn(sleeping, host, ask);
      await handle.started;
      handle.kill();
      expect((await handle).outcome.kind).toBe('cancelled');
      expect((await run(['sh', '-c', 'exit 137'], host, ask)).outcome).toEqual({ kind: 'exited', code: 137 });
      // From outside, to the launcher: nobody is left to say more.
      await using lost = spawn(sleeping, host, ask);
      await lost.started;
      process.kill(lost.pid as number, 'SIGKILL');
      await expect(lost.result).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED', step: 'lost' });
      await using asked = spawn(sleeping, host, ask);
      await asked.started;
      process.kill(asked.pid as number, 'SIGTERM');
      expect((await asked).outcome).toEqual({ kind: 'cancelled', reason: 'SIGTERM' });
    },
    'exit statuses are exact, all of them': async (bench) => {
      const codes = [0, 1, 2, 124, 125, 126, 127, 128, 129, 137, 143, 254, 255];
      const outcomes = await Promise.all(codes.map(async (code) => (await bench.run(['exit', code])).outcome));
      expect(outcomes).toEqual(codes.map((code) => ({ kind: 'exited', code })));
    },
    'ending may come at any time, and many times': lighter(
      'who is ended is a supervisor of ours each time',
      async (bench, share) => {
        const already = await run(
          ['sleep', '100'],
          bench.withHost({}),
          bench.options({ signal: AbortSignal.abort('early') }),
        );
        expect(already.outcome).toEqual({ kind: 'cancelled', reason: 'early' });
        for (let number = 0; number < share(40); number++) {
          // Each of the twelve ways, from the beginning of set-up to its end.
          const round = Math.floor((number * 40) / share(40));
          const handle = spawn(['sleep', '100'], bench.withHost({}), bench.options(quick));
          // Set-up takes a few milliseconds: this walks through it.
          if (round % 4 > 0) await delay(round / 8);
          if (round % 3 === 0) handle.terminate('walk');
          handle.kill();
          handle.kill();
          await handle[Symbol.asyncDispose]();
          expect((await handle).outcome.kind).toBe('cancelled');
          handle.kill();
          handle.terminate();
          handle.sendSignal('SIGKILL');
          await handle[Symbol.asyncDispose]();
        }
        const sandbox = await createSandbox(bench.withHost({}), bench.options({}));
        const running = sandbox.spawn(['sleep', '100']);
        await Promise.all([sandbox.dispose(), sandbox.dispose()]);
        await sandbox.dispose();
        expect((await running).outcome.kind).toBe('cancelled');
        await expect((async () => sandbox.run(['true']))()).rejects.toThrow();
      },
    ),
    // limits.pids is not served yet: what bounds a storm is that it ends with its command, wherever its processes went.
    'of a storm of three hundred processes nobody outlives the command': lighter(
      'they end with an init of ours',
      async (bench, share) => {
        const count = share(300);
        const script = `
import time
r, w = os.pipe()
for _ in range(${count}):
    if os.fork() == 0:
        if os.fork() > 0: os._exit(0)
        os.setsid()
        os.write(w, b'x')
        time.sleep(1000)
for _ in range(${count}): os.wait()
count = 0
while count < ${count}: count += len(os.read(r, 1000))
print(count, len([pid for pid in os.listdir('/proc') if pid.isdigit()]) >= ${count})`;
        expect(await inPython(bench, script)).toEqual([`${count} True`]);
      },
    ),
  },
};
