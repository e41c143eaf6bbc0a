import { posix } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type HintHost, type HostFile, hintFor, isVisible } from '../../src/cli/hints.ts';
import { LaunchError, type LaunchFailure } from '../../src/errors/errors.ts';
import { isInHostView } from '../../src/spec/host-view.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { NormalizedSpec, SandboxSpec } from '../../src/spec/types.ts';
import { MemoryHost, type MemoryHostOptions, type Tree } from '../helpers/memory-host.ts';

const tree: Tree = {
  bin: '->usr/bin',
  dev: { kvm: '!character device', null: '!character device' },
  etc: {
    passwd: 'root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\n',
    group: '',
    shadow: 'x',
  },
  home: {
    alice: {
      proj: { 'build.sh': '#!', 'a b': 'x', src: { main: 'x' } },
      '.ssh': { id: 'x' },
      node: { bin: { node: 'elf' } },
    },
  },
  proc: {},
  rootfs: { etc: { os: 'x' }, bin: {} },
  sys: { class: { net: {} } },
  srv: { data: 'x', py: { bin: { python3: 'elf' } } },
  tmp: { input: 'x' },
  usr: { bin: { true: 'elf', linked: '->/srv/data', python3: '->/srv/py/bin/python3' }, lib: {}, local: { bin: {} } },
};

const files: Readonly<Record<string, HostFile['kind']>> = {
  'character device': 'device',
  directory: 'directory',
  file: 'file',
};

function hostOf(options: MemoryHostOptions, owner: number): HintHost {
  const memory = new MemoryHost({ tree, cwd: '/home/alice/proj', ...options });
  return {
    cwd: memory.cwd,
    home: memory.home,
    uid: memory.uid,
    searchPath: ['/home/alice/node/bin', '/usr/bin'],
    resolve: (directory, path) => posix.resolve(directory, path),
    find(path) {
      const { kind } = memory.stat(path);
      return kind === 'nothing'
        ? undefined
        : { kind: files[kind] ?? 'other', executable: true, uid: owner, gid: owner };
    },
    realpath: (path) => memory.realpath(path),
    inHostView: (path) => isInHostView(path) || ['/etc', '/etc/passwd', '/etc/group'].includes(path),
  };
}

interface Case extends MemoryHostOptions {
  readonly spec?: SandboxSpec;
  readonly owner?: number;
  readonly failure?: LaunchFailure;
}

function hint(
  argv: readonly string[],
  { spec = {}, owner = 1000, failure, ...options }: Case = {},
): string | undefined {
  const host = hostOf(options, owner);
  return hintFor(
    failure === undefined ? { kind: 'exited' } : { kind: 'failed', error: new LaunchError('x', failure) },
    normalized(spec, options),
    argv,
    host,
  );
}

function normalized(spec: SandboxSpec, options: MemoryHostOptions = {}): NormalizedSpec {
  return normalize(spec, new MemoryHost({ tree, cwd: '/home/alice/proj', ...options }));
}

const notFound: LaunchFailure = { step: 'exec', reason: 'not-found', errno: 'ENOENT' };

