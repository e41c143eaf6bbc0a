import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SpecError } from '../../src/errors/errors.ts';
import { readFilters } from '../../src/seccomp/custom.ts';
import { portsFilter } from '../../src/seccomp/ports.ts';
import { nodeSpecHost } from '../../src/spec/host.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { MountSpec, NormalizedSpec, RootSpec, SandboxSpec } from '../../src/spec/types.ts';
import { MemoryHost, type MemoryHostOptions, ordinaryTree, type Tree } from '../helpers/memory-host.ts';

const allIds = 4_294_967_295;
const asRoot: MemoryHostOptions = { uid: 0, gid: 0, username: 'root', home: '/root' };

function normalized(spec: SandboxSpec, options: MemoryHostOptions = {}): NormalizedSpec {
  return normalize(spec, new MemoryHost(options));
}

/** Every issue as `path: message`. */
function issuesOf(spec: SandboxSpec, options: MemoryHostOptions = {}): string[] {
  try {
    normalized(spec, options);
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    return error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  }
  return [];
}

function withTree(tree: Tree): MemoryHostOptions {
  return { tree: { ...ordinaryTree, ...tree } };
}

describe('the default', () => {
  test('is the host view, read-only, without network, as the caller', () => {
    expect(normalized({})).toEqual({
      root: {
        kind: 'host',
        path: undefined,
        layers: [],
        image: undefined,
        readonly: true,
        changes: 'keep',
        writablePaths: [],
        missingMountPoints: [],
        coveredDirectories: [],
        hostsFile: undefined,
      },
      mounts: [],
      workspace: undefined,
      cwd: '/home/alice',
      cwdGiven: false,
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        HOME: '/home/alice',
        USER: 'alice',
        LOGNAME: 'alice',
        LANG: 'C.UTF-8',
        TMPDIR: '/tmp',
      },
      home: '/home/alice',
      hostname: 'sandbox',
      umask: 0o022,
      user: { uid: 1000, gid: 1000, additionalGids: [], name: 'alice' },
      idMappings: {
        uid: [{ containerID: 1000, hostID: 1000, size: 1 }],
        gid: [{ containerID: 1000, hostID: 1000, size: 1 }],
        privileged: false,
        needsHelper: false,
      },
      network: 'none',
      limits: { coreBytes: 0 },
      seccomp: 'default',
      landlock: undefined,
      capabilities: [],
      terminal: undefined,
      notes: [],
    });
  });

  test('looks at nothing of the file system', () => {
    const host = new MemoryHost();
    normalize({}, host);
    normalize({}, new MemoryHost(asRoot));
    expect(host.looked).toEqual([]);
  });

  test('of root maps every id that there is to itself', () => {
    const { user, home, idMappings } = normalized({}, asRoot);
    expect(user).toEqual({ uid: 0, gid: 0, additionalGids: [], name: 'root' });
    expect(home).toBe('/root');
    expect(idMappings.uid).toEqual([{ containerID: 0, hostID: 0, size: allIds }]);
    const ranges = [
      { start: 0, size: 1 },
      { start: 1, size: 65_536 },
    ];
    expect(normalized({}, { ...asRoot, ranges }).idMappings.gid).toEqual([
      { containerID: 0, hostID: 0, size: 1 },
      { containerID: 1, hostID: 1, size: 65_536 },
    ]);
  });

  test('members that are undefined count as left out', () => {
    const holes = {
      root: undefined,
      mounts: undefined,
      env: undefined,
      limits: { wallMs: undefined },
      terminal: undefined,
    };
    expect(normalized(holes as unknown as SandboxSpec)).toEqual(normalized({}));
  });

  test('needs no name of the caller', () => {
    const { user, home } = normalized({}, { username: undefined });
    expect(user.name).toBe('user');
    expect(home).toBe('/home/user');
  });

  test('a caller whose name is a path does not choose the home directory', () => {
    expect(normalized({}, { username: '../../etc' }).home).toBe('/home/user');
  });
});

