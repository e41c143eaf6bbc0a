// The ways to the host that lead through /proc, through a working directory, and through descriptors of directories.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, copyFileSync, mkdirSync, openSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { LaunchError } from '../../../src/errors/errors.ts';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { allMountPoints } from '../../helpers/mount-points.ts';
import { requires } from '../../helpers/requires.ts';
import { inNode } from '../in-node.ts';
import { python, pythonOutside, successes } from '../python.ts';
import { lighter, needing, type Technique } from '../technique.ts';

/** Of an init of ours its socket and its own program are among these, whoever made the sandbox. */
const FEW = 6;
const SAME = 'the command starts from an init of ours, which has closed what it had open';

/** Looks for the file of the arguments by every way that starts at a link of the kernel's. */
const everyWay = `
path = sys.argv[1]
starts = ['', '/..', '/proc/1/root', '/proc/self/root', '/proc/self/root/../..', '/proc/thread-self/root', '/proc/1/cwd', '/proc/self/cwd', '/dev/fd/0/..']
starts += ['/proc/1/task/1/root', '/proc/%d/root' % os.getppid(), '/proc/%d/cwd' % os.getppid(), '/proc/0/root', '/proc/2/root']
for process in [name for name in os.listdir('/proc') if name.isdigit()]:
    starts += [f'/proc/{process}/root', f'/proc/{process}/cwd']
    try: starts += [f'/proc/{process}/fd/{name}' for name in os.listdir(f'/proc/{process}/fd')]
    except OSError: pass
    try: starts += [f'/proc/{process}/map_files/{name}' for name in os.listdir(f'/proc/{process}/map_files')]
    except OSError: pass
for start in starts:
    for up in ['', '/..', '/../' + '../' * 30]:
        say('read:' + start + up, attempt(lambda: os.close(os.open(start + up + path, os.O_RDONLY))))
cwd = os.getcwd()
say('cwd', 'no' if cwd.startswith('/') and os.path.samefile(cwd, '.') else 'ok')
for name in range(0, 1024):
    say(f'fchdir:{name}', attempt(lambda: os.fchdir(name)))
`;

