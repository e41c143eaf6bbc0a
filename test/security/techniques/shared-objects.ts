import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { requires } from '../../helpers/requires.ts';
import { PYTHON, python, pythonOutside } from '../python.ts';
import type { Technique } from '../technique.ts';

/** What a process finds that is given a name or number of something of the host's. */
const find = `
key = int(sys.argv[1])
IPC_CREAT = 0o1000
say('shm', named('shmget', key, 0, 0))
say('sem', named('semget', key, 0, 0))
say('msg', named('msgget', key, 0))
say('mq', call(number_of(240, 180), sys.argv[2].encode(), os.O_RDWR, 0, None))
say('dev-shm', attempt(lambda: os.open('/dev/shm/' + sys.argv[2], os.O_RDWR)))
def connect():
    with socket.socket(socket.AF_UNIX) as client: client.connect('\\0' + sys.argv[2])
say('abstract', attempt(connect))
`;

const serve = `
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind('\\0' + sys.argv[1])
server.listen()
print('ready', flush=True)
sys.stdin.read()
`;

const make = `
key = int(sys.argv[1])
say('shm', named('shmget', key, 4096, 0o1600))
say('sem', named('semget', key, 1, 0o1600))
say('msg', named('msgget', key, 0o1600))
say('mq', call(number_of(240, 180), sys.argv[2].encode(), os.O_RDWR | os.O_CREAT, 0o600, None))
say('dev-shm', attempt(lambda: os.open('/dev/shm/' + sys.argv[2], os.O_RDWR | os.O_CREAT)))
`;

const remove = `
key = int(sys.argv[1])
libc.shmctl(libc.shmget(key, 0, 0), 0, None)
libc.semctl(libc.semget(key, 0, 0), 0, 0)
libc.msgctl(libc.msgget(key, 0), 0, None)
call(number_of(241, 181), sys.argv[2].encode())
attempt(lambda: os.unlink('/dev/shm/' + sys.argv[2]))
`;

const nothing = {
  shm: 'ENOENT',
  sem: 'ENOENT',
  msg: 'ENOENT',
  mq: 'ENOENT',
  'dev-shm': 'ENOENT',
  abstract: 'ECONNREFUSED',
};
const everything = { shm: 'ok', sem: 'ok', msg: 'ok', mq: 'ok', 'dev-shm': 'ok', abstract: 'ok' };

/** Joins a new session keyring with a secret in it (-3) or puts the secret into the user's own (-4), then becomes the rest of its arguments. */
const withSecret = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
arm = os.uname().machine == 'aarch64'
KEYCTL, ADD = (219, 217) if arm else (250, 248)
if libc.syscall(KEYCTL, 1, None) < 0: sys.exit(70)
key = libc.syscall(ADD, b'user', b'sandboxlib-secret', b'hush', 4, int(sys.argv[1]))
if key < 0: sys.exit(71)
os.environ['KEY'] = str(key)
child = os.spawnv(os.P_WAIT, sys.argv[2], sys.argv[2:])
libc.syscall(KEYCTL, 21, key)
sys.exit(child)
`;

const readSecret = `
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
arm = os.uname().machine == 'aarch64'
KEYCTL, REQUEST = (219, 218) if arm else (250, 249)
key, found = int(sys.argv[1]), []
buffer = ctypes.create_string_buffer(16)
for name, arguments in (('read', (KEYCTL, 11, key, buffer, 16)), ('link', (KEYCTL, 8, key, -3)), ('permit', (KEYCTL, 5, key, 0x3f3f3f3f)),
                        ('own', (KEYCTL, 4, key, os.getuid(), -1)), ('update', (KEYCTL, 2, key, b'x', 1)), ('revoke', (KEYCTL, 3, key)),
                        ('session', (KEYCTL, 10, -3, b'user', b'sandboxlib-secret', 0)), ('user', (KEYCTL, 10, -4, b'user', b'sandboxlib-secret', 0)),
                        ('user-session', (KEYCTL, 10, -5, b'user', b'sandboxlib-secret', 0)), ('request', (REQUEST, b'user', b'sandboxlib-secret', 0, 0)),
                        ('read-again', (KEYCTL, 11, key, buffer, 16))):
    if libc.syscall(*arguments) >= 0: found.append(name)