describe('root', () => {
  const jail = { srv: { jail: { etc: {}, proc: {}, usr: { bin: {} } }, image: 'tar', link: '->jail' } };

  test('a directory is resolved, and what it lacks is listed', () => {
    const { root } = normalized({ root: '/srv/link/' }, withTree(jail));
    expect(root).toMatchObject({ kind: 'directory', path: '/srv/jail', readonly: true });
    expect(root.missingMountPoints).toEqual([
      { path: '/dev', kind: 'directory' },
      { path: '/tmp', kind: 'directory' },
      { path: '/home/alice', kind: 'directory' },
    ]);
  });

  test('a relative directory starts at the current one', () => {
    expect(normalized({ root: './jail' }, { ...withTree(jail), cwd: '/srv' }).root.path).toBe('/srv/jail');
    expect(normalized({ root: { path: 'jail' } }, { ...withTree(jail), cwd: '/srv' }).root.path).toBe('/srv/jail');
    expect(normalized({ root: '.' }, { ...withTree(jail), cwd: '/srv/jail' }).root.path).toBe('/srv/jail');
  });

  test("'host' is the host view, and a name without a slash is refused", () => {
    expect(normalized({ root: 'host' }).root.kind).toBe('host');
    expect(normalized({ root: { readonly: true } }).root.kind).toBe('host');
    expect(issuesOf({ root: 'jail' })).toEqual([expect.stringMatching(/^root: .*write '\.\/jail'$/)]);
  });

  test.each([
    ['/srv/none', 'root: /srv/none does not exist; the root must be a directory'],
    ['/srv/image', "root: /srv/image is a file; the root must be a directory; an archive is given as 'image'"],
    ['./none', 'root: ./none does not exist (it stands for /home/alice/none); the root must be a directory'],
    ['/home/alice/fifo', 'root: /home/alice/fifo is a FIFO; the root must be a directory'],
  ])('%s is refused: %s', (root, issue) => {
    expect(issuesOf({ root }, withTree(jail))).toEqual([issue]);
  });

  test('/ as a directory is possible, and says what it means', () => {
    expect(normalized({ root: '/' }).notes).toEqual([expect.stringContaining('whole file system of this host')]);
  });

  test('fields that contradict each other are refused', () => {
    expect(issuesOf({ root: { path: '/srv', image: './x.aci' } })).toEqual([
      "root.image: excludes 'path': a root is a directory or an image",
    ]);
    expect(issuesOf({ root: { image: './x.aci' } })).toEqual([
      expect.stringContaining('cannot be shown by what there is here'),
    ]);
    expect(issuesOf({ root: { readonly: false, writablePaths: ['/usr'] } })).toEqual([
      expect.stringMatching(/^root\.writablePaths: excludes 'readonly: false'/),
    ]);
    expect(issuesOf({ root: { readonly: false, writablePaths: 'none' } })).toHaveLength(1);
    expect(issuesOf({ root: { readonly: true, writablePaths: 'all' } })).toHaveLength(1);
    expect(normalized({ root: { readonly: false, writablePaths: 'all' } }).root.readonly).toBe(false);
  });

  test.each(['discard', 'capture'] as const)('of which changes are to %s is writable', (changes) => {
    const of = (root: RootSpec) => normalized({ root: { path: '/srv', ...root } }, withTree(jail)).root;
    expect(of({ changes })).toMatchObject({ readonly: false, changes });
    expect(of({ changes, writablePaths: 'all' })).toMatchObject({ readonly: false, changes });
    expect(of({ changes: 'keep' })).toMatchObject({ readonly: true, changes: 'keep' });
    const issues = (root: RootSpec) => issuesOf({ root: { path: '/srv', changes, ...root } }, withTree(jail));
    expect(issues({ readonly: true })).toEqual([expect.stringMatching(/^root\.changes: excludes 'readonly: true'/)]);
    expect(issues({ writablePaths: ['/tmp'] })).toEqual([
      expect.stringMatching(/^root\.writablePaths: excludes changes/),
    ]);
  });

  test('of which nothing can be captured, because it is made from nothing', () => {
    expect(normalized({ root: { changes: 'discard' } }).root).toMatchObject({ readonly: false, changes: 'keep' });
    expect(issuesOf({ root: { changes: 'capture' } })).toEqual([
      expect.stringMatching(/^root\.changes: 'capture' is for a root that is a directory/),
    ]);
  });

  test('a mount point of ours that is no directory in the root is refused', () => {
    const tree = { srv: { proc: '->proc', dev: 'file', tmp: '!FIFO', home: { alice: {} } } };
    expect(issuesOf({ root: '/srv' }, withTree(tree))).toEqual([
      expect.stringMatching(/^root: \/proc cannot be reached in the root \(ELOOP\)/),
      expect.stringMatching(/^root: \/dev is a file in the root/),
      expect.stringMatching(/^root: \/tmp is a FIFO in the root/),
    ]);
  });

  test('writable paths are resolved inside the root', () => {
    const tree = {
      srv: { bin: '->usr/bin', usr: { bin: {} }, out: '->../../../etc', etc: {}, fifo: '!FIFO', file: 'x' },
    };
    const root = (paths: string[]): SandboxSpec => ({ root: { path: '/srv', writablePaths: paths } });
    expect(normalized(root(['/bin/', '/out', '/usr/bin', '/file']), withTree(tree)).root.writablePaths).toEqual([
      '/usr/bin',
      '/etc',
      '/file',
    ]);
    expect(issuesOf(root(['/none', '/fifo', 'usr', '/', '/usr/../etc', '/file/x', '']), withTree(tree))).toEqual([
      expect.stringMatching(/^root\.writablePaths\.0: \/none does not exist in the root/),
      expect.stringMatching(/^root\.writablePaths\.1: \/fifo is a FIFO/),
      expect.stringMatching(/^root\.writablePaths\.2: must be an absolute path/),
      expect.stringMatching(/^root\.writablePaths\.3: is all of the root/),
      expect.stringMatching(/^root\.writablePaths\.4: must not have '\.\.'/),
      expect.stringMatching(/^root\.writablePaths\.5: \/file\/x cannot be reached in the root \(ENOTDIR\)/),
      expect.stringMatching(/^root\.writablePaths\.6: must not be empty/),
    ]);
  });

  test('the host view has only its own writable paths', () => {
    const paths = (writablePaths: string[]): SandboxSpec => ({ root: { writablePaths } });
    expect(normalized(paths(['/usr/local', '/bin'])).root.writablePaths).toEqual(['/usr/local', '/usr/bin']);
    expect(issuesOf(paths(['/var/log']))).toEqual([expect.stringContaining("'/var/log:/var/log:rw'")]);
    expect(normalized(paths(['/tmp/x'])).notes).toEqual([expect.stringContaining("/tmp is the sandbox's own")]);
  });
});

