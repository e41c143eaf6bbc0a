import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { requires } from '../../helpers/requires.ts';
import { PYTHON } from '../python.ts';
import type { Technique } from '../technique.ts';

const index = fileURLToPath(new URL('../../../dist/index.js', import.meta.url));

/** Runs its arguments on a new terminal that is theirs to control, then tells what they said and what would be read from the terminal next. */
const onTerminal = `
import os, pty, select, sys, termios, time
child, master = pty.fork()
if child == 0:
    attributes = termios.tcgetattr(0)
    attributes[3] &= ~termios.ECHO & ~termios.ICANON
    termios.tcsetattr(0, termios.TCSANOW, attributes)
    inner = os.spawnv(os.P_WAIT, sys.argv[1], sys.argv[1:])
    said = b''
    while select.select([0], [], [], 0.1)[0]: said += os.read(0, 100)
    print('typed [%s]' % said.decode(), flush=True)
    os._exit(0)
output = b''
while True:
    try: got = os.read(master, 4096)
    except OSError: break
    if not got: break
    output += got
os.waitpid(child, 0)
sys.stdout.write(output.decode())
`;

/** Types one letter into whatever terminal it has, by each way there is. */
const inject = `
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
letters = iter('abcdefghijkl')
for request in (0x5412, 0x5412 | 1 << 32, 0x5412 | -1 << 32):
    libc.ioctl(0, ctypes.c_ulong(request), ctypes.c_char_p(next(letters).encode()))
libc.ioctl(0, 0x541C, ctypes.c_char_p(bytes([3])))
for path in ('/dev/tty', '/proc/self/fd/0', '/dev/pts/0', '/dev/console'):
    try: file = os.open(path, os.O_RDWR)
    except OSError: continue
    libc.ioctl(file, ctypes.c_ulong(0x5412), ctypes.c_char_p(next(letters).encode()))
# To take the terminal as its own, or to put another process in front.
libc.ioctl(0, 0x540E, 1)
libc.ioctl(0, ctypes.c_ulong(0x5412), b'z')
print('tried', flush=True)
`;

export const technique: Technique = {
  name: 'terminal-injection',
  attacks: ['seccomp.default', 'mount.proc'],
  cases: {
    'nothing can be typed into the terminal of the caller, with the filter or without': (bench) => {
      requires(`file:${PYTHON}`);
      const on = (command: readonly string[]) =>
        spawnSync(PYTHON, ['-c', onTerminal, ...command], { encoding: 'utf8' }).stdout;
      for (const seccomp of ['default', 'unconfined']) {
        const program = `
          const { run } = await import(${JSON.stringify(index)});
          const script = ${JSON.stringify(inject)};
          await run(['${PYTHON}', '-c', script], { seccomp: '${seccomp}' }, { backend: '${bench.backend}', stdin: 'inherit', stdout: 'inherit', stderr: 'inherit' });`;
        const said = on([process.execPath, '--input-type=module', '-e', program]);
        expect(said).toContain('tried');
        expect(said).toContain('typed []');
      }
      return Promise.resolve();
    },
    'outside the same types': () => {
      // Root may, whatever the setting dev.tty.legacy_tiocsti.
      requires(`file:${PYTHON}`, 'root');
      const said = spawnSync(PYTHON, ['-c', onTerminal, PYTHON, '-c', inject], { encoding: 'utf8' }).stdout;
      expect(said).toContain('tried');
      expect(said).toMatch(/typed \[a/);
      return Promise.resolve();
    },
  },
};
