// A program that knows what Landlock leaves to it, and looks for a way past: by another name of the file, by another call, by a process that is not
// restricted, by a connection that is none by name.
import { chmodSync, existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { LandlockSpec, SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { inPython } from '../in-python.ts';
import { needing, type Technique } from '../technique.ts';

/** What the interpreter needs, on a merged /usr and elsewhere. */
function python(): NonNullable<LandlockSpec['paths']> {
  const libraries = ['/lib', '/lib64', '/bin'].filter((path) => existsSync(path)).map((path) => realpathSync(path));
  return { '/usr': 'rox', ...Object.fromEntries(libraries.map((path) => [path, 'rox'] as const)), '/proc': 'ro' };
}

/** Two directories of the host: one that may be read, one that may be written. */
function placed(bench: Bench): { outside: string; readable: string; writable: string; spec: SandboxSpec } {
  const outside = bench.makeDirectory('landlock');
  for (const name of ['readable', 'writable']) {
    mkdirSync(join(outside, name), { recursive: true });
    chmodSync(join(outside, name), 0o777);
  }
  writeFileSync(join(outside, 'readable/file'), 'content');
  writeFileSync(join(outside, 'readable/program'), '#!/bin/sh\n');
  for (const name of ['file', 'program']) chmodSync(join(outside, 'readable', name), 0o777);
  const inside = bench.hasMounts ? bench.inside(outside) : outside;
  const [readable, writable] = [`${inside}/readable`, `${inside}/writable`];
  const paths = { ...python(), [readable]: 'ro', [writable]: 'rw' } as const;
  return { outside, readable, writable, spec: { landlock: { paths }, mounts: bench.mountsFor(outside, 'rw') } };
}

const names = (readable: string, writable: string): string => `
readable, writable = ${JSON.stringify(readable)}, ${JSON.stringify(writable)}
file = readable + '/file'
`;

export const technique: Technique = {
  name: 'past-landlock',
  // The programs of the host, /proc among them, can be shown only where mounts are the sandbox's own.
  attacks: ['landlock.paths', 'namespace.mount'],
  cases: {
    'what may only be read is not changed, by no call and under no other name': async (bench) => {
      const { outside, readable, writable, spec } = placed(bench);
      const said = await inPython(
        bench,
        `${names(readable, writable)}
def reopen(flags):
    place = os.open(file, os.O_PATH)
    return os.open('/proc/self/fd/%d' % place, flags)
def by_directory():
    os.chdir(readable)
    return os.open('file', os.O_WRONLY)
def temporary():
    made = os.open(readable, os.O_TMPFILE | os.O_RDWR, 0o600)
def server():
    socket.socket(socket.AF_UNIX).bind(readable + '/socket')
calls = [
    lambda: os.open(file, os.O_WRONLY), lambda: os.open(file, os.O_RDWR), lambda: os.open(file, os.O_WRONLY | os.O_APPEND),
    lambda: os.open(file, os.O_RDONLY | os.O_TRUNC), lambda: os.truncate(file, 0),
    lambda: reopen(os.O_WRONLY), by_directory, temporary, server,
    lambda: os.open('/proc/self/root' + file, os.O_WRONLY), lambda: os.open('/proc/self/cwd/file', os.O_WRONLY),
    lambda: os.unlink(file), lambda: os.mkdir(readable + '/d'), lambda: os.symlink('x', readable + '/l'), lambda: os.mkfifo(readable + '/p'),
    lambda: os.rename(file, readable + '/other'), lambda: os.execv(readable + '/program', ['program']),
]
print(' '.join(attempt(call) for call in calls))
# Into a directory that may be written: the name would bring other rights along.
print(attempt(lambda: os.rename(file, writable + '/file')), attempt(lambda: os.link(file, writable + '/file')))
print(attempt(lambda: os.close(os.open(writable + '/new', os.O_WRONLY | os.O_CREAT))), attempt(lambda: os.truncate(writable + '/new', 1)))
print(open(file).read())
`,
        spec,
      );
      const [denied = '', moved, written, content] = said;
      expect(denied.split(' ')).toEqual(Array.from({ length: 17 }, () => 'EACCES'));
      expect(moved).toMatch(/^(EACCES|EXDEV) (EACCES|EXDEV)$/);
      expect([written, content]).toEqual(['ok ok', 'content']);
      expect(readFileSync(join(outside, 'readable/file'), 'utf8')).toBe('content');
    },

    'no child, thread, execve or rule of its own sheds it': async (bench) => {
      const { readable, writable, spec } = placed(bench);
      const said = await inPython(
        bench,
        `${names(readable, writable)}
import struct, subprocess, threading
# landlock_create_ruleset, landlock_add_rule, landlock_restrict_self: a layer that allows everything
def allow_all():
    rights = (1 << 15) - 1
    ruleset = syscall(444, struct.pack('QQQ', rights, 0, 0), 24, 0)
    top = os.open('/', os.O_PATH)
    syscall(445, ruleset, 1, struct.pack('=Qi', rights, top), 0)
    syscall(446, ruleset, 0)
def write():
    os.close(os.open(file, os.O_WRONLY))
found = [attempt(write)]
thread = threading.Thread(target=lambda: found.append(attempt(write)))
thread.start()
thread.join()
child = os.fork()
if child == 0: os._exit(0 if attempt(write) == 'EACCES' else 1)
found.append(os.waitpid(child, 0)[1])
again = 'import os\\ntry: os.open(%r, os.O_WRONLY)\\nexcept PermissionError: print("EACCES")' % file
found.append(subprocess.run([sys.executable, '-I', '-c', again], capture_output=True, text=True).stdout.strip())
found += [attempt(allow_all), attempt(write)]
print(*found)
`,
        { ...spec, seccomp: 'unconfined' },
      );
      expect(said).toEqual(['EACCES EACCES 0 EACCES ok EACCES']);
    },

    'no other protocol, family or flag makes a connection to a port': needing(
      ['landlock.tcp', 'network.host'],
      async (bench) => {
        const connected: string[] = [];
        const server = createServer((socket) => {
          connected.push('connected');
          // What came with it may lie unread, and would keep the server from closing.
          socket.destroy();
        });
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
        const { port } = server.address() as AddressInfo;
        try {
          for (const seccomp of ['default', 'unconfined'] as const) {
            const said = await inPython(
              bench,
              `
there = ('127.0.0.1', ${port})
MPTCP, FAST_OPEN, SMC, ULP, FAST_CONNECT = 262, 0x20000000, 43, 31, 30
def tcp(family=socket.AF_INET, protocol=0): return socket.socket(family, socket.SOCK_STREAM, protocol)
def late():
    client = tcp()
    client.setsockopt(socket.IPPROTO_TCP, FAST_CONNECT, 1)
    client.connect(there)
    client.send(b'x')
def ulp():
    client = tcp()
    client.setsockopt(socket.IPPROTO_TCP, ULP, b'smc')
    client.connect(there)
calls = [
    lambda: tcp().connect(there), lambda: tcp(socket.AF_INET6).connect(('::ffff:127.0.0.1', ${port})),
    lambda: tcp().sendto(b'x', FAST_OPEN, there), lambda: tcp().sendmsg([b'x'], [], FAST_OPEN, there), late,
    lambda: tcp(protocol=MPTCP).connect(there), lambda: syscall(41 if sys.maxsize and os.uname().machine == 'x86_64' else 198, 2, 1, (1 << 32) + MPTCP),
    lambda: tcp(SMC).connect(there), ulp, lambda: syscall(425, 8, ctypes.create_string_buffer(512)),
]
print(*[attempt(call) for call in calls])
`,
              { network: 'host', seccomp, landlock: { connectTcp: [], bindTcp: [] } },
            );
            const errors = (said[0] ?? '').split(' ');
            expect(errors, seccomp).toHaveLength(10);
            expect(errors, seccomp).not.toContain('ok');
          }
          expect(connected).toEqual([]);
        } finally {
          await new Promise((resolve) => server.close(resolve));
        }
      },
    ),

    'no call sends a signal out of the scope': needing(['landlock.scopes'], async (bench) => {
      const said = await inPython(
        bench,
        `
import signal
parent = os.getppid()
calls = [lambda: os.kill(parent, 0), lambda: os.kill(parent, signal.SIGURG), lambda: signal.pidfd_send_signal(os.pidfd_open(parent), signal.SIGURG)]
print(*[attempt(call) for call in calls])
# Its own children are within.
child = os.fork()
if child == 0:
    signal.pause()
print(attempt(lambda: os.kill(child, signal.SIGKILL)), os.waitpid(child, 0)[1])
`,
        { landlock: { scopes: ['signal'] } },
      );
      expect(said[0]).toBe('EPERM EPERM EPERM');
      expect(said[1]).toBe('ok 9');
    }),
  },
};