describe('mounts', () => {
  test('a string is a bind mount, read-only unless it says rw', () => {
    const { mounts } = normalized({ mounts: ['src:/src', './link:/link:rw', 'a\\:b:/a\\:b:ro'] });
    expect(mounts.map(({ source, destination, readonly, origin }) => [source, destination, readonly, origin])).toEqual([
      ['/home/alice/src', '/src', true, 'mounts[0]'],
      ['/home/alice/src', '/link', false, 'mounts[1]'],
      ['/home/alice/a:b', '/a:b', true, 'mounts[2]'],
    ]);
  });

  test('a file and a directory are told apart', () => {
    const { mounts } = normalized({ mounts: ['notes:/notes', 'src:/src'] });
    expect(mounts.map(({ sourceKind }) => sourceKind)).toEqual(['file', 'directory']);
  });

  test('destinations are cleaned', () => {
    const { mounts } = normalized({ mounts: [{ type: 'tmpfs', destination: '//a/./b//' }] });
    expect(mounts[0]?.destination).toBe('/a/b');
  });

  test('a tmpfs has a size and a mode', () => {
    const { mounts } = normalized({
      mounts: [
        { type: 'tmpfs', destination: '/a' },
        { type: 'tmpfs', destination: '/tmp', sizeBytes: '1GiB' },
        { type: 'tmpfs', destination: '/b', mode: 0o700, readonly: true },
      ],
    });
    expect(mounts).toMatchObject([
      { sizeBytes: 64 * 1024 * 1024, mode: 0o755, readonly: false, source: undefined },
      { sizeBytes: 1024 ** 3, mode: 0o1777 },
      { mode: 0o700, readonly: true },
    ]);
  });

  test('a source that is not there is refused, or skipped where that is allowed', () => {
    expect(issuesOf({ mounts: ['./none:/a', { type: 'bind', source: '/none', destination: '/b' }, '~/x:/c'] })).toEqual(
      [
        'mounts.0: the source ./none does not exist (it stands for /home/alice/none)',
        'mounts.1.source: the source /none does not exist',
        expect.stringContaining("only a shell replaces '~'"),
      ],
    );
    const { mounts, notes } = normalized({
      mounts: [{ type: 'bind', source: '/none', destination: '/b', optional: true }],
    });
    expect(mounts).toEqual([]);
    expect(notes).toEqual(['mounts[0] is skipped: /none does not exist']);
  });

  test('a source that is no file, directory or character device is refused by its kind', () => {
    expect(issuesOf({ mounts: ['fifo:/a', 'socket:/b'] })).toEqual([
      expect.stringMatching(
        /fifo \(it stands for \/home\/alice\/fifo\) is a FIFO; only files, directories and character devices can be bound$/,
      ),
      expect.stringContaining('is a socket'),
    ]);
    expect(issuesOf({ mounts: [{ type: 'bind', source: 'fifo', destination: '/a', optional: true }] })).toHaveLength(1);
  });

  test('a sysfs is read-only, and nothing else', () => {
    expect(normalized({ mounts: [{ type: 'sysfs', destination: '/sys' }] }).mounts).toMatchObject([{ readonly: true }]);
    expect(issuesOf({ mounts: [{ type: 'sysfs', destination: '/sys', readonly: false }] })).toEqual([
      'mounts.0.readonly: must not be false: who writes there sets the machine',
    ]);
  });

  test('every issue of every mount is reported at once', () => {
    const issues = issuesOf({
      mounts: [
        { type: 'bind', source: 'src', destination: 'relative' },
        { type: 'bind', source: 'src', destination: '/a/../b' },
        { type: 'tmpfs', destination: '/a', source: 'src', optional: true },
        { type: 'bind', source: 'src', destination: '/c', sizeBytes: 5, mode: 0o755 },
        { type: 'bind', destination: '/d' },
        { type: 'tmpfs', destination: '/' },
        { type: 'tmpfs', destination: '/e', sizeBytes: 0 },
        { type: 'tmpfs', destination: '/f', sizeBytes: '512' },
        'src',
        'src:/g:rx',
        'src:/h:ro:x',
        ':/i',
        'src:',
      ],
    });
    expect(issues).toEqual([
      expect.stringMatching(/^mounts\.0\.destination: must be an absolute path inside the sandbox, not 'relative'$/),
      expect.stringMatching(/^mounts\.1\.destination: must not have '\.\.'/),
      'mounts.2.source: is for bind, overlay and image mounts, and this is a tmpfs mount',
      'mounts.2.optional: is for bind and sysfs mounts, and this is a tmpfs mount',
      'mounts.3.sizeBytes: is for tmpfs, overlay and image mounts, and this is a bind mount',
      'mounts.3.mode: is for tmpfs mounts, and this is a bind mount',
      'mounts.4: a bind mount needs a source',
      expect.stringMatching(/^mounts\.5\.destination: must not be '\/'/),
      expect.stringMatching(/^mounts\.6\.sizeBytes: must be at least 1 byte/),
      expect.stringMatching(/^mounts\.7\.sizeBytes: add a unit/),
      expect.stringMatching(/^mounts\.8: 'src' has no destination/),
      expect.stringMatching(/^mounts\.9: 'rx' is neither 'ro' nor 'rw'/),
      expect.stringMatching(/^mounts\.10: .*too many parts/),
      expect.stringMatching(/^mounts\.11: .*empty source/),
      expect.stringMatching(/^mounts\.12: .*empty destination/),
    ]);
  });

  test('two mounts on one place are refused, also where a symlink of the root makes them one', () => {
    expect(issuesOf({ mounts: ['src:/a', 'notes:/a/'] })).toEqual(['mounts.1: mounts[0] is mounted on /a already']);
    expect(issuesOf({ workspace: 'src', mounts: ['src:/home/alice/src'] })).toEqual([
      'workspace: mounts[0] is mounted on /home/alice/src already',
    ]);
    const tree = withTree({ srv: { run: {}, var: { run: '->../run' } } });
    expect(issuesOf({ root: '/srv', mounts: ['/opt:/run', '/opt:/var/run'] }, tree)).toEqual([
      'mounts.1: mounts[0] is mounted on /var/run already (the same place as /run)',
    ]);
  });

  test('a mount that hides an earlier one is refused', () => {
    expect(issuesOf({ mounts: ['src:/a/b', 'notes:/a/c', { type: 'tmpfs', destination: '/a' }] })).toEqual([
      'mounts.2: a mount on /a hides mounts[0] on /a/b, which comes before it; put it first',
    ]);
    expect(issuesOf({ mounts: [{ type: 'tmpfs', destination: '/a' }, 'src:/a/b'] })).toEqual([]);
  });

  test('a mount that hides the home directory says so', () => {
    expect(normalized({ mounts: ['/var:/home'] }).notes).toEqual([
      "mounts[0] on /home hides the sandbox's own home directory /home/alice",
    ]);
  });

  test('a mount point inside a bind mount must be there, and be of the same kind', () => {
    expect(issuesOf({ mounts: ['src:/src', 'notes:/src/none'] })).toEqual([
      'mounts.1: the mount point /src/none does not exist: mounts[0] is /home/alice/src there; make /home/alice/src/none first: made now, it would stay on the host',
    ]);
    expect(issuesOf({ mounts: ['src:/src', 'notes:/src/main'] })).toEqual([
      'mounts.1: /home/alice/notes, a file, cannot be mounted on /src/main, which is a directory in /home/alice/src',
    ]);
    expect(issuesOf({ mounts: ['src:/src', '/opt:/src/main'] })).toEqual([]);
    expect(issuesOf({ mounts: [{ type: 'tmpfs', destination: '/t' }, 'notes:/t/any/where'] })).toEqual([]);
    // A symlink in the source leads to the root of the sandbox, about which the source says nothing.
    expect(issuesOf({ mounts: ['.:/src', 'notes:/src/link/x'] })).toEqual([]);
  });

  test('in a directory root, kinds must agree and what is missing is listed with its kind', () => {
    const tree = withTree({
      srv: {
        proc: {},
        dev: {},
        tmp: {},
        home: { alice: {} },
        dir: {},
        file: 'x',
        link: '->/dir',
        up: '->../../../../../opt',
      },
    });
    const { root } = normalized(
      { root: '/srv', mounts: ['notes:/new/file', 'src:/link/new', 'src:/up/x', 'notes:/tmp/f'] },
      tree,
    );
    expect(root.missingMountPoints).toEqual([
      { path: '/new/file', kind: 'file' },
      { path: '/dir/new', kind: 'directory' },
      { path: '/opt/x', kind: 'directory' },
    ]);
    expect(
      issuesOf({ root: '/srv', mounts: ['notes:/dir', 'src:/file', { type: 'tmpfs', destination: '/file/x' }] }, tree),
    ).toEqual([
      'mounts.0: /home/alice/notes, a file, cannot be mounted on /dir, which is a directory in the root',
      'mounts.1: /home/alice/src, a directory, cannot be mounted on /file, which is a file in the root',
      expect.stringMatching(/^mounts\.2: the mount point \/file\/x does not exist/),
    ]);
  });

  test('nothing can be made in the system directories of the host view', () => {
    expect(issuesOf({ mounts: ['src:/usr/none'] })).toEqual([
      expect.stringMatching(/^mounts\.0: \/usr\/none does not exist on this host/),
    ]);
    expect(issuesOf({ mounts: ['src:/usr/local', 'src:/bin/none'] })).toHaveLength(1);
    expect(issuesOf({ mounts: ['notes:/etc/new', 'src:/srv/new', 'notes:/bin/true'] })).toEqual([]);
  });

  test('an overlay is a directory that the command may change a view of', () => {
    const overlay = { type: 'overlay', source: 'src', destination: '/a' } as const;
    const [mount] = normalized({ mounts: [overlay] }).mounts;
    expect(mount).toMatchObject({
      type: 'overlay',
      source: '/home/alice/src',
      changes: 'discard',
      sizeBytes: 512 << 20,
    });
    expect(normalized({ mounts: [{ ...overlay, sizeBytes: '1MiB' }] }).mounts[0]?.sizeBytes).toBe(1 << 20);
    expect(normalized({ mounts: [{ ...overlay, changes: 'capture' }] }).mounts[0]).toMatchObject({
      changes: 'capture',
      sizeBytes: undefined,
    });
    const wrong = (more: Partial<MountSpec>) => issuesOf({ mounts: [{ ...overlay, ...more }] });
    expect(wrong({ readonly: true })).toEqual([expect.stringMatching(/^mounts\.0\.readonly: is not for an overlay/)]);
    expect(wrong({ source: 'notes' })).toEqual([
      expect.stringMatching(/only directories can be the source of an overlay/),
    ]);
    expect(wrong({ source: 'nothing' })).toHaveLength(1);
    expect(wrong({ changes: 'capture', sizeBytes: '1MiB' })).toEqual([
      expect.stringMatching(/^mounts\.0\.sizeBytes: bounds/),
    ]);
  });

  test('an overlay cannot show what is mounted in its source', () => {
    const mounted = { mounts: ['/home/alice/src/mnt', '/home/alice/srcs'] };
    const issues = (spec: SandboxSpec) => issuesOf(spec, mounted);
    const why =
      /src cannot be shown as an overlay, because other file systems are mounted in it \(\/home\/alice\/src\/mnt\)/;
    expect(issues({ mounts: [{ type: 'overlay', source: 'src', destination: '/a' }] })).toEqual([
      expect.stringMatching(why),
    ]);
    expect(issues({ workspace: { path: 'src', access: 'overlay' } })).toEqual([expect.stringMatching(why)]);
    expect(issues({ root: { path: 'src', changes: 'discard' } })).toContainEqual(expect.stringMatching(why));
    expect(issues({ workspace: 'src' })).toEqual([]);
  });

  test('an overlay has its share of the disk, captured or not', () => {
    const overlay = { type: 'overlay', source: 'src', destination: '/a' } as const;
    const limits = { diskBytes: '16MiB' } as const;
    expect(normalized({ mounts: [overlay], limits }).mounts[0]?.sizeBytes).toBeUndefined();
    const own = normalized({ mounts: [{ ...overlay, sizeBytes: '1MiB' }], limits });
    expect([own.mounts[0]?.sizeBytes, own.limits.diskBytes]).toEqual([1 << 20, 15 << 20]);
    const workspace = { path: 'src', access: 'overlay', changes: 'capture' } as const;
    const captured = normalized({ mounts: [{ ...overlay, changes: 'capture' }], workspace, limits });
    expect(captured.mounts).toMatchObject([{ changes: 'capture' }, { changes: 'capture' }]);
    expect(captured.mounts.map(({ sizeBytes }) => sizeBytes)).toEqual([undefined, undefined]);
    expect(captured.limits.diskBytes).toBe(16 << 20);
  });
});

