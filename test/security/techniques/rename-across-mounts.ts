// Two mounts of one file system: a name that goes from one to the other would take along what only one of them grants.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { python, pythonOutside, successes } from '../python.ts';
import type { Technique } from '../technique.ts';

/** From the first directory to the second, by every call that gives a file another name. Numbers of the calls: x64 and arm64. */
const carry = `
one, two = sys.argv[1:3]
AT_FDCWD, NOREPLACE, EXCHANGE, EMPTY_PATH, SYMLINK_FOLLOW = -100, 1, 2, 0x1000, 0x400
def rename2(old, new, flags): return call(number_of(316, 276), AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), flags)
say('exchange', rename2(one + '/file', two + '/other', EXCHANGE))
say('exchange-directories', rename2(one + '/dir', two + '/dir', EXCHANGE))
say('link', attempt(lambda: os.link(one + '/file', two + '/linked')))
fd = os.open(one + '/file', os.O_RDONLY)
say('link-descriptor', named('linkat', AT_FDCWD, b'/proc/self/fd/%d' % fd, AT_FDCWD, (two + '/by-fd').encode(), SYMLINK_FOLLOW))
try:
    unnamed = os.open(one, os.O_TMPFILE | os.O_WRONLY, 0o600)
    say('link-unnamed', named('linkat', AT_FDCWD, b'/proc/self/fd/%d' % unnamed, AT_FDCWD, (two + '/unnamed').encode(), SYMLINK_FOLLOW))
except OSError: pass
directories = [os.open(path, os.O_RDONLY) for path in (one, two)]
say('renameat', attempt(lambda: os.rename('file2', 'file2', src_dir_fd=directories[0], dst_dir_fd=directories[1])))
say('noreplace', rename2(one + '/file3', two + '/file3', NOREPLACE))
say('rename-directory', attempt(lambda: os.rename(one + '/full', two + '/full')))
say('rename', attempt(lambda: os.rename(one + '/file4', two + '/file4')))
`;

interface Place {
  readonly base: string;
  readonly one: string;
  readonly two: string;
}

function makePlace(bench: Bench, name: string): Place {
  const base = bench.makeDirectory(name);
  const [one, two] = [join(base, 'one'), join(base, 'two')];
  for (const path of [join(one, 'dir'), join(one, 'full'), join(two, 'dir')]) mkdirSync(path, { recursive: true });
  for (const file of ['file', 'file2', 'file3', 'file4', 'full/file']) writeFileSync(join(one, file), 'of one');
  writeFileSync(join(two, 'other'), 'of two');
  writeFileSync(join(base, 'beside'), 'of the host');
  return { base, one, two };
}

function names(base: string): string[] {
  return readdirSync(base, { recursive: true, encoding: 'utf8' }).sort();
}

export const technique: Technique = {
  name: 'rename-across-mounts',
  attacks: ['root.host', 'mount.bind', 'workspace'],
  cases: {
    'nothing gets from one mount to another but by copying': async (bench) => {
      const { base, one, two } = makePlace(bench, 'across');
      const before = names(base);
      const mounts = [`${one}:/mnt/one:rw`, `${two}:/mnt/two:rw`];
      for (const spec of [
        { mounts },
        { mounts, user: { uid: 0, gid: 0 }, seccomp: 'unconfined' },
      ] satisfies SandboxSpec[]) {
        const answers = await python(bench, carry, spec, ['/mnt/one', '/mnt/two']);
        expect(Object.keys(answers).length).toBeGreaterThanOrEqual(8);
        expect(new Set(Object.values(answers))).toEqual(new Set(['EXDEV']));
      }
      expect(names(base)).toEqual(before);
      // Without a mount in between all of it goes.
      const outside = makePlace(bench, 'across-outside');
      const { 'link-unnamed': _, ...answers } = pythonOutside(carry, [outside.one, outside.two]);
      expect(new Set(Object.values(answers))).toEqual(new Set(['ok']));
    },
    'what is read-only by one mount stays so, however it is named by another': async (bench) => {
      const { base, one } = makePlace(bench, 'twice');
      const script = `
def overwrite(path):
    with open(path, 'w') as file: file.write('theirs')
for what, act in (
    ('link', lambda: os.link('/mnt/one/file', '/mnt/base/linked')),
    ('rename', lambda: os.rename('/mnt/one/file', '/mnt/base/moved')),
    ('rename-into', lambda: os.rename('/mnt/base/beside', '/mnt/one/beside')),
    ('write', lambda: overwrite('/mnt/one/file')),
    ('mount-point', lambda: os.rename('/mnt/base/one', '/mnt/base/away')),
    ('replace', lambda: os.rename('/mnt/base/two', '/mnt/base/one')),
    ('remove', lambda: os.rmdir('/mnt/base/one')),
    ('write-below', lambda: overwrite('/mnt/base/one/file')),
    ('link-below', lambda: os.link('/mnt/base/one/file', '/mnt/base/linked')),
): say(what, attempt(act))
`;
      // The directory that is granted holds one that is not.
      const spec: SandboxSpec = { mounts: [`${base}:/mnt/base:rw`, `${one}:/mnt/base/one:ro`, `${one}:/mnt/one:ro`] };
      expect(successes(await python(bench, script, spec))).toEqual([]);
      expect(readFileSync(join(one, 'file'), 'utf8')).toBe('of one');
      expect(names(base)).toContain('one/full/file');
    },
    'a directory is not carried past the root of its mount': async (bench) => {
      const { base, one } = makePlace(bench, 'past');
      // Who moves the directory in which another process stands could take that process along.
      const script = `
os.mkdir('/mnt/one/dir/deep')
os.chdir('/mnt/one/dir/deep')
for target in ('/mnt', '/tmp', '/', os.environ['HOME']):
    say('rename:' + target, attempt(lambda: os.rename('/mnt/one/dir', target + '/dir')))
    say('up:' + target, attempt(lambda: os.rename('../../../..' + target, 'x')))
for up in range(1, 24): say('beside:%d' % up, attempt(lambda: os.close(os.open('../' * up + 'beside', os.O_RDONLY))))
`;
      expect(successes(await python(bench, script, { mounts: [`${one}:/mnt/one:rw`] }))).toEqual([]);
      expect(readFileSync(join(base, 'beside'), 'utf8')).toBe('of the host');
    },
    'a workspace and a mount inside it are two': async (bench) => {
      const { base, one } = makePlace(bench, 'within');
      const spec: SandboxSpec = { workspace: base, mounts: [`${one}:${one}:ro`] };
      const script = `
os.chdir(sys.argv[1])
say('out', attempt(lambda: os.rename('one/file', 'file')))
say('link', attempt(lambda: os.link('one/file', 'file')))
say('away', attempt(lambda: os.rename('one', 'away')))
say('workspace', attempt(lambda: os.rename(sys.argv[1], sys.argv[1] + '-away')))
say('own', 'no' if attempt(lambda: os.rename('two/other', 'two/same')) == 'ok' else 'ok')
`;
      expect(successes(await python(bench, script, spec, [base]))).toEqual([]);
    },
  },
};
