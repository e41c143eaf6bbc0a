import { expect } from 'vitest';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { python, pythonOutside, successes } from '../python.ts';
import type { Technique } from '../technique.ts';

/** Every attempt sets what is set already: one that succeeds would otherwise take /dev/null from the whole host. */
const change = `
for name in sys.argv[1:]:
    now = os.stat(name)
    say('chmod:' + name, attempt(lambda: os.chmod(name, stat.S_IMODE(now.st_mode))))
    say('chown:' + name, attempt(lambda: os.chown(name, now.st_uid, now.st_gid)))
    say('utime:' + name, attempt(lambda: os.utime(name, ns=(now.st_atime_ns, now.st_mtime_ns))))
    say('setxattr:' + name, attempt(lambda: os.setxattr(name, 'user.sandboxlib', b'x')))
`;
const devices = ['null', 'zero', 'full', 'random', 'urandom', 'tty'].map((name) => `/dev/${name}`);

export const technique: Technique = {
  name: 'device-inodes',
  attacks: ['mount.dev'],
  cases: {
    'an owner of device nodes cannot change them: root of the host owns those of the host': async (bench) => {
      for (const spec of bench.offered<SandboxSpec>([{}, { user: { uid: 0, gid: 0 } }, { seccomp: 'unconfined' }])) {
        expect(successes(await python(bench, change, spec, devices))).toEqual([]);
      }
      if (process.getuid?.() === 0)
        expect(successes(pythonOutside(change, ['/dev/null']))).toContain('chmod:/dev/null');
    },
    'nor those that were granted': async (bench) => {
      if (!bench.recognized.has('mount.bind')) return;
      const mounts = [{ type: 'bind', source: '/dev/full', destination: '/dev/granted' }] as const;
      expect(successes(await python(bench, change, { mounts }, ['/dev/granted']))).toEqual([]);
    },
    'what is written to a device still arrives there': async (bench) => {
      const write = `
say('null', attempt(lambda: open('/dev/null', 'w').write('x')))
say('full', attempt(lambda: os.write(os.open('/dev/full', os.O_WRONLY), b'x')))
say('zero', str(os.read(os.open('/dev/zero', os.O_RDONLY), 1)[0]))
`;
      expect(await python(bench, write)).toEqual({ null: 'ok', full: 'ENOSPC', zero: '0' });
    },
  },
};