describe('a program that was not found', () => {
  test('in the current directory gets -w', () => {
    const expected =
      '/home/alice/proj/build.sh is not in the sandbox; add -w to work in the current directory, or --bind /home/alice/proj';
    expect(hint(['./build.sh'], { failure: notFound })).toBe(expected);
    expect(hint(['/home/alice/proj/build.sh'], { failure: notFound })).toBe(expected);
  });

  test('on a PATH of the host that is not the sandbox’s gets its installation and PATH', () => {
    expect(hint(['node'], { failure: notFound })).toBe(
      'node is /home/alice/node/bin/node on this host, which is not in the sandbox; add --bind /home/alice/node --env PATH',
    );
  });

  test('whose link leads out of the sandbox gets where the link leads', () => {
    expect(hint(['python3'], { failure: notFound })).toBe(
      'python3 is /usr/bin/python3 on this host, which is not in the sandbox; add --bind /srv/py',
    );
  });

  test('and that the host does not have either gets no hint', () => {
    expect(hint(['nosuch'], { failure: notFound })).toBeUndefined();
    expect(hint(['./nosuch'], { failure: notFound })).toBeUndefined();
  });

  test('and has the name of a word of ours gets where that word counts', () => {
    expect(hint(['doctor'], { failure: notFound })).toBe(
      'to run-sandbox itself, doctor means something only as its very first argument',
    );
  });

  test('with an interpreter that is elsewhere on the host gets the interpreter', () => {
    const failure: LaunchFailure = { step: 'exec', reason: 'missing-interpreter', interpreter: '/srv/py/bin/python3' };
    expect(hint(['/usr/bin/tool'], { failure })).toBe(
      '/srv/py/bin/python3 is not in the sandbox; add --bind /srv/py/bin/python3',
    );
  });

  test('but could not be executed for another reason gets no hint', () => {
    expect(hint(['./build.sh'], { failure: { step: 'exec', reason: 'not-executable' } })).toBeUndefined();
    expect(hint(['./build.sh'], { failure: { step: 'mount', errno: 'EPERM' } })).toBeUndefined();
  });
});

test('a --cwd that only the host has is named', () => {
  expect(hint(['true'], { spec: { cwd: '/srv' }, failure: { step: 'cwd', errno: 'ENOENT' } })).toBe(
    '/srv is not in the sandbox; add --bind /srv',
  );
});

