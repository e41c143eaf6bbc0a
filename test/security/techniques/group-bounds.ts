// Past the bounds on a sandbox as a whole: by memory that no process seems to own, by work that nobody waits for, by leaving the control group.
import { expect } from 'vitest';
import { type RunResult, run } from '../../../src/index.ts';
import type { Limits } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { needGroups } from '../../helpers/groups.ts';
import { requires } from '../../helpers/requires.ts';
import { PYTHON } from '../python.ts';
import { lighter, needing, type Technique } from '../technique.ts';

const MiB = 1024 * 1024;
const BOUND = 96 * MiB;
/** Far more than the bound, and no danger for a machine on which it does not hold. */
const WANTED = 384 * MiB;

/** Each keeps what it takes, in pieces, until it has all of it or is refused. */
const ways: Readonly<Record<string, string>> = {
  private: 'kept.append(bytearray(PIECE))',
  shared: 'm = mmap.mmap(-1, PIECE); m.write(bytes(PIECE)); kept.append(m)',
  'a file in memory': "f = os.memfd_create('x'); os.write(f, bytes(PIECE)); kept.append(f)",
  'a tmpfs': "open(f'/dev/shm/{n}', 'wb').write(bytes(PIECE))",
  'the page tables of an almost empty mapping': `
    m = mmap.mmap(-1, PIECE << 9, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
    for at in range(0, PIECE << 9, 2 << 20): m[at] = 1
    kept.append(m)`,
  pipes: `
    for _ in range(PIECE >> 16):
        r, w = os.pipe()
        os.set_blocking(w, False)
        os.write(w, bytes(65536))
        kept.append((r, w))`,
  sockets: `
    for _ in range(16):
        a, b = socket.socketpair()
        a.setblocking(False)
        try:
            while True: a.send(bytes(65536))
        except BlockingIOError: pass
        kept.append((a, b))`,
  children: `
    if os.fork() == 0:
        own = bytearray(PIECE)
        while True: signal.pause()`,
  'children that nobody knows': `
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0: os._exit(0)
        own = bytearray(PIECE)
        while True: signal.pause()`,
};

function eat(way: string): string {
  return `
import mmap, os, resource, signal, socket
PIECE = ${4 * MiB}
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
kept = []
def take(n):
    global kept
    ${way.trim()}
try:
    for n in range(${WANTED} // PIECE): take(n)
    import time
    time.sleep(1)
    print('took it all')
except OSError as error: print('refused', error.errno)
`;
}

/** The root of the bench has no Python where the backend mounts nothing. */
const withPython = (given: Parameters<typeof needing>[1]) => needing(['root.host'], given);

const SAME = 'the same supervisor makes the groups, and puts init there before there is a command';

/** The first, and as many more as `share` leaves. */
function someOf<T>(all: Readonly<Record<string, T>>, share: (full: number) => number): [string, T][] {
  return Object.entries(all).slice(0, share(Object.keys(all).length));
}

async function bounded(bench: Bench, script: string, limits: Limits): Promise<RunResult> {
  requires(`file:${PYTHON}`);
  return await run([PYTHON, '-c', script], { limits: { wallMs: 120_000, ...limits } }, bench.options({}));
}

