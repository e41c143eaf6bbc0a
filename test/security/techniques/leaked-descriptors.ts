import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { requires } from '../../helpers/requires.ts';
import { index, inNode } from '../in-node.ts';
import type { Technique } from '../technique.ts';

const SECRET = 'the secret of the caller';

/** Becomes a program with secrets open and no O_CLOEXEC on them, as careless shells and service managers do. */
const withSecrets = `
import os, socket, sys
secret, directory = os.open(sys.argv[1], os.O_RDWR), os.open('/', os.O_RDONLY)
(a, b), (r, w) = socket.socketpair(), os.pipe()
sources = [os.dup2(fd, 2000 + index, inheritable=False) for index, fd in enumerate([secret, directory, a.fileno(), r, w])]
for index, target in enumerate(int(word) for word in sys.argv[2].split(',')): os.dup2(sources[index % 5], target, inheritable=True)
for target in (sys.argv[3].split(',') if sys.argv[3] else []): os.close(int(target))
os.execvp(sys.argv[4], sys.argv[4:])
`;

const NUMBERS = [...Array.from({ length: 21 }, (_, index) => index + 30), 63, 64, 100, 255, 256, 511, 900, 1022, 1023];

/** Of the command: what is open, and whether anything that is open holds the secret. */
const look = `for fd in $(ls /proc/self/fd); do readlink /proc/self/fd/$fd; done; cat <&30; cat <&40; ls /proc/self/fd/31/`;

export const technique: Technique = {
  name: 'leaked-descriptors',
  attacks: ['root.host', 'mount.proc', 'descriptors'],
  cases: {
    'descriptors that the caller inherited do not reach the command': async (bench) => {
      requires('command:python3');
      const secret = bench.makeFile('secret', SECRET, 0o666);
      const prefix = ['python3', '-I', '-c', withSecrets, secret, NUMBERS.join(','), ''];
      const script = `
        import { readdirSync } from 'node:fs';
        const own = readdirSync('/proc/self/fd').map(Number);
        const guest = [${JSON.stringify(bench.guestOutside)} + ':/guest:ro'];
        const fds = await run(['/guest', 'fds'], { mounts: guest });
        const extra = await run(['/guest', 'fds'], { mounts: guest }, { descriptors: { 7: 'pipe' } });
        const look = await run(['sh', '-c', ${JSON.stringify(look)}]);
        console.log(JSON.stringify({ own, fds: fds.stdout, extra: extra.stdout, look: look.stdout }));`;
      const { stdout, stderr } = inNode(script, { prefix });
      expect(stderr).toBe('');
      const seen = JSON.parse(stdout) as { own: number[]; fds: string; extra: string; look: string };
      // They are there, in the caller.
      expect(seen.own).toEqual(expect.arrayContaining(NUMBERS));
      expect(seen.fds).toBe('0\n1\n2\n');
      expect(seen.extra).toBe('0\n1\n2\n7\n');
      expect(seen.look).not.toContain(SECRET);
      expect(seen.look).not.toContain(bench.directory);
    },
    'nor do they by the launcher alone, started by any other spawner': async (bench) => {
      requires('command:python3');
      const secret = bench.makeFile('secret', SECRET, 0o666);
      const script = `
        import { spawnSync } from 'node:child_process';
        import { wrap } from ${JSON.stringify(index)};
        const wrapped = await wrap(['/guest', 'fds'], { mounts: [${JSON.stringify(bench.guestOutside)} + ':/guest:ro'] });
        const starter = ${JSON.stringify(withSecrets)};
        const args = ['-I', '-c', starter, ${JSON.stringify(secret)}, ${JSON.stringify(NUMBERS.join(','))}, ''];
        const { stdout, stderr } = spawnSync('python3', [...args, wrapped.file, ...wrapped.args], { env: { ...wrapped.env, PATH: process.env.PATH }, encoding: 'utf8' });
        console.log(JSON.stringify({ stdout, stderr }));`;
      const { stdout, stderr } = inNode(script);
      expect(stderr).toBe('');
      expect(JSON.parse(stdout)).toEqual({ stdout: '0\n1\n2\n', stderr: '' });
    },
    'a launcher that starts without 0, 1 and 2 puts nothing but /dev/null in their place': async (bench) => {
      requires('command:python3');
      const out = bench.makeDirectory('closed');
      const secret = bench.makeFile('secret', SECRET, 0o666);
      const look =
        'for fd in 0 1 2; do a="$a $(readlink /proc/$$/fd/$fd)"; done; echo "$a" > /out/$0; echo out; echo err >&2; cat';
      const sets = ['0', '1', '2', '0,1', '0,2', '1,2', '0,1,2'];
      const script = `
        import { spawnSync } from 'node:child_process';
        import { wrap } from ${JSON.stringify(index)};
        for (const closed of ${JSON.stringify(sets)}) {
          const wrapped = await wrap(['sh', '-c', ${JSON.stringify(look)}, closed], { mounts: [${JSON.stringify(`${out}:/out:rw`)}] });
          const args = ['-I', '-c', ${JSON.stringify(withSecrets)}, ${JSON.stringify(secret)}, '30', closed];
          const env = { ...wrapped.env, PATH: process.env.PATH };
          spawnSync('python3', [...args, wrapped.file, ...wrapped.args], { env, timeout: 20000 });
        }`;
      expect(inNode(script).stderr).toBe('');
      for (const closed of sets) {
        const targets = readFileSync(join(out, closed), 'utf8').trim().split(' ');
        const expected = [0, 1, 2].map((fd) =>
          closed.includes(String(fd)) ? '/dev/null' : expect.stringMatching(/^(pipe|socket):/),
        );
        expect(targets, closed).toEqual(expected);
      }
    },
  },
};
