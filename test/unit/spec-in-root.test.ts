import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { nodeSpecHost } from '../../src/spec/host.ts';
import { resolveInRoot } from '../../src/spec/in-root.ts';
import { normalize } from '../../src/spec/normalize.ts';
import { MemoryHost, type Node } from '../helpers/memory-host.ts';

const tree = {
  etc: { passwd: 'host secret' },
  jail: {
    a: { b: { c: 'text' }, up: '->../../../../etc/passwd', dotdot: '->..' },
    abs: '->/a/b',
    chain: '->abs/c',
    dangling: '->/nowhere/x',
    etc: { passwd: 'inside' },
    fifo: '!FIFO',
    gone: '->nowhere/../etc',
    loop: '->loop',
    out: '->../../etc/passwd',
  },
};

describe('a path inside a root directory', () => {
  const host = new MemoryHost({ tree });
  const resolve = (path: string) => resolveInRoot(host, '/jail', path);

  test.each([
    ['/a/b', '/a/b', 'directory'],
    ['/', '/', 'directory'],
    ['/a//./b/', '/a/b', 'directory'],
    ['/abs', '/a/b', 'directory'],
    ['/abs/c', '/a/b/c', 'file'],
    ['/chain', '/a/b/c', 'file'],
    ['/a/dotdot/a/b', '/a/b', 'directory'],
    ['/fifo', '/fifo', 'FIFO'],
  ])('%s leads to %s, a %s', (path, expected, kind) => {
    expect(resolve(path)).toEqual({ path: expected, hostPath: expected === '/' ? '/jail' : `/jail${expected}`, kind });
  });

  test('a symlink that points out of the root stays in it', () => {
    expect(resolve('/out')).toMatchObject({ hostPath: '/jail/etc/passwd', kind: 'file' });
    expect(resolve('/a/up')).toMatchObject({ hostPath: '/jail/etc/passwd', kind: 'file' });
    expect(resolve('/../../etc/passwd')).toMatchObject({ hostPath: '/jail/etc/passwd', kind: 'file' });
  });

  test('what is absent is named where it would be made', () => {
    expect(resolve('/dangling')).toMatchObject({ path: '/nowhere/x', kind: 'absent' });
    expect(resolve('/abs/new/deep')).toMatchObject({ path: '/a/b/new/deep', kind: 'absent' });
  });

  test('what cannot be reached says why', () => {
    expect(resolve('/loop')).toMatchObject({ kind: 'unreachable', errno: 'ELOOP' });
    expect(resolve('/a/b/c/d')).toMatchObject({ kind: 'unreachable', errno: 'ENOTDIR' });
    expect(resolve('/fifo/x')).toMatchObject({ kind: 'unreachable', errno: 'ENOTDIR' });
    expect(resolve('/gone')).toMatchObject({ kind: 'unreachable', errno: 'ENOENT' });
  });

  test('a root of / is the host itself', () => {
    expect(resolveInRoot(host, '/', '/jail/abs')).toMatchObject({ kind: 'absent', hostPath: '/a/b' });
    expect(resolveInRoot(host, '/', '/etc/passwd')).toMatchObject({ kind: 'file', hostPath: '/etc/passwd' });
  });

  test('no directory is looked up twice with one cache', () => {
    const counting = new MemoryHost({ tree });
    const cache = new Map();
    resolveInRoot(counting, '/jail', '/a/b/c', cache);
    const before = counting.looked.length;
    resolveInRoot(counting, '/jail', '/a/b/c', cache);
    expect(counting.looked).toHaveLength(before);
  });
});

const names = fc.constantFrom('a', 'b', 'c', 'etc');
const target = fc
  .tuple(fc.constantFrom('', '/', '../', '../../../'), fc.array(fc.oneof(names, fc.constant('..')), { maxLength: 4 }))
  .map(([start, parts]) => `${start}${parts.join('/')}`)
  .filter((text) => text !== '');
const { node } = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    fc.record({ kind: fc.constant('file' as const), text: fc.constant('') }),
    fc.record({ kind: fc.constant('symlink' as const), target }),
    fc.record({
      kind: fc.constant('directory' as const),
      entries: fc.array(fc.tuple(names, tie('node'))).map((entries) => new Map(entries)),
    }),
  ),
}));
const jail = fc.array(fc.tuple(names, node)).map((entries): Node => ({ kind: 'directory', entries: new Map(entries) }));
const path = fc
  .array(fc.oneof(names, fc.constantFrom('..', '.')), { maxLength: 6 })
  .map((parts) => `/${parts.join('/')}`);

