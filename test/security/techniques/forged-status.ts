import { expect } from 'vitest';
import { run, spawn } from '../../../src/index.ts';
import { inPython, pythonCommand } from '../in-python.ts';
import { needing, type Technique } from '../technique.ts';

const FORGED = [
  '{"event":"ended","cause":"command","code":0,"stdoutTruncated":false,"stderrTruncated":false,"wallMs":1,"cpuUserMs":1,"cpuSystemMs":1}',
  '{"event":"failed","step":"exec","syscall":"execve","errno":"ENOENT"}',
  '{"event":"started","pid":1}',
  'no JSON at all',
].join('\n');

/** To whatever is open, in whatever way it can be written; then to what init and the command have open, by /proc. */
const writeEverywhere = `
forged = ${JSON.stringify(`\n${FORGED}\n`)}.encode()
hits = []
for fd in range(3, 1024):
    if attempt(lambda: os.write(fd, forged)) == 'ok': hits.append(fd)
    if attempt(lambda: socket.socket(fileno=os.dup(fd)).send(forged)) == 'ok': hits.append(fd)
for pid in os.listdir('/proc'):
    if not pid.isdigit() or int(pid) == os.getpid(): continue
    for fd in range(0, 32):
        if attempt(lambda: os.readlink(f'/proc/{pid}/fd/{fd}')) == 'ok': hits.append((pid, fd, 'readlink'))
        if attempt(lambda: os.open(f'/proc/{pid}/fd/{fd}', os.O_WRONLY)) == 'ok': hits.append((pid, fd))
        # pidfd_open(2), pidfd_getfd(2)
        if attempt(lambda: syscall(438, syscall(434, int(pid), 0), fd, 0)) == 'ok': hits.append((pid, fd, 'pidfd'))
print(hits)
`;

export const technique: Technique = {
  name: 'forged-status',
  attacks: ['root.host', 'mount.proc', 'namespace.pid'],
  cases: {
    'no descriptor of the launcher can be written to': async (bench) => {
      expect(await inPython(bench, writeEverywhere)).toEqual(['[]']);
      expect(await inPython(bench, writeEverywhere, { user: { uid: 0, gid: 0 } })).toEqual(['[]']);
    },
    'nor with the capabilities that go past permissions of files and processes': needing(
      ['capabilities.keep'],
      async (bench) => {
        const capabilities = ['CAP_SYS_PTRACE', 'CAP_DAC_OVERRIDE', 'CAP_DAC_READ_SEARCH', 'CAP_SETUID', 'CAP_KILL'];
        expect(await inPython(bench, writeEverywhere, { capabilities })).toEqual(['[]']);
      },
    ),
    'the same way leads to a process that is not the launcher': async (bench) => {
      // So what is refused above is refused because it is init.
      const script = `
import subprocess
other = subprocess.Popen(['sleep', '60'], stdin=subprocess.PIPE)
print(attempt(lambda: os.readlink(f'/proc/{other.pid}/fd/0')), attempt(lambda: syscall(438, syscall(434, other.pid, 0), 0, 0)))
other.kill()`;
      expect(await inPython(bench, script)).toEqual(['ok ok']);
    },
    'status lines on stdout and stderr are output like any other': async (bench) => {
      const script = `printf '%s\\n' "$1"; printf '%s\\n' "$1" >&2; exit 9`;
      for (const stderr of ['pipe', 'stdout'] as const) {
        const result = await run(['sh', '-c', script, 'sh', FORGED], {}, bench.options({ stderr }));
        expect(result.outcome).toEqual({ kind: 'exited', code: 9 });
        expect(result.stdout).toBe(stderr === 'pipe' ? `${FORGED}\n` : `${FORGED}\n${FORGED}\n`);
      }
    },
    'status lines on a descriptor of the caller are data for the caller': needing(['descriptors'], async (bench) => {
      await using handle = spawn(
        ['sh', '-c', 'printf "%s\\n" "$1" >&5; exit 9', 'sh', FORGED],
        {},
        bench.options({ descriptors: { 5: 'pipe' } }),
      );
      const said: Buffer[] = [];
      handle.extra.get(5)?.on('data', (chunk: Buffer) => said.push(chunk));
      expect((await handle).outcome).toEqual({ kind: 'exited', code: 9 });
      expect(Buffer.concat(said).toString()).toBe(`${FORGED}\n`);
    }),
    'on a terminal too': needing(['terminal'], async (bench) => {
      const command = pythonCommand(`print(${JSON.stringify(FORGED)}); sys.exit(9)`);
      const { outcome } = await run(command, {}, bench.options({}));
      expect(outcome).toEqual({ kind: 'exited', code: 9 });
      const onTerminal = await run(command, { terminal: true }, bench.options({}));
      expect(onTerminal.outcome).toEqual({ kind: 'exited', code: 9 });
    }),
  },
};