describe('a command that failed', () => {
  test.each([
    ['/home/alice/.ssh/id', '/home/alice/.ssh/id is not in the sandbox; add --bind /home/alice/.ssh/id'],
    ['/dev/kvm', '/dev/kvm is not in the sandbox; add --bind /dev/kvm'],
    ['/sys/class/net', '/sys/class/net is not in the sandbox; add --mount type=sysfs,destination=/sys'],
    ['/tmp/input', '/tmp/input is not in the sandbox; add --bind /tmp/input'],
    ['/etc/shadow', '/etc/shadow is not in the sandbox; add --bind /etc/shadow'],
    ['--file=/srv/data', '/srv/data is not in the sandbox; add --bind /srv/data'],
    ['/usr/bin/linked', '/usr/bin/linked leads to /srv/data, which is not in the sandbox; add --bind /srv/data'],
    [
      'a b',
      '/home/alice/proj/a b is not in the sandbox; add -w to work in the current directory, or --bind /home/alice/proj',
    ],
    [
      'src',
      '/home/alice/proj/src is not in the sandbox; add -w to work in the current directory, or --bind /home/alice/proj/src',
    ],
    [
      '.',
      '/home/alice/proj is not in the sandbox; add -w to work in the current directory, or --bind /home/alice/proj',
    ],
  ])('and was given %s is told where it is', (argument, expected) => {
    expect(hint(['cat', argument])).toBe(expected);
  });

  test.each([
    '/usr/bin/true',
    '/bin/true',
    '/etc/passwd',
    '/dev/null',
    '/proc',
    '/',
    '/tmp',
    '/nowhere',
    '-x',
    '',
    '--file=/nowhere',
    'text',
  ])('and was given %j is not told anything', (argument) => {
    expect(hint(['cat', argument])).toBeUndefined();
  });

  test('and looks for a project where it starts is told to take the current directory along', () => {
    expect(hint(['npm', 'test'])).toBe('the current directory is not in the sandbox; add -w to work in it');
    expect(hint(['/usr/bin/make'])).toBe('the current directory is not in the sandbox; add -w to work in it');
    expect(hint(['npm', 'test'], { spec: { workspace: '.' } })).toBeUndefined();
    expect(hint(['npm', 'test'], { cwd: '/usr/lib' })).toBeUndefined();
    expect(hint(['false'])).toBeUndefined();
  });

  test('in a workspace has its files', () => {
    expect(hint(['cat', 'src/main', '/home/alice/proj/build.sh'], { spec: { workspace: '.' } })).toBeUndefined();
  });

  test('in a workspace is not told to add one for what lies elsewhere', () => {
    expect(hint(['cat', '../.ssh/id'], { spec: { workspace: '.' } })).toBe(
      '/home/alice/.ssh/id is not in the sandbox; add --bind /home/alice/.ssh/id',
    );
  });

  test('in the home directory is not told to open all of it', () => {
    expect(hint(['cat', '.ssh/id'], { cwd: '/home/alice' })).toBe(
      '/home/alice/.ssh/id is not in the sandbox; add --bind /home/alice/.ssh/id',
    );
  });

  test('has what is bound at another place there, and not at its own', () => {
    const spec: SandboxSpec = { mounts: ['/srv:/data'] };
    expect(hint(['cat', '/data/data'], { spec })).toBeUndefined();
    expect(hint(['cat', '/srv/data'], { spec })).toBe('/srv/data is not in the sandbox; add --bind /srv/data');
  });

  test('does not have what a later mount covers', () => {
    const spec: SandboxSpec = { mounts: ['/srv:/srv', { type: 'tmpfs', destination: '/srv/py' }] };
    expect(hint(['cat', '/srv/data'], { spec })).toBeUndefined();
    expect(hint(['cat', '/srv/py/bin/python3'], { spec })).toBe(
      '/srv/py/bin/python3 is not in the sandbox; add --bind /srv/py/bin/python3',
    );
  });

  test('in a root directory has the files of that directory', () => {
    const spec: SandboxSpec = { root: '/rootfs' };
    expect(hint(['cat', '/etc/os'], { spec })).toBeUndefined();
    expect(hint(['cat', '/srv/data'], { spec })).toBe('/srv/data is not in the sandbox; add --bind /srv/data');
  });

  test('in a root directory is not told to take the system of this host instead', () => {
    const spec: SandboxSpec = { root: '/rootfs' };
    expect(hint(['cat', '/etc/passwd'], { spec })).toBeUndefined();
    expect(hint(['/bin/true'], { spec, failure: notFound })).toBeUndefined();
    expect(hint(['node'], { spec, failure: notFound })).toBeUndefined();
  });

  test('and was given a URL is told that there is no network', () => {
    expect(hint(['curl', '-s', 'https://example.org/x'])).toBe(
      'there is no network in the sandbox, so https://example.org/x cannot be reached; add --network host',
    );
    expect(hint(['curl', 'https://example.org/x'], { spec: { network: 'host' } })).toBeUndefined();
  });

  test('as root in a workspace of somebody else is told about the owner', () => {
    const root: Case = { uid: 0, gid: 0, username: 'root', home: '/root', spec: { workspace: '.' } };
    expect(hint(['make'], root)).toBe(
      '/home/alice/proj belongs to uid 1000, and root without capabilities may not write there; add --user 1000:1000, or --cap-keep CAP_DAC_OVERRIDE',
    );
    expect(hint(['make'], { ...root, owner: 0 })).toBeUndefined();
    expect(hint(['make'], { ...root, spec: { workspace: '.', capabilities: ['CAP_DAC_OVERRIDE'] } })).toBeUndefined();
    expect(hint(['make'], { ...root, spec: { workspace: { path: '.', access: 'ro' } } })).toBeUndefined();
    expect(hint(['make'], { spec: { workspace: '.' } })).toBeUndefined();
  });
});

test('a loop of symlinks is no reason to hang', () => {
  const loop: Tree = { ...tree, usr: { bin: { a: '->b', b: '->a' }, lib: {} } };
  expect(isVisible('/usr/bin/a', normalized({}), hostOf({ tree: loop }, 0))).toBe(false);
});
