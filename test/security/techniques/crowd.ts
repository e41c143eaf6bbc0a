// Many sandboxes at once, each of which kills whatever it can and says what only it could say: none may take another with it, or be taken for it.
import { randomUUID } from 'node:crypto';
import { constants } from 'node:os';
import { expect } from 'vitest';
import { createSandbox } from '../../../src/index.ts';
import { commandLines } from '../../helpers/processes.ts';
import { requires } from '../../helpers/requires.ts';
import { pythonCommand } from '../in-python.ts';
import { lighter, type Technique } from '../technique.ts';

const AT_ONCE = 64;
/** Why fewer are enough elsewhere. */
const SAME = 'each sandbox has a supervisor and an init of ours, whichever program made it';

/** With every number that a process on this machine may have, in turn and all at once. */
const rage = `
import signal
own = os.getpid()
for pid in [-1, 1, os.getppid()] + [pid for pid in range(2, 2000) if pid != own]:
    attempt(lambda: os.kill(pid, signal.SIGKILL))
# pidfd_open(2), pidfd_send_signal(2)
for pid in [pid for pid in range(2, 200) if pid != own]: attempt(lambda: syscall(424, syscall(434, pid, 0), 9, None, 0))
print('alive', sys.argv[1])
sys.exit(int(sys.argv[1]))
`;

export const technique: Technique = {
  name: 'crowd',
  attacks: ['root.host', 'namespace.pid', 'lifecycle.killTree'],
  cases: {
    'sixty-four sandboxes at once that kill all they can each end as if alone': lighter(SAME, async (bench, share) => {
      requires('file:/usr/bin/python3');
      await using sandbox = await createSandbox({}, { backend: bench.backend });
      const crowd = Array.from({ length: share(AT_ONCE) }, (_, number) => number);
      const results = await Promise.all(crowd.map((number) => sandbox.run([...pythonCommand(rage), String(number)])));
      expect(results.map(({ outcome, stdout, stderr }) => ({ outcome, stdout, stderr }))).toEqual(
        crowd.map((code) => ({ outcome: { kind: 'exited', code }, stdout: `alive ${code}\n`, stderr: '' })),
      );
    }),
    ...Object.fromEntries(
      [0, 1, 2, 3].map((quarter) => [
        `sixty-four statuses at once are each told as they were: from ${quarter * AT_ONCE}`,
        lighter(SAME, async (bench, share) => {
          const statuses = Array.from({ length: share(AT_ONCE) }, (_, number) => quarter * AT_ONCE + number);
          const results = await Promise.all(statuses.map((status) => bench.run(['exit', status])));
          expect(results.map(({ outcome }) => outcome)).toEqual(statuses.map((code) => ({ kind: 'exited', code })));
        }),
      ]),
    ),
    'whoever is ended, the others go on': lighter(SAME, async (bench, share) => {
      // By each of the four ways at least one.
      const markers = Array.from({ length: Math.max(8, share(AT_ONCE)) }, () => `crowd-${randomUUID()}`);
      const crowd = markers.map((marker) => bench.spawn(['fork-sleep', marker, 600_000, 1]));
      try {
        await Promise.all(crowd.map((handle) => handle.lines()[Symbol.asyncIterator]().next()));
        await Promise.all(crowd.map((handle) => handle.started));
        const alive = (): number[] => {
          const all = commandLines();
          return markers.map((marker) => (all.some((line) => line.includes(marker)) ? 1 : 0));
        };
        expect(alive()).toEqual(markers.map(() => 1));
        // By each of the ways, every second one.
        for (const [number, handle] of crowd.entries()) {
          if (number % 8 === 0) handle.kill();
          if (number % 8 === 2) handle.terminate('enough');
          if (number % 8 === 4) process.kill(handle.pid as number, 'SIGKILL');
          if (number % 8 === 6) handle.sendSignal('SIGKILL');
        }
        const ended = crowd.filter((_, number) => number % 2 === 0);
        await Promise.allSettled(ended.map((handle) => handle.result));
        await expect.poll(alive).toEqual(markers.map((_, number) => number % 2));
        // Their pids are free for others now; what is said to somebody who is gone must reach nobody.
        const later = await bench.spawn(['fork-sleep', 'crowd-later', 1000, 1]);
        for (const handle of ended) {
          handle.kill();
          handle.sendSignal('SIGKILL');
          handle.terminate();
        }
        expect(later.outcome).toEqual({ kind: 'exited', code: 0 });
        expect(alive()).toEqual(markers.map((_, number) => number % 2));
      } finally {
        for (const handle of crowd) handle.kill();
        await Promise.allSettled(crowd.map((handle) => handle.result));
      }
      const left = commandLines();
      expect(markers.filter((marker) => left.some((line) => line.includes(marker)))).toEqual([]);
    }),
    'whatever signals end sixty-four commands at once, each is told its own': lighter(SAME, async (bench, share) => {
      const names = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGABRT', 'SIGKILL', 'SIGSEGV', 'SIGPIPE', 'SIGTERM'] as const;
      const crowd = Array.from(
        { length: Math.max(names.length, share(AT_ONCE)) },
        (_, number) => names[number % names.length] ?? 'SIGHUP',
      );
      const results = await Promise.all(crowd.map((name) => bench.run(['signal', constants.signals[name]])));
      expect(results.map(({ outcome }) => outcome)).toEqual(crowd.map((signal) => ({ kind: 'signalled', signal })));
    }),
  },
};