export const technique: Technique = {
  name: 'group-bounds',
  attacks: ['limits.memoryBytes', 'limits.pids', 'limits.cpuMs'],
  cases: {
    'memory has its bound, in whatever way it is taken': withPython(
      lighter(SAME, async (bench, share) => {
        await needGroups(bench.backend, 'limits.memoryBytes');
        for (const [name, way] of someOf(ways, share)) {
          const { outcome, stdout, usage } = await bounded(bench, eat(way), { memoryBytes: BOUND });
          // A place with a smaller bound of its own refuses before that.
          const refused = outcome.kind === 'exited' && String(stdout).startsWith('refused');
          expect(refused || outcome.kind === 'limit', `${name}: ${JSON.stringify(outcome)} ${stdout}`).toBe(true);
          if (outcome.kind === 'limit') expect(outcome, name).toEqual({ kind: 'limit', limit: 'memoryBytes' });
          expect(usage.memoryBytes ?? 0, name).toBeLessThanOrEqual(BOUND);
        }
      }),
    ),
    'a crowd of children has one bound, of memory and of number': async (bench) => {
      await needGroups(bench.backend, 'limits.memoryBytes');
      for (const count of [16, 64]) {
        const crowd = await bench.run(['touch', WANTED / count, count], { limits: { memoryBytes: BOUND } });
        expect(crowd.outcome).toEqual({ kind: 'limit', limit: 'memoryBytes' });
        const many = await bench.run(['touch', 4096, count], { limits: { pids: count - 1 } });
        expect(many.outcome).toEqual({ kind: 'limit', limit: 'pids' });
      }
    },
    'the same ways take it all where there is no bound': withPython(
      lighter(SAME, async (bench, share) => {
        const tried = someOf(ways, share);
        const taken: string[] = [];
        for (const [name, way] of tried) {
          const { stdout } = await bounded(bench, eat(way), {});
          if (String(stdout).startsWith('took')) taken.push(name);
        }
        const able = ['private', 'shared', 'a file in memory', 'children', 'children that nobody knows'];
        expect(taken).toEqual(expect.arrayContaining(able.filter((name) => tried.some(([other]) => other === name))));
      }),
    ),
    'bombs of processes and threads end at limits.pids, and nothing of them stays': withPython(async (bench) => {
      await needGroups(bench.backend, 'limits.pids');
      const bombs = [
        'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass',
        'import threading, time\nwhile True:\n  try: threading.Thread(target=time.sleep, args=(1000,)).start()\n  except RuntimeError: pass',
        'import os, signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n  try:\n    if os.fork() == 0: os.setsid()\n  except OSError: pass',
      ];
      for (const bomb of bombs) {
        const { outcome } = await bounded(bench, bomb, { pids: 64 });
        expect(outcome).toEqual({ kind: 'limit', limit: 'pids' });
      }
    }),
    'work that is spread over short processes counts, also when nobody waits for them': withPython(async (bench) => {
      await needGroups(bench.backend, 'limits.cpuMs');
      const script = `
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        while time.process_time() < 0.01: pass
        os._exit(0)
    time.sleep(0.005)`;
      const { outcome, usage } = await bounded(bench, script, { cpuMs: 500 });
      expect(outcome).toEqual({ kind: 'limit', limit: 'cpuMs' });
      expect((usage.cpuUserMs ?? 0) + (usage.cpuSystemMs ?? 0)).toBeGreaterThanOrEqual(500);
    }),
    'the group cannot be left or lifted: there is no file of it to be found': withPython(async (bench) => {
      await needGroups(bench.backend, 'limits.pids');
      const script = `
import os
names = ('cgroup.procs', 'tasks', 'pids.max', 'memory.max', 'memory.limit_in_bytes', 'cgroup.subtree_control', 'notify_on_release')
for top, directories, files in os.walk('/sys'):
    for name in files:
        if name in names: print(os.path.join(top, name))
print(open('/proc/self/cgroup').read().count(':/\\n') == len(open('/proc/self/cgroup').readlines()))
print(open('/proc/self/mountinfo').read().count(' - cgroup'))`;
      const { stdout } = await bounded(bench, script, { pids: 16, memoryBytes: BOUND, cpuMs: 10_000 });
      expect(stdout).toBe('True\n0\n');
    }),
    'a SIGKILL of its own, of a child or of everybody is no bound that was met': withPython(async (bench) => {
      await needGroups(bench.backend, 'limits.memoryBytes');
      const killers = [
        'import os; os.kill(os.getpid(), 9)',
        'import os, signal, time\nif os.fork() == 0: time.sleep(0.1); os.kill(os.getppid(), 9)\nsignal.pause()',
        'import os, signal\nif os.fork() == 0: signal.pause()\nos.kill(-1, 9); os.kill(os.getpid(), 9)',
      ];
      for (const killer of killers) {
        const { outcome } = await bounded(bench, killer, { memoryBytes: BOUND, pids: 16, cpuMs: 10_000 });
        expect(outcome).toEqual({ kind: 'signalled', signal: 'SIGKILL' });
      }
    }),
  },
};
