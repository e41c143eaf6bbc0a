// A view of a directory that the command may change: the directory lies below, what is changed lies above, and neither is to be reached but by the view.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { python, pythonResult } from '../python.ts';
import { needing, type Technique } from '../technique.ts';

/** By every call that changes a file, its name or what is known of it. */
const change = `
import mmap, fcntl
os.chdir('/view')
def overwrite(path, flags=os.O_WRONLY):
    fd = os.open(path, flags)
    try: os.write(fd, b'theirs')
    finally: os.close(fd)
def map_shared(path):
    with open(path, 'r+b') as file:
        with mmap.mmap(file.fileno(), 0) as memory:
            memory[0:3] = b'xxx'
            memory.flush()
def early(path):
    # Opened to read before there is a copy to write to, and written to by what the descriptor leads to.
    reader = os.open(path, os.O_RDONLY)
    overwrite('/proc/self/fd/%d' % reader)
def unnamed():
    fd = os.open('.', os.O_TMPFILE | os.O_WRONLY, 0o600)
    os.write(fd, b'x')
    AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
    answer = named('linkat', AT_FDCWD, b'/proc/self/fd/%d' % fd, AT_FDCWD, b'linked', AT_SYMLINK_FOLLOW)
    if answer != 'ok': raise OSError(getattr(errno, answer), answer)
for what, act in (
    ('write', lambda: overwrite('a')),
    ('append', lambda: overwrite('b', os.O_WRONLY | os.O_APPEND)),
    ('truncate', lambda: os.truncate('c', 0)),
    ('map', lambda: map_shared('d')),
    ('early', lambda: early('e')),
    ('punch', lambda: os.posix_fallocate(os.open('f', os.O_RDWR), 0, 1 << 16)),
    ('mode', lambda: os.chmod('g', 0o600)),
    ('times', lambda: os.utime('h', (1, 1))),
    ('attribute', lambda: os.setxattr('i', 'user.mine', b'x')),
    ('rename', lambda: os.rename('j', 'a-new-name')),
    ('over', lambda: os.replace('k', 'l')),
    ('remove', lambda: os.unlink('m')),
    ('link', lambda: os.link('n', 'hard')),
    ('write-linked', lambda: overwrite('hard')),
    ('unnamed', unnamed),
    ('by-link', lambda: overwrite('link')),
    ('tree', lambda: [os.unlink('tree/deep/file'), os.rmdir('tree/deep'), os.rmdir('tree'), os.mkdir('tree')]),
    ('top', lambda: os.chmod('.', 0o700)),
): say(what, attempt(act))
`;

const files = [...'abcdefghijklmn'];

function project(bench: Bench, name: string): string {
  const directory = bench.makeDirectory(`view-${name}`);
  mkdirSync(join(directory, 'tree/deep'), { recursive: true });
  for (const file of [...files, 'tree/deep/file']) writeFileSync(join(directory, file), `content of ${file}`);
  symlinkSync('a', join(directory, 'link'));
  return directory;
}

function view(source: string, more: SandboxSpec = {}): SandboxSpec {
  return { ...more, mounts: [{ type: 'overlay', source, destination: '/view' }] };
}

/** The tree of the one layer that there is. */
function layersOf({ cacheDirectory }: Bench): string {
  const stores = join(cacheDirectory, 'sandboxlib/images');
  const [store = ''] = readdirSync(stores);
  const [layer = ''] = readdirSync(join(stores, store, 'layers'));
  return join(stores, store, 'layers', layer, 'tree');
}

/** Of all that is there: what it holds, and when anything about it was changed last. */
function fingerprint(directory: string): string {
  const hash = createHash('sha256');
  for (const name of ['', ...readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()]) {
    const path = join(directory, name);
    const status = lstatSync(path, { bigint: true });
    hash.update(`${name} ${status.mode} ${status.uid} ${status.size} ${status.mtimeNs} ${status.ctimeNs}\0`);
    if (status.isFile()) hash.update(readFileSync(path));
  }
  return hash.digest('hex');
}