describe('workspace', () => {
  test('is bound at its own path, and the command starts there', () => {
    const spec = normalized({ workspace: 'src' });
    expect(spec.workspace).toEqual({ path: '/home/alice/src', access: 'rw' });
    expect(spec.cwd).toBe('/home/alice/src');
    expect(spec.cwdGiven).toBe(true);
    expect(spec.mounts).toMatchObject([
      { source: '/home/alice/src', destination: '/home/alice/src', readonly: false, origin: 'workspace' },
    ]);
  });

  test('keeps the path by which the caller knows it', () => {
    expect(normalized({ workspace: 'link' }).mounts).toMatchObject([
      { source: '/home/alice/src', destination: '/home/alice/link' },
    ]);
    expect(normalized({ workspace: 'link/../src' }).mounts).toMatchObject([{ destination: '/home/alice/src' }]);
  });

  test('comes before the mounts that lie in it and after the others', () => {
    const mounts = ['/opt:/a', '/var:/home', '/opt:/home/alice/src/main', '/opt:/b'];
    const tree = withTree({ var: { alice: { src: {} } } });
    expect(normalized({ workspace: 'src', mounts }, tree).mounts.map(({ origin }) => origin)).toEqual([
      'mounts[0]',
      'mounts[1]',
      'workspace',
      'mounts[2]',
      'mounts[3]',
    ]);
  });

  test('gives way to the named cwd', () => {
    expect(normalized({ workspace: 'src', cwd: '/tmp//' }).cwd).toBe('/tmp');
    expect(issuesOf({ cwd: 'src' })).toEqual([expect.stringMatching(/^cwd: must be an absolute path/)]);
  });

  test('may be read-only, or an overlay', () => {
    expect(normalized({ workspace: { path: 'src', access: 'ro' } }).mounts[0]?.readonly).toBe(true);
    const { workspace, mounts } = normalized({ workspace: { path: 'src', access: 'overlay' } });
    expect(workspace?.access).toBe('overlay');
    expect(mounts[0]).toMatchObject({ type: 'overlay', changes: 'discard', readonly: false });
    expect(issuesOf({ workspace: { path: 'src', changes: 'discard' } })).toEqual([
      expect.stringMatching(/^workspace\.changes: is for access: 'overlay'/),
    ]);
  });

  test.each(['/', '/usr', '/usr/lib', '/etc', '/bin', '/proc', '/dev', '/home/alice/../..'])(
    '%s is refused',
    (path) => {
      expect(issuesOf({ workspace: path })).toHaveLength(1);
    },
  );

  test.each(['/usr/local', '/var', '/home', '/tmp', '/opt/../var'])('%s is possible', (path) => {
    expect(issuesOf({ workspace: path })).toEqual([]);
  });

  test('a link to / is refused too', () => {
    expect(issuesOf({ workspace: '/all' }, withTree({ all: '->/' }))).toEqual([
      expect.stringContaining('whole file system of this host'),
    ]);
  });

  test('that is a file, or not there, is refused', () => {
    expect(issuesOf({ workspace: 'notes' })).toEqual([expect.stringContaining('a workspace is a directory')]);
    expect(issuesOf({ workspace: { path: 'none' } })).toEqual([
      expect.stringMatching(/^workspace\.path: the workspace none does not exist/),
    ]);
    expect(issuesOf({ workspace: 'fifo' })).toHaveLength(1);
  });

  test('with the home directory in it is noted', () => {
    expect(normalized({ workspace: '.' }).notes).toEqual([
      expect.stringContaining('is the home directory /home/alice'),
    ]);
    expect(normalized({ workspace: { path: '/home', access: 'ro' } }).notes).toEqual([
      expect.stringContaining('the command can read all of it'),
      expect.stringContaining('hides'),
    ]);
    expect(normalized({ workspace: 'src' }).notes).toEqual([]);
  });
});

