import { readdirSync } from 'node:fs';
import { expect } from 'vitest';
import { createSandbox } from '../../../src/index.ts';
import { requires } from '../../helpers/requires.ts';
import { pythonCommand } from '../in-python.ts';
import type { Technique } from '../technique.ts';

/** Whatever one could leave for the next, in every place that can be written to or set. */
const leave = `
import resource, signal, subprocess, time
home = os.environ['HOME']
for place in ['/tmp', home, '/dev/shm', '/var/tmp', '/run', '/dev', '/']:
    print(place, attempt(lambda: open(f'{place}/left-behind', 'w').write('x')))
os.environ['LEFT'] = 'x'
os.umask(0o777)
resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.nice(5)
os.chdir('/usr')
print('hostname', attempt(lambda: socket.sethostname('left')))
key = 0x5eed
libc.shmget(key, 4096, 0o1666); libc.semget(key, 1, 0o1666); libc.msgget(key, 0o1666)
libc.mq_open(b'/left', os.O_CREAT | os.O_RDWR, 0o666, None)
print('key', attempt(lambda: syscall(${process.arch === 'arm64' ? 217 : 248}, b'user', b'left', b'x', ctypes.c_long(1), ctypes.c_long(-4))))
signal.signal(signal.SIGINT, signal.SIG_IGN)
s = socket.socket(socket.AF_UNIX); s.bind('\\0left'); s.listen()
if os.fork() == 0:
    os.setsid()
    time.sleep(1000)
subprocess.Popen(['sleep', '1000'])
`;

/** What there is: everything that 'leave' touched. */
const look = `
import resource, signal
home = os.environ['HOME']
print([place for place in ['/tmp', home, '/dev/shm', '/var/tmp', '/run', '/dev', '/'] if os.path.lexists(f'{place}/left-behind')])
print(sorted(name for name in os.listdir('/tmp') + os.listdir(home) + os.listdir('/dev/shm') + os.listdir('/dev/mqueue')))
print(os.environ.get('LEFT'), oct(os.umask(0)), resource.getrlimit(resource.RLIMIT_NOFILE), os.getpriority(os.PRIO_PROCESS, 0), os.getcwd())
print(socket.gethostname())
key = 0x5eed
print(libc.shmget(key, 0, 0), libc.semget(key, 0, 0), libc.msgget(key, 0), libc.mq_open(b'/left', os.O_RDONLY))
print([open(f'/proc/sysvipc/{kind}').read().count('\\n') for kind in ['shm', 'sem', 'msg']])
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.pthread_sigmask(signal.SIG_BLOCK, []))
s = socket.socket(socket.AF_UNIX); print(attempt(lambda: s.connect('\\0left')))
# Numbers begin anew in a new namespace; a tool may have taken the first few.
print(len([pid for pid in os.listdir('/proc') if pid.isdigit()]), os.getpid() < 32)
`;

export const technique: Technique = {
  name: 'earlier-run',
  attacks: ['root.host', 'lifecycle.killTree', 'namespace.pid', 'namespace.ipc', 'mount.proc', 'umask'],
  cases: {
    'a run finds the same whatever the runs before it left, one after the other or side by side': async (bench) => {
      requires('file:/usr/bin/python3');
      await using sandbox = await createSandbox({}, { backend: bench.backend });
      const seen = async (): Promise<string> => {
        const { stdout, stderr } = await sandbox.run(pythonCommand(look));
        expect(stderr).toBe('');
        return stdout as string;
      };
      const fresh = await seen();
      const queues = queuesOfHost();
      for (let round = 0; round < 3; round++) {
        const { stdout } = (await sandbox.run(pythonCommand(leave))).assertSuccess();
        // Where it may, it does leave something.
        expect(stdout).toMatch(/^\/tmp ok$/m);
        expect(stdout).toMatch(/^\/dev\/shm ok$/m);
        expect(stdout).toMatch(/^key EPERM$/m);
        expect(stdout).toMatch(/^hostname EPERM$/m);
        expect(await seen()).toBe(fresh);
      }
      await using other = sandbox.spawn(pythonCommand(`${leave}\nprint('left', flush=True)\nos.wait()`));
      for await (const line of other) if (line === 'left') break;
      expect(await seen()).toBe(fresh);
      other.kill();
      expect(fresh).toContain('[]\n[]\nNone 0o22 ');
      expect(fresh).toContain('-1 -1 -1 -1\n[1, 1, 1]\nTrue set()\nECONNREFUSED\n2 True\n');
      expect(queuesOfHost()).toEqual(queues);
    },
  },
};

/** Without the sockets that runs by docker beside this one have there for a moment. */
function queuesOfHost(): string[] {
  return readdirSync('/dev/shm').filter((name) => !/^sandboxlib-[0-9a-f]{32}$/.test(name));
}