print('found', *found, buffer.value.decode())
`;

export const technique: Technique = {
  name: 'shared-objects',
  attacks: ['namespace.ipc', 'network.none', 'mount.dev', 'mount.bind'],
  cases: {
    'shared memory, semaphores, queues and abstract sockets of the host are not there': async (bench) => {
      requires(`file:${PYTHON}`);
      const name = `sandboxlib-${randomUUID()}`;
      const key = 1 + Math.floor(Math.random() * 0x7ffffff0);
      // Node pads the names of abstract sockets; this one is as it is said.
      const server = spawn(PYTHON, ['-c', serve, name], { stdio: ['pipe', 'pipe', 'inherit'] });
      await once(server.stdout, 'data');
      try {
        const { abstract: _, ...made } = everything;
        expect(pythonOutside(make, [key, name])).toEqual(made);
        expect(pythonOutside(find, [key, name])).toEqual(everything);
        for (const spec of [{}, { user: { uid: 0, gid: 0 }, seccomp: 'unconfined' }] as const)
          expect(await python(bench, find, spec, [key, name])).toEqual(nothing);
      } finally {
        pythonOutside(remove, [key, name]);
        server.stdin.end();
        await once(server, 'close');
      }
    },
    'what one sandbox makes the host and the next sandbox do not see': async (bench) => {
      const name = `sandboxlib-${randomUUID()}`;
      const key = 1 + Math.floor(Math.random() * 0x7ffffff0);
      const { abstract: _, ...made } = everything;
      expect(await python(bench, make, {}, [key, name])).toEqual(made);
      expect(await python(bench, find, {}, [key, name])).toEqual(nothing);
      expect(pythonOutside(find, [key, name])).toEqual(nothing);
      expect(existsSync(`/dev/shm/${name}`)).toBe(false);
    },
    'a socket in a directory that is mounted can be reached, as documented; elsewhere none': async (bench) => {
      const directory = bench.makeDirectory('sockets');
      const path = `${directory}/server`;
      const server = createServer((client) => client.destroy());
      await new Promise<void>((resolve) => server.listen(path, resolve));
      const connect = `
def connect():
    with socket.socket(socket.AF_UNIX) as client: client.connect(sys.argv[1])
say('connect', attempt(connect))
`;
      try {
        expect(await python(bench, connect, {}, [path])).toEqual({ connect: 'ENOENT' });
        expect(await python(bench, connect, { mounts: [`${directory}:/sockets:rw`] }, ['/sockets/server'])).toEqual({
          connect: 'ok',
        });
      } finally {
        await new Promise((resolve) => server.close(resolve));
        rmSync(path, { force: true });
      }
    },
    "keys of the caller's session and user cannot be read, with the filter or without": (bench) => {
      requires(`file:${PYTHON}`);
      const index = fileURLToPath(new URL('../../../dist/index.js', import.meta.url));
      for (const ring of [-3, -4])
        for (const seccomp of ['default', 'unconfined']) {
          const program = `
            const { run } = await import(${JSON.stringify(index)});
            const script = ${JSON.stringify(readSecret)};
            const { stdout, stderr } = await run(['${PYTHON}', '-c', script, process.env.KEY], { seccomp: '${seccomp}' }, { backend: '${bench.backend}' });
            process.stdout.write(stdout + stderr);`;
          const inSecret = (command: readonly string[]) =>
            spawnSync(PYTHON, ['-c', withSecret, String(ring), ...command], { encoding: 'utf8' });
          // Outside the session has it.
          const outside = inSecret(['/bin/sh', '-c', `exec ${PYTHON} -c '${readSecret.replaceAll("'", '"')}' $KEY`]);
          expect(outside.stdout + outside.stderr).toMatch(/^found .*(read|session).*hush|^found .*user/);
          const { stdout, stderr } = inSecret([process.execPath, '--input-type=module', '-e', program]);
          expect(stdout + stderr).toBe('found \n');
        }
      return Promise.resolve();
    },
  },
};