describe('env', () => {
  test('a record is added to the clean default, and wins', () => {
    const { env } = normalized({ env: { PATH: '/bin', X: '' } });
    expect(env).toMatchObject({ PATH: '/bin', X: '', HOME: '/home/alice' });
    expect(env).not.toHaveProperty('TOKEN');
  });

  test('names are inherited one by one, by prefix, or all', () => {
    expect(normalized({ env: { inherit: ['TOKEN', 'NONE'] } }).env).toMatchObject({ TOKEN: 'secret' });
    expect(normalized({ env: { inherit: ['NONE'] } }).env).not.toHaveProperty('NONE');
    const { env } = normalized({ env: { inherit: ['LC_*'], set: { LC_TIME: 'de_DE' } } });
    expect(env).toMatchObject({ LC_ALL: 'C', LC_TIME: 'de_DE' });
    expect(env).not.toHaveProperty('TOKEN');
    expect(normalized({ env: { inherit: ['*'] } }).env).toMatchObject({ TOKEN: 'secret', LC_ALL: 'C', TERM: 'vt100' });
  });

  test('a pattern does not bring in the home directory of the host, its name does', () => {
    const env = { HOME: '/home/elsewhere', USER: 'other' };
    expect(normalized({ env: { inherit: ['*'] } }, { env }).env).toMatchObject({ HOME: '/home/alice', USER: 'alice' });
    expect(normalized({ env: { inherit: ['HOME'] } }, { env }).env).toMatchObject({ HOME: '/home/elsewhere' });
  });

  test('a record may have variables that are called set, inherit and __proto__', () => {
    const record = JSON.parse('{"set":"1","inherit":"2","__proto__":"3","constructor":"4"}');
    expect(Object.entries(normalized({ env: record }).env).slice(-4)).toEqual(Object.entries(record));
    expect(normalized({ env: { inherit: ['constructor', '__proto__', 'toString'] } }).env).toEqual(normalized({}).env);
  });

  test('names and values that execve(2) would refuse are refused', () => {
    expect(
      issuesOf({
        env: {
          '': 'x',
          'A=B': 'x',
          'N\0': 'x',
          V: 'a\0b',
          L: 'x'.repeat(131_070),
          U: '\ud800',
          OK: 'x'.repeat(131_068),
        },
      }),
    ).toEqual([
      expect.stringContaining('must not be empty'),
      expect.stringContaining("must not contain '='"),
      expect.stringContaining('must not contain a NUL'),
      expect.stringContaining('must not contain a NUL'),
      expect.stringMatching(/^env\.L: .* and are 131072$/),
      expect.stringContaining('well-formed'),
    ]);
    expect(issuesOf({ env: { inherit: ['A*B', '', 'A='] } })).toHaveLength(3);
  });

  test('TERM is only there on a terminal', () => {
    expect(normalized({}).env).not.toHaveProperty('TERM');
    expect(normalized({ terminal: true }).env).toMatchObject({ TERM: 'vt100' });
    expect(normalized({ terminal: { columns: 80, rows: 24 } }, { env: {} }).env).toMatchObject({ TERM: 'xterm' });
  });
});