export const technique: Technique = {
  name: 'proc-escape',
  attacks: ['root.host', 'mount.proc', 'namespace.pid', 'namespace.mount'],
  cases: {
    'no link of /proc, no descriptor and no working directory leads to a file of the host': async (bench) => {
      const secret = bench.makeFile('proc-secret', 'of the host');
      // The same script finds it at once where nothing is in between.
      expect(successes(pythonOutside(everyWay, [secret]))).toContain('read:/proc/self/root');
      for (const spec of bench.offered<SandboxSpec>([
        {},
        { user: { uid: 0, gid: 0 } },
        { seccomp: 'unconfined' },
        { user: { uid: 0, gid: 0 }, capabilities: ['CAP_SYS_CHROOT', 'CAP_DAC_READ_SEARCH', 'CAP_SYS_PTRACE'] },
      ])) {
        expect(successes(await python(bench, everyWay, spec, [secret])), JSON.stringify(spec)).toEqual([]);
      }
    },

    'a file handle opens no file of the host': async (bench) => {
      // open_by_handle_at(2) takes no path: with CAP_DAC_READ_SEARCH of the host it leaves any mount (the "shocker" of 2014).
      const scriptAt = (path: string): string => `
AT_FDCWD = -100
path = ${JSON.stringify(path)}.encode()
handle = (ctypes.c_ubyte * 136)()
ctypes.cast(handle, ctypes.POINTER(ctypes.c_uint))[0] = 128
mount = ctypes.c_int()
answer = call(number_of(303, 264), AT_FDCWD, path, handle, ctypes.byref(mount), 0)
fd = os.open(path, os.O_RDONLY)
say('open', call(number_of(304, 265), fd, handle, 0))
`;
      // overlayfs has no handles: where it is the root of this host, only a directory elsewhere shows anything.
      const place = bench.makeDirectory('handle');
      const capabilities = ['CAP_DAC_READ_SEARCH', 'CAP_DAC_OVERRIDE'];
      for (const spec of bench.offered<SandboxSpec>([
        {},
        { user: { uid: 0, gid: 0 } },
        { capabilities, user: { uid: 0, gid: 0 } },
        { capabilities, user: { uid: 0, gid: 0 }, mounts: [{ type: 'bind', source: place, destination: '/place' }] },
      ])) {
        const script = scriptAt(spec.mounts === undefined ? '/usr' : '/place');
        expect(successes(await python(bench, script, { ...spec, seccomp: 'unconfined' }))).toEqual([]);
      }
      if (process.getuid?.() === 0) expect(successes(pythonOutside(scriptAt(place)))).toEqual(['open']);
    },

    'a working directory of the caller that is outside stays outside': lighter(SAME, async (bench, share) => {
      // CVE-2024-21626 and its kin: a descriptor of a host directory, and a cwd that goes through it.
      const outside = bench.makeDirectory('cwd-outside');
      const before = process.cwd();
      const fd = openSync(outside, 'r');
      try {
        process.chdir(outside);
        expect(await bench.answer(['cwd'])).not.toContain('unreachable');
        const way =
          "fd = os.open(sys.argv[1], os.O_RDONLY)\nsay('chdir', attempt(lambda: os.chdir('/proc/self/fd/%d' % fd)))";
        expect(pythonOutside(way, [outside])).toEqual({ chdir: 'ok' });
        // The launcher's own descriptors at that moment are as good.
        for (const process_ of ['self', '1', 'thread-self']) {
          for (let number = 0; number < Math.max(FEW, share(48)); number++) {
            const cwd = `/proc/${process_}/fd/${number}`;
            const asked = run(bench.guest(['cwd']), bench.withGuest({ cwd }), bench.options({}));
            await expect(asked, cwd).rejects.toBeInstanceOf(LaunchError);
          }
        }
        for (const cwd of ['/proc/self/cwd', '/proc/self/root', '/proc/1/cwd', '/proc/1/root', '/proc/self/fd/../..']) {
          const where = await run(bench.guest(['cwd']), bench.withGuest({ cwd }), bench.options({})).then(
            ({ stdout }) => stdout as string,
            () => '/refused',
          );
          expect(where, cwd).toMatch(/^\//);
          expect(where, cwd).not.toContain(outside);
        }
      } finally {
        process.chdir(before);
        closeSync(fd);
      }
    }),

    'a root cannot lead its command out by links to descriptors': needing(
      ['root.path'],
      lighter(SAME, async (bench, share) => {
        const root = bench.makeDirectory('root-of-links');
        for (const name of [...allMountPoints, 'links']) mkdirSync(join(root, name), { recursive: true });
        copyFileSync(bench.guestOutside, join(root, 'guest'));
        copyFileSync(bench.guestOutside, join(bench.directory, 'program'));
        const count = Math.max(FEW, share(32));
        for (let number = 0; number < count; number++)
          symlinkSync(`/proc/self/fd/${number}`, join(root, 'links', String(number)));
        for (let number = 0; number < count; number++) {
          const link = `/links/${number}`;
          const asRoot = run(['/guest', 'cwd'], { root: { path: root }, cwd: link }, bench.options({}));
          await expect(asRoot, link).rejects.toBeInstanceOf(LaunchError);
          const program = [`${link}${bench.directory}/program`, 'cwd'];
          const byName = run(program, { root: { path: root }, cwd: '/' }, bench.options({}));
          await expect(byName, link).rejects.toBeInstanceOf(LaunchError);
        }
      }),
    ),

    'a working directory moved out of a mount from outside leads not to the host': async (bench) => {
      // Who moves a directory out of a bind mount while a process is in it gives that process a way up past the mount's root, unless the
      // kernel stops it there (path_resolution(7), since 4.2).
      const shown = bench.makeDirectory('moved/shown');
      mkdirSync(join(shown, 'inner'));
      const secret = bench.makeFile('moved/secret', 'of the host');
      const script = `
os.chdir('/mnt/shown/inner')
open('ready', 'w').close()
while True:
    try: os.stat('../inner')
    except OSError: break
    time.sleep(0.01)
for up in range(1, 40): say(f'read:{up}', attempt(lambda: os.close(os.open('../' * up + 'secret', os.O_RDONLY))))
say('cwd', attempt(lambda: os.close(os.open(os.readlink('/proc/self/cwd') + '/../secret', os.O_RDONLY))))
`;
      // PR_SET_PDEATHSIG: it waits for what may never come when the test process ends in the middle.
      const mover = `
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
shown, moved = sys.argv[1:3]
while not os.path.exists(shown + '/inner/ready'): time.sleep(0.01)
os.rename(shown + '/inner', moved)
`;
      requires('command:python3');
      const moving = spawn(
        'python3',
        ['-c', `import ctypes, os, signal, sys, time${mover}`, shown, join(dirname(shown), 'away')],
        {
          stdio: 'ignore',
        },
      );
      const moved = once(moving, 'close');
      const answers = await python(bench, script, { mounts: [`${shown}:/mnt/shown:rw`] });
      expect(await moved).toEqual([0, null]);
      expect(successes(answers)).toEqual([]);
      expect(statSync(secret).size).toBeGreaterThan(0);
    },

    'mounts that the host makes later are not there, nor those of the sandbox on the host': async (bench) => {
      requires('root', 'command:unshare');
      const shown = bench.makeDirectory('propagation');
      mkdirSync(join(shown, 'point'));
      // In a mount namespace of its own, with everything shared, as systemd has it: the host of this test.
      const script = `
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
const shown = ${JSON.stringify(shown)};
const look = 'print("ready", flush=True); input(); import os; print(os.listdir("/mnt/shown/point"), flush=True)';
const started = spawn(['/usr/bin/python3', '-c', look], { mounts: [shown + ':/mnt/shown:rw'] }, { stdin: 'pipe' });
const lines = started.lines()[Symbol.asyncIterator]();
await lines.next();
if (readFileSync('/proc/self/mountinfo', 'utf8').includes('/mnt/shown')) console.log('the mount of the sandbox is here');
console.log(spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', shown + '/point']).status);
spawnSync('touch', [shown + '/point/late']);
started.stdin.end('\\n');
console.log((await lines.next()).value);
await started.result;
`;
      const { stdout, stderr } = inNode(script, { prefix: ['unshare', '--mount', '--propagation', 'shared'] });
      expect(stderr).toBe('');
      expect(stdout).toBe('0\n[]\n');
    },
  },
};