export const technique: Technique = {
  name: 'past-a-view',
  attacks: ['mount.overlay'],
  cases: {
    'nothing that is done to a view reaches the directory': async (bench) => {
      const directory = project(bench, 'changed');
      const before = fingerprint(directory);
      for (const more of [{}, { user: { uid: 0, gid: 0 }, seccomp: 'unconfined' }] satisfies SandboxSpec[]) {
        const answers = await python(bench, change, view(directory, more));
        expect(Object.entries(answers).filter(([, answer]) => answer !== 'ok')).toEqual([]);
        expect(Object.keys(answers)).toHaveLength(18);
        expect(fingerprint(directory)).toBe(before);
      }
    },
    'nothing that is done to an image reaches its layers, which others have too': needing(
      ['mount.image'],
      async (bench) => {
        const directory = project(bench, 'image');
        const source = join(bench.directory, 'image.tar');
        execFileSync('tar', ['-C', directory, '-cf', source, '.']);
        const spec: SandboxSpec = { mounts: [{ type: 'image', source, destination: '/view', readonly: false }] };
        await python(bench, "say('there', attempt(lambda: os.stat('/view/a')))", spec);
        const before = fingerprint(layersOf(bench));
        for (const more of [{}, { user: { uid: 0, gid: 0 }, seccomp: 'unconfined' }] satisfies SandboxSpec[]) {
          const answers = await python(bench, change, { ...spec, ...more });
          expect(Object.entries(answers).filter(([, answer]) => answer !== 'ok')).toEqual([]);
          expect(fingerprint(layersOf(bench))).toBe(before);
        }
      },
    ),
    'neither layer is to be found anywhere': async (bench) => {
      const directory = project(bench, 'found');
      const script = `
name = 'sandboxlib-mark-of-this-run'
with open('/view/' + name, 'w') as file: file.write('x')
found = []
for top, directories, names in os.walk('/', onerror=lambda error: None):
    if top == '/': directories.remove('proc')
    if name in names: found.append(top)
say('found', 'ok' if found == ['/view'] else repr(found))
for pid in [entry for entry in os.listdir('/proc') if entry.isdigit() and int(entry) != os.getpid()]:
    # Which descriptors init has root may see; where they lead nobody.
    numbers = []
    attempt(lambda: numbers.extend(os.listdir('/proc/%s/fd' % pid)))
    for number in numbers + ['3', '4', '5']:
        say('link:' + number, attempt(lambda: os.readlink('/proc/%s/fd/%s' % (pid, number))))
        say('open:' + number, attempt(lambda: os.close(os.open('/proc/%s/fd/%s' % (pid, number), os.O_RDONLY))))
    say('root:' + pid, attempt(lambda: os.listdir('/proc/%s/root/view' % pid)))
`;
      const { found, ...others } = await python(bench, script, view(directory));
      expect(found).toBe('ok');
      expect(Object.values(others).filter((answer) => answer === 'ok')).toEqual([]);
    },
    'what overlayfs remembers by cannot be forged': async (bench) => {
      const directory = project(bench, 'forged');
      const script = `
import stat
os.chdir('/view')
say('whiteout', attempt(lambda: os.mknod('new', stat.S_IFCHR | 0o600, 0)))
for name in ('user.overlay.opaque', 'user.overlay.whiteout', 'user.overlay.redirect', 'user.overlay.metacopy', 'user.overlay.origin', 'trusted.overlay.opaque', 'trusted.overlay.redirect'):
    value = b'/../../../../etc' if name.endswith('redirect') else b'y'
    say(name, attempt(lambda: os.setxattr('tree', name, value)))
say('below', 'no' if os.listdir('tree') == ['deep'] and os.path.exists('tree/deep/file') else 'ok')
say('new', 'ok' if os.path.exists('new') else 'no')
`;
      // Where the kernel lets somebody set one it is an attribute of the view, and says nothing to overlayfs (6.7).
      const { whiteout, below, new: made } = await python(bench, script, view(directory));
      expect([whiteout, below, made]).toEqual([expect.stringMatching(/^E/), 'no', 'no']);
    },
    'two sandboxes with a view of one directory do not meet': async (bench) => {
      const directory = project(bench, 'shared');
      const script = `
import time
mine, other = sys.argv[1:3]
open('/view/' + mine, 'w').close()
with open('/view/a', 'w') as file: file.write(mine)
for _ in range(20):
    if os.path.exists('/view/' + other) or open('/view/a').read() != mine: say('met', 'ok')
    time.sleep(0.02)
say('done', 'yes')
`;
      const answers = await Promise.all([
        python(bench, script, view(directory), ['one', 'two']),
        python(bench, script, view(directory), ['two', 'one']),
      ]);
      expect(answers).toEqual([{ done: 'yes' }, { done: 'yes' }]);
    },
    'a directory with other file systems in it is no source': async (bench) => {
      await expect(bench.run(['true'], view('/'))).rejects.toMatchObject({
        code: 'SBX_SPEC_INVALID',
        message: expect.stringContaining('other file systems are mounted in it'),
      });
    },
    'a file that was changed is told as such, whatever was done to hide it': needing(
      ['changes.capture'],
      async (bench) => {
        const directory = project(bench, 'hidden');
        const script = `
os.chdir('/view')
before = os.stat('a')
with open('a', 'r+b') as file: file.write(b'CONTENT')
os.utime('a', ns=(before.st_atime_ns, before.st_mtime_ns))
os.chmod('a', before.st_mode & 0o7777)
os.rename('b', 'b-away'); os.rename('b-away', 'b')
say('done', 'yes')
`;
        const spec: SandboxSpec = {
          mounts: [{ type: 'overlay', source: directory, destination: '/view', changes: 'capture' }],
        };
        const { changes } = await pythonResult(bench, script, spec);
        const found = changes?.entries.map(({ kind, path }) => [kind, path]);
        await changes?.discard();
        expect(found).toEqual([['modified', '/view/a']]);
      },
    ),
  },
};