describe('user', () => {
  const user = (text: SandboxSpec['user'], options: MemoryHostOptions = {}) =>
    normalized(text === undefined ? {} : { user: text }, { ...asRoot, ...options }).user;

  test('a name is looked up, with the groups that list it', () => {
    expect(user('web')).toEqual({ uid: 33, gid: 33, additionalGids: [1500], name: 'web' });
    expect(user('web:users')).toEqual({ uid: 33, gid: 100, additionalGids: [], name: 'web' });
    expect(user('web:7')).toMatchObject({ uid: 33, gid: 7 });
    expect(user('33')).toEqual({ uid: 33, gid: 33, additionalGids: [], name: 'web' });
    expect(user('33:users')).toMatchObject({ uid: 33, gid: 100 });
    expect(user('root')).toMatchObject({ uid: 0, gid: 0, name: 'root' });
  });

  test('numbers need no file', () => {
    expect(user('77:88')).toEqual({ uid: 77, gid: 88, additionalGids: [], name: 'user' });
    const host = new MemoryHost({ ...asRoot, tree: { srv: { proc: {}, dev: {}, tmp: {}, root: {} } } });
    expect(normalize({ root: '/srv', user: '0:5' }, host).user).toMatchObject({ uid: 0, gid: 5 });
    expect(user({ uid: 33, gid: 5, additionalGids: [7, 7, 8] })).toEqual({
      uid: 33,
      gid: 5,
      additionalGids: [7, 8],
      name: 'web',
    });
  });

  test('home follows the user', () => {
    const spec = normalized({ user: 'web' }, asRoot);
    expect([spec.home, spec.env['HOME'], spec.env['USER']]).toEqual(['/home/web', '/home/web', 'web']);
    expect(normalized({ user: { uid: 0, gid: 0 } }).home).toBe('/root');
  });

  test('names are looked up inside a directory root, and nowhere else', () => {
    const tree = withTree({
      srv: { etc: '->/secret', secret: { passwd: 'web:x:7:8::/:/bin/sh\n', group: '->../../../../etc/group' } },
    });
    expect(normalized({ root: '/srv', user: 'web' }, { ...asRoot, ...tree }).user).toMatchObject({ uid: 7, gid: 8 });
    expect(issuesOf({ root: '/srv', user: 'alice' }, { ...asRoot, ...tree })).toEqual([
      expect.stringMatching(/^user: there is no user 'alice' in \/etc\/passwd of the root/),
    ]);
    expect(issuesOf({ root: '/srv', user: 'web:users' }, { ...asRoot, ...tree })).toEqual([
      expect.stringMatching(/^user: there is no group 'users' in \/etc\/group of the root \(not read: /),
    ]);
  });

  test.each([
    ['a FIFO', '!FIFO', 'it is a FIFO'],
    ['a device', '!character device', 'it is a character device'],
    ['a directory', {}, 'it is a directory'],
    ['a loop', '->passwd', 'ELOOP'],
    ['too large', 'x'.repeat(5 * 1024 * 1024), 'larger than'],
    ['absent', '->none', 'there is none'],
  ])('a passwd that is %s is refused with that reason', (_, passwd, reason) => {
    const tree = withTree({ srv: { etc: { passwd } } });
    expect(issuesOf({ root: '/srv', user: 'web' }, { ...asRoot, ...tree })).toEqual([expect.stringContaining(reason)]);
  });

  test('odd lines of passwd are passed over', () => {
    const passwd =
      '\n::::\n:x:1:1\nbad\nneg:x:-1:1\nbig:x:99999999999:1\nhex:x:0x1:1\nmax:x:4294967295:1\n../../etc:x:9:9\nok:x:5:6';
    const tree = { ...asRoot, ...withTree({ srv: { etc: { passwd } } }) };
    expect(normalized({ root: '/srv', user: 'ok' }, tree).user).toMatchObject({ uid: 5, gid: 6 });
    for (const name of ['neg', 'big', 'hex', 'max', 'bad'])
      expect(issuesOf({ root: '/srv', user: name }, tree)).toHaveLength(1);
    expect(normalized({ root: '/srv', user: '../../etc' }, tree)).toMatchObject({
      home: '/home/user',
      user: { uid: 9 },
    });
  });

  test.each(['', ':', 'a:', ':b', 'a:b:c', 'no\0ne'])('%j is no user', (text) => {
    expect(issuesOf({ user: text }, asRoot)).toHaveLength(1);
  });

  test('what is unknown is refused with what to do', () => {
    expect(issuesOf({ user: 'wbe' }, asRoot)).toEqual([expect.stringContaining("did you mean 'web'?")]);
    expect(issuesOf({ user: 'web:usres' }, asRoot)).toEqual([expect.stringContaining("did you mean 'users'?")]);
    expect(issuesOf({ user: '77' }, asRoot)).toEqual([expect.stringContaining("write '77:GID'")]);
    expect(issuesOf({ user: '4294967295:0' }, asRoot)).toEqual([expect.stringContaining('larger than 4294967294')]);
  });

  test('a caller of a directory service may name itself', () => {
    expect(user('ldap', { uid: 5000, gid: 5000, username: 'ldap' })).toMatchObject({
      uid: 5000,
      gid: 5000,
      name: 'ldap',
    });
  });
});

describe('id mappings', () => {
  test('root that a container has taken CAP_SETUID from maps its one id, as anybody does', () => {
    const { idMappings } = normalized({}, { ...asRoot, mayMapIds: false });
    expect(idMappings).toEqual({
      uid: [{ containerID: 0, hostID: 0, size: 1 }],
      gid: [{ containerID: 0, hostID: 0, size: 1 }],
      privileged: false,
      needsHelper: false,
    });
  });

  test('an ordinary user may be anybody inside', () => {
    const { idMappings } = normalized({ user: { uid: 0, gid: 7 } });
    expect(idMappings.uid).toEqual([{ containerID: 0, hostID: 1000, size: 1 }]);
    expect(idMappings.gid).toEqual([{ containerID: 7, hostID: 1000, size: 1 }]);
  });

  test('groups that are not mapped are left out where a file named them, and refused where the spec did', () => {
    const spec = normalized({ user: 'alice' });
    expect(spec.user.additionalGids).toEqual([]);
    expect(spec.notes).toEqual(['groups 100, 1500 of alice are left out: no gid mapping has them']);
    expect(issuesOf({ user: { uid: 1000, gid: 1000, additionalGids: [1000, 100] } })).toEqual([
      expect.stringMatching(/^user\.additionalGids: gid 100 is in no mapping; set gidMappings: 'subordinate'/),
    ]);
  });

  test('subordinate ids are packed around the id of the user', () => {
    const both = { uidMappings: 'subordinate', gidMappings: 'subordinate' } as const;
    const { idMappings } = normalized(both);
    expect(idMappings).toEqual({
      uid: [
        { containerID: 0, hostID: 100_000, size: 1000 },
        { containerID: 1000, hostID: 1000, size: 1 },
        { containerID: 1001, hostID: 101_000, size: 64_536 },
      ],
      gid: [
        { containerID: 0, hostID: 200_000, size: 1000 },
        { containerID: 1000, hostID: 1000, size: 1 },
        { containerID: 1001, hostID: 201_000, size: 64_536 },
      ],
      privileged: false,
      needsHelper: true,
    });
    expect(normalized({ ...both, user: { uid: 0, gid: 0 } }).idMappings.uid).toEqual([
      { containerID: 0, hostID: 1000, size: 1 },
      { containerID: 1, hostID: 100_000, size: 65_536 },
    ]);
    expect(normalized({ ...both, user: { uid: 99_999, gid: 0 } }).idMappings.uid).toEqual([
      { containerID: 0, hostID: 100_000, size: 65_536 },
      { containerID: 99_999, hostID: 1000, size: 1 },
    ]);
  });

  test('several subordinate ranges follow one another, by name and by number', () => {
    const tree = withTree({
      etc: { ...(ordinaryTree['etc'] as Tree), subuid: 'alice:300:5\nbob:7:7\nbad\n1000:900:3\nalice:5:0' },
    });
    expect(normalized({ user: { uid: 2, gid: 0 }, uidMappings: 'subordinate' }, tree).idMappings.uid).toEqual([
      { containerID: 0, hostID: 300, size: 2 },
      { containerID: 2, hostID: 1000, size: 1 },
      { containerID: 3, hostID: 302, size: 3 },
      { containerID: 6, hostID: 900, size: 3 },
    ]);
  });

  test('whatever the ranges, no id is mapped twice and the user is the caller', () => {
    const range = fc.record({ gap: fc.integer({ min: 1, max: 50 }), size: fc.integer({ min: 1, max: 200 }) });
    fc.assert(
      fc.property(fc.array(range, { minLength: 1, maxLength: 8 }), fc.integer({ min: 0, max: 2000 }), (gaps, uid) => {
        let start = 2000;
        const lines = gaps.map(({ gap, size }) => {
          const line = `alice:${start + gap}:${size}`;
          start += gap + size;
          return line;
        });
        const tree = withTree({ etc: { ...(ordinaryTree['etc'] as Tree), subuid: lines.join('\n') } });
        const mappings = normalized({ user: { uid, gid: 0 }, uidMappings: 'subordinate' }, tree).idMappings.uid;
        let inside = 0;
        for (const { containerID, size } of mappings) {
          expect(containerID).toBeGreaterThanOrEqual(inside);
          inside = containerID + size;
        }
        expect(mappings).toContainEqual({ containerID: uid, hostID: 1000, size: 1 });
        const total = mappings.reduce((sum, { size }) => sum + size, 0);
        expect(total).toBe(1 + gaps.reduce((sum, { size }) => sum + size, 0));
      }),
    );
  });

  test('no subordinate range is refused with the file and the command that helps', () => {
    const [issue] = issuesOf({ uidMappings: 'subordinate' }, { uid: 1001, gid: 1001, username: 'carol' });
    expect(issue).toBe(
      'uidMappings: /etc/subuid has no range for carol; as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 carol',
    );
    expect(issuesOf({ uidMappings: 'subordinate' }, { uid: 7, gid: 7, username: undefined })).toEqual([
      'uidMappings: /etc/subuid has no range for uid 7; as root: add the line 7:100000:65536 to /etc/subuid and to /etc/subgid',
    ]);
    const { subgid: _, ...etc } = ordinaryTree['etc'] as Tree;
    expect(issuesOf({ gidMappings: 'subordinate' }, withTree({ etc }))).toEqual([
      expect.stringMatching(/^gidMappings: \/etc\/subgid has no range for alice \(not read: there is no such file\)/),
    ]);
  });

  test('subordinate ranges that overlap are refused by the name of the file', () => {
    const etc = { ...(ordinaryTree['etc'] as Tree), subuid: 'alice:100000:10\nalice:100005:10' };
    expect(issuesOf({ uidMappings: 'subordinate' }, withTree({ etc }))).toEqual([
      expect.stringMatching(/^uidMappings: the ranges of alice in \/etc\/subuid overlap at uid 100005/),
    ]);
    const own = { ...etc, subuid: 'alice:900:200' };
    expect(issuesOf({ uidMappings: 'subordinate' }, withTree({ etc: own }))).toEqual([
      expect.stringContaining('overlap at uid 1000'),
    ]);
  });

  test('root writes its mappings itself', () => {
    const uidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    expect(normalized({ uidMappings }, asRoot).idMappings.needsHelper).toBe(false);
    const etc = { ...(ordinaryTree['etc'] as Tree), subuid: 'root:100000:65536' };
    expect(normalized({ uidMappings: 'subordinate' }, { ...asRoot, ...withTree({ etc }) }).idMappings).toMatchObject({
      uid: [
        { containerID: 0, hostID: 0, size: 1 },
        { containerID: 1, hostID: 100_000, size: 65_536 },
      ],
      needsHelper: false,
    });
  });

  test('an ordinary user maps its own id by itself, more only with the helpers, and others never', () => {
    const one = { containerID: 1000, hostID: 1000, size: 1 };
    expect(normalized({ uidMappings: [one] }).idMappings.needsHelper).toBe(false);
    const more = [one, { containerID: 2000, hostID: 100_000, size: 65_536 }];
    expect(normalized({ uidMappings: more }).idMappings).toMatchObject({ uid: more, needsHelper: true });
    expect(issuesOf({ uidMappings: [one, { containerID: 0, hostID: 0, size: 1 }] })).toEqual([
      expect.stringMatching(/^uidMappings\.1: uid 0 belongs to somebody else.*\/etc\/subuid; as root: usermod/),
    ]);
  });

  test('a user that no mapping has is refused with what to do', () => {
    expect(issuesOf({ uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }] })).toEqual([
      expect.stringMatching(
        /^user: uid 1000 is in no mapping of uidMappings; add \{ containerID: 1000, hostID: \.\.\., size: 1 \}/,
      ),
    ]);
    expect(issuesOf({ user: '70000:0' }, { ...asRoot, ranges: [{ start: 0, size: 65_536 }] })).toEqual([
      expect.stringMatching(/^user: uid 70000 does not exist in the user namespace of this process/),
    ]);
  });

  test('what the kernel would refuse is refused with its reason', () => {
    const issues = (uidMappings: { containerID: number; hostID: number; size: number }[]) =>
      issuesOf({ uidMappings }, asRoot);
    expect(issues([])).toEqual([expect.stringContaining('at least one mapping')]);
    expect(issues([{ containerID: 0, hostID: 0, size: 0 }])).toEqual([
      expect.stringMatching(/^uidMappings\.0\.size: must be at least 1/),
    ]);
    expect(issues([{ containerID: 0, hostID: 4_294_967_294, size: 2 }])).toEqual([
      expect.stringContaining('reaches beyond id'),
    ]);
    expect(
      issues([
        { containerID: 0, hostID: 0, size: 10 },
        { containerID: 5, hostID: 100, size: 10 },
      ]),
    ).toEqual(['uidMappings.1: overlaps uidMappings[0] in containerID']);
    expect(
      issues([
        { containerID: 100, hostID: 5, size: 10 },
        { containerID: 0, hostID: 0, size: 10 },
      ]),
    ).toEqual(['uidMappings.1: overlaps uidMappings[0] in hostID']);
    const many = Array.from({ length: 341 }, (_, i) => ({ containerID: i, hostID: i, size: 1 }));
    expect(issues(many)).toEqual([expect.stringContaining('not have more than 340')]);
    expect(issues(many.slice(0, 340))).toEqual([]);
  });
});