test('no tree of symlinks makes us look outside the root', () => {
  const outside: Node = { kind: 'directory', entries: new Map([['passwd', { kind: 'file', text: 'secret' }]]) };
  fc.assert(
    fc.property(jail, path, (inside, wanted) => {
      const root: Node = {
        kind: 'directory',
        entries: new Map([
          ['etc', outside],
          ['jail', inside],
        ]),
      };
      const host = new MemoryHost({ root });
      const place = resolveInRoot(host, '/jail', wanted);
      expect(place.hostPath === '/jail' || place.hostPath.startsWith('/jail/')).toBe(true);
      expect(place.hostPath).not.toContain('..');
      for (const looked of host.looked) expect(looked).toMatch(/^\/jail(\/|$)/);
      // Every lookup was of a path whose directories are no symlinks, so the kernel followed none either.
      if (place.kind !== 'absent' && place.kind !== 'unreachable') {
        expect(host.realpath(place.hostPath)).toBe(place.hostPath);
        expect(host.lstat(place.hostPath)).toEqual({ kind: place.kind });
      }
    }),
    { numRuns: 2000 },
  );
});

describe('the real host', () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'in-root-')));
  afterAll(() => rmSync(directory, { recursive: true }));
  const host = nodeSpecHost();

  test('resolves as chroot(2) would', () => {
    const root = join(directory, 'root');
    mkdirSync(join(root, 'etc'), { recursive: true });
    writeFileSync(join(root, 'etc/passwd'), 'inside');
    symlinkSync('/etc/passwd', join(root, 'absolute'));
    symlinkSync('../../../../../../../../etc/passwd', join(root, 'relative'));
    for (const name of ['/absolute', '/relative']) {
      const place = resolveInRoot(host, root, name);
      expect(place).toMatchObject({ path: '/etc/passwd', kind: 'file' });
      expect(host.readFile(place.hostPath, 100)).toEqual({ text: 'inside' });
    }
  });

  test('reads neither FIFOs, devices, symlinks, directories nor large files, and does not wait', () => {
    const fifo = join(directory, 'fifo');
    const link = join(directory, 'link');
    const large = join(directory, 'large');
    execFileSync('mkfifo', [fifo]);
    symlinkSync(large, link);
    writeFileSync(large, Buffer.alloc(101));
    expect(host.readFile(fifo, 100)).toEqual({ because: 'it is a FIFO, not a regular file' });
    expect(host.readFile('/dev/zero', 100)).toEqual({ because: 'it is a character device, not a regular file' });
    expect(host.readFile(link, 100)).toEqual({ because: 'it is a symlink, not a regular file' });
    expect(host.readFile(directory, 100)).toEqual({ because: 'it is a directory, not a regular file' });
    expect(host.readFile(large, 100)).toEqual({ because: 'it is larger than 100 bytes' });
    expect(host.readFile(join(directory, 'none'), 100)).toEqual({ because: 'ENOENT' });
  });

  test('a directory above that became a symlink is noticed', () => {
    const real = join(directory, 'real');
    mkdirSync(real);
    writeFileSync(join(real, 'file'), 'text');
    symlinkSync(real, join(directory, 'swapped'));
    expect(host.readFile(join(directory, 'swapped/file'), 100)).toEqual({ because: 'it was moved while it was read' });
  });

  test('says what is there, and why nothing can be seen', () => {
    symlinkSync('circle', join(directory, 'circle'));
    expect(host.stat(directory)).toEqual({ kind: 'directory' });
    expect(host.lstat(join(directory, 'circle'))).toEqual({ kind: 'symlink' });
    expect(host.stat(join(directory, 'circle'))).toEqual({ kind: 'nothing', errno: 'ELOOP' });
    expect(host.stat(join(directory, 'none/none'))).toEqual({ kind: 'nothing', errno: 'ENOENT' });
    expect(host.stat(`/${'x'.repeat(300)}`)).toEqual({ kind: 'nothing', errno: 'ENAMETOOLONG' });
    expect(host.realpath(join(directory, 'none'))).toBeUndefined();
    expect(host.readlink(directory)).toBeUndefined();
  });

  test('a current directory that was deleted bears on no absolute path', () => {
    const before = process.cwd();
    const gone = mkdtempSync(join(tmpdir(), 'gone-'));
    process.chdir(gone);
    rmdirSync(gone);
    try {
      const host = nodeSpecHost();
      expect(normalize({ workspace: '/usr/share' }, host).workspace?.path).toBe('/usr/share');
      expect(() => normalize({ workspace: '.' }, host)).toThrow('does not exist');
    } finally {
      process.chdir(before);
    }
  });

  test('knows the caller', () => {
    expect(host.uid).toBe(process.getuid?.());
    expect(host.username).toBe(execFileSync('id', ['-un'], { encoding: 'utf8' }).trim());
    expect(host.uidRanges.length).toBeGreaterThan(0);
    expect(host.uidRanges.some(({ start, size }) => host.uid >= start && host.uid < start + size)).toBe(true);
  });
});