describe('the rest', () => {
  test('limits are numbers in base units, and a core file is not written', () => {
    expect(
      normalized({
        limits: { wallMs: '1.5s', cpuMs: 20, openFiles: 64, fileBytes: '1KiB', stackBytes: 1, outputBytes: 0 },
      }).limits,
    ).toEqual({ wallMs: 1500, cpuMs: 20, openFiles: 64, fileBytes: 1024, stackBytes: 1, outputBytes: 0, coreBytes: 0 });
    expect(normalized({ limits: { coreBytes: '1MiB', memoryBytes: '2MiB', pids: 3, cpus: 0.5 } }).limits).toEqual({
      coreBytes: 1_048_576,
      memoryBytes: 2_097_152,
      pids: 3,
      cpus: 0.5,
    });
    expect(issuesOf({ limits: { memoryBytes: 5, pids: 0 } })).toEqual([
      'limits.memoryBytes: must be at least 2MiB: a sandbox itself takes some',
      expect.stringMatching(/^limits\.pids: /),
    ]);
    expect(issuesOf({ limits: { wallMs: 0, cpuMs: '5', openFiles: 1.5, fileBytes: -1 } })).toEqual([
      expect.stringMatching(/^limits\.wallMs: must be at least 1 ms/),
      expect.stringMatching(/^limits\.cpuMs: add a unit/),
      expect.stringMatching(/^limits\.openFiles: /),
      expect.stringMatching(/^limits\.fileBytes: /),
    ]);
  });

  test('hostname, umask, capabilities and terminal are checked', () => {
    expect(
      issuesOf({
        hostname: '',
        umask: 0o1000,
        capabilities: ['CHOWN', 'CAP_KILL'],
        terminal: { columns: 0, rows: 70_000 },
      }),
    ).toEqual([
      expect.stringMatching(/^terminal\.columns: must be at least 1/),
      expect.stringMatching(/^terminal\.rows: must be at most 65535/),
      expect.stringMatching(/^hostname: must have 1 to 64 bytes/),
      expect.stringMatching(/^umask: must be at most 511/),
      expect.stringMatching(/^capabilities\.0: 'CHOWN' is no capability .*did you mean 'CAP_CHOWN'\?/),
    ]);
    expect(issuesOf({ hostname: 'ä'.repeat(33) })).toHaveLength(1);
    expect(normalized({ hostname: 'ä'.repeat(32), capabilities: ['CAP_KILL', 'CAP_KILL'] }).capabilities).toEqual([
      'CAP_KILL',
    ]);
    expect(normalized({ terminal: false }).terminal).toBeUndefined();
  });

  test('what is not served gives way to the stricter thing', () => {
    expect(normalized({ network: { allow: ['example.org:443'] }, seccomp: 'strict' })).toMatchObject({
      network: 'none',
      seccomp: 'default',
    });
  });

  test('what is wrong with a profile is said together with the rest', () => {
    const spec: SandboxSpec = { seccomp: { defaultAction: 'SCMP_ACT_NOTIFY' }, hostname: '' };
    const compiled = readFilters(spec, { architecture: 'x64', kernel: '6.1.0' });
    expect(() => normalize(spec, new MemoryHost(), compiled)).toThrow(
      expect.objectContaining({
        issues: [
          expect.objectContaining({ path: ['seccomp', 'defaultAction'] }),
          expect.objectContaining({ path: ['hostname'] }),
        ],
      }),
    );
    expect(issuesOf({ seccompUnknownSyscalls: 'ignore' })).toEqual([
      expect.stringContaining('seccompUnknownSyscalls: is about the names in a profile of your own'),
    ]);
  });

  test('a bound of all own directories is what those with a size of their own leave of it', () => {
    const tmpfs = (destination: string, sizeBytes?: string) =>
      ({ type: 'tmpfs', destination, ...(sizeBytes === undefined ? {} : { sizeBytes }) }) as const;
    const spec: SandboxSpec = { mounts: [tmpfs('/a', '1MiB'), tmpfs('/b')], limits: { diskBytes: '4MiB' } };
    const { limits, mounts } = normalized(spec);
    expect(limits.diskBytes).toBe(3 * 1024 * 1024);
    expect(mounts.map(({ sizeBytes }) => sizeBytes)).toEqual([1024 * 1024, undefined]);
    expect(normalized({ ...spec, root: { readonly: false } }).limits.diskBytes).toBe(2 * 1024 * 1024);
    expect(issuesOf({ ...spec, limits: { diskBytes: '1MiB' } })).toEqual([
      'limits.diskBytes: must be at least 1088KiB, for 1MiB of it are those of mounts with a size of their own',
    ]);
    expect(issuesOf({ limits: { diskBytes: 1 } })).toEqual(['limits.diskBytes: must be at least 64KiB']);
  });

  test('Landlock has clean paths, each port and scope once, and must restrict something', () => {
    const landlock = {
      paths: { '/usr/./lib/': 'rox', '/': 'ro' },
      bindTcp: [0, 80, 80],
      scopes: ['signal', 'signal'],
    } as const;
    const compiled = readFilters({ landlock }, { architecture: 'x64', kernel: '6.1.0' });
    expect(normalize({ landlock }, new MemoryHost(), compiled).landlock).toEqual({
      paths: [
        { path: '/usr/lib', access: 'rox' },
        { path: '/', access: 'ro' },
      ],
      bindTcp: [0, 80],
      connectTcp: undefined,
      scopes: ['signal'],
      portsFilter: portsFilter('x64'),
    });
    expect(issuesOf({ landlock: {} })).toEqual([expect.stringContaining('landlock: must name paths')]);
    expect(issuesOf({ landlock: { scopes: [] } })).toHaveLength(1);
    expect(
      issuesOf({ landlock: { paths: { usr: 'ro', '/a': 'ro', '/a/': 'rw' }, bindTcp: [-1, 65_536], connectTcp: [0] } }),
    ).toEqual([
      "landlock.paths.usr: must be an absolute path inside the sandbox, not 'usr'",
      "landlock.paths./a/: is the same path as '/a'",
      'landlock.bindTcp.0: must be at least 0, not -1',
      'landlock.bindTcp.1: must be at most 65535, not 65536',
      'landlock.connectTcp.0: must be at least 1, not 0',
    ]);
    const many = Object.fromEntries(Array.from({ length: 4097 }, (_, index) => [`/${index}`, 'ro' as const]));
    expect(issuesOf({ landlock: { paths: many } })).toEqual([
      'landlock: must not have more than 4096 rules: it has 4097',
    ]);
  });

  test('nothing but SpecError is thrown, whatever a spec says', () => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom(
        '/',
        '.',
        '..',
        '/usr',
        '/home/alice',
        'src',
        'fifo',
        '/srv',
        '/a/../b',
        'src:/src:rw',
        'a\\:b:/c',
        '~',
        'host',
      ),
    );
    const number = fc.oneof(fc.integer(), fc.double(), fc.constantFrom(0, 1, 1000, 4_294_967_295));
    const quantity = fc.oneof(number, text, fc.constantFrom('5s', '1GiB'));
    const optional = { requiredKeys: [] };
    const mount = fc.oneof(
      text,
      fc.record(
        {
          type: fc.constantFrom('bind', 'tmpfs', 'overlay', 'proc', 'dev', 'sysfs', 'image'),
          destination: text,
          source: text,
          readonly: fc.boolean(),
          sizeBytes: quantity,
          mode: number,
          optional: fc.boolean(),
        },
        { requiredKeys: ['type', 'destination'] },
      ),
    );
    const mappings = fc.oneof(
      fc.constant('subordinate'),
      fc.array(fc.record({ containerID: number, hostID: number, size: number })),
    );
    const spec = fc.record(
      {
        root: fc.oneof(
          text,
          fc.record({ path: text, image: text, readonly: fc.boolean(), writablePaths: fc.array(text) }, optional),
        ),
        mounts: fc.array(mount),
        workspace: fc.oneof(
          text,
          fc.record({ path: text, access: fc.constantFrom('ro', 'rw', 'overlay') }, { requiredKeys: ['path'] }),
        ),
        cwd: text,
        env: fc.oneof(
          fc.dictionary(text, fc.string()),
          fc.record({ inherit: fc.array(text), set: fc.dictionary(text, text) }, optional),
        ),
        hostname: text,
        umask: number,
        user: fc.oneof(
          text,
          fc.record({ uid: number, gid: number, additionalGids: fc.array(number) }, { requiredKeys: ['uid', 'gid'] }),
        ),
        uidMappings: mappings,
        gidMappings: mappings,
        limits: fc.record({ wallMs: quantity, cpuMs: quantity, openFiles: number, outputBytes: quantity }, optional),
        capabilities: fc.array(text),
        terminal: fc.oneof(fc.boolean(), fc.record({ columns: number, rows: number })),
      },
      optional,
    );
    fc.assert(
      fc.property(spec, fc.boolean(), (value, privileged) => {
        const host = new MemoryHost({
          ...(privileged ? asRoot : {}),
          ...withTree({ srv: { dev: 'file', etc: '->/' } }),
        });
        try {
          const result = normalize(value as SandboxSpec, host);
          for (const { destination } of result.mounts) expect(destination).toMatch(/^\/[^/]/);
          expect(result.cwd).toMatch(/^\//);
          expect(JSON.parse(JSON.stringify(result.mounts))).toBeDefined();
        } catch (error) {
          expect(error).toBeInstanceOf(SpecError);
          for (const issue of (error as SpecError).issues) expect(issue.message).not.toBe('');
        }
      }),
      { numRuns: 1500 },
    );
  });

  test('works on the real host', () => {
    const spec = normalize({ workspace: process.cwd(), mounts: ['/usr:/mnt/usr'] }, nodeSpecHost());
    expect(spec.workspace?.path).toBe(process.cwd());
    expect(spec.user.uid).toBe(process.getuid?.());
  });
});
