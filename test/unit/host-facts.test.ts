import { describe, expect, test } from 'vitest';
import type { CallerFacts } from '../../src/backends/backend.ts';
import { callerFacts, readCallerFacts } from '../../src/host/facts.ts';
import { type FakeTree, fakeHost } from '../helpers/fake-host.ts';

const root = { uid: 0, gid: 0, architecture: 'x64' };

function read(tree: FakeTree, caller: typeof root = root): CallerFacts {
  return readCallerFacts(fakeHost(tree, caller), caller);
}

function etcNames(tree: FakeTree): string[] {
  return read(tree).etcEntries.map((entry) => entry.name);
}

const usr = { directory: true } as const;

describe('top level', () => {
  test('directories and links of a merged /usr are told apart, and only those that exist', () => {
    const { topLevel } = read({
      '/usr': usr,
      '/bin': { link: 'usr/bin' },
      '/lib64': { link: 'usr/lib64' },
      '/opt': usr,
    });
    expect(topLevel).toEqual([
      { name: 'usr', kind: 'directory', target: undefined },
      { name: 'bin', kind: 'symlink', target: 'usr/bin' },
      { name: 'lib64', kind: 'symlink', target: 'usr/lib64' },
      { name: 'opt', kind: 'directory', target: undefined },
    ]);
  });

  test('of Nix only the store is shown, not the state beside it', () => {
    expect(read({ '/nix/store/x': usr, '/nix/var/nix': usr }).topLevel.map((entry) => entry.name)).toEqual([
      'nix/store',
    ]);
  });

  test('a link that leads out of what is shown is bound as the directory that it leads to', () => {
    const { topLevel } = read({ '/usr': usr, '/opt': { link: 'var/opt' }, '/var/opt': usr });
    expect(topLevel).toContainEqual({ name: 'opt', kind: 'directory', target: undefined });
  });

  test('a directory that not every user may enter is not shown, to root neither', () => {
    expect(read({ '/opt': { directory: true, mode: 0o700 } }).topLevel).toEqual([]);
  });
});

describe('/etc', () => {
  test.each([
    'shadow',
    'gshadow',
    'sudoers',
    'machine-id',
    'hostname',
    'npmrc',
    'pip.conf',
    'gitconfig',
    'fstab',
    'passwd-',
  ])('%s is not shown, even where everybody may read it', (name) => {
    expect(etcNames({ [`/etc/${name}`]: 'x', '/etc/passwd': 'x' })).toEqual(['passwd']);
  });

  test('private keys and credentials beside public files are not shown', () => {
    const names = etcNames({
      '/etc/ssl/certs': usr,
      '/etc/ssl/private': usr,
      '/etc/ssl/openssl.cnf': 'x',
      '/etc/pki/tls/certs': usr,
      '/etc/pki/tls/private': usr,
      '/etc/maven/settings.xml': 'x',
      '/etc/maven/m2.conf': 'x',
      '/etc/ssh/ssh_host_ed25519_key': 'x',
      '/etc/default/locale': 'x',
      '/etc/default/grub': 'x',
    });
    expect(names).toEqual(['default/locale', 'maven/m2.conf', 'pki/tls/certs', 'ssl/certs', 'ssl/openssl.cnf']);
  });

  test('a listed file that not every user may read is not shown, to root neither', () => {
    expect(etcNames({ '/etc/hosts': { text: 'x', mode: 0o600 }, '/etc/passwd': 'x' })).toEqual(['passwd']);
  });

  test('a listed file below a closed directory is not shown', () => {
    expect(
      etcNames({ '/etc/ssl': { directory: true, mode: 0o700 }, '/etc/ssl/certs': usr, '/etc/passwd': 'x' }),
    ).toEqual(['passwd']);
  });

  test('neither is a device or a socket under a listed name', () => {
    const files = fakeHost({ '/etc/hosts': 'x', '/etc/passwd': 'x' });
    const odd = {
      ...files,
      lstat: (path: string) =>
        path === '/etc/hosts' ? ({ kind: 'other', mode: 0o666, uid: 0 } as const) : files.lstat(path),
    };
    expect(readCallerFacts(odd, root).etcEntries.map((entry) => entry.name)).toEqual(['passwd']);
  });

  test('a link stays one where its target is shown, and is followed where it is not', () => {
    const { etcEntries } = read({
      '/usr': usr,
      '/usr/lib/os-release': 'x',
      '/etc/os-release': { link: '../usr/lib/os-release' },
      '/etc/localtime': { link: '/usr/share/zoneinfo/Europe/Oslo' },
      '/etc/resolv.conf': { link: '/run/systemd/resolve/stub-resolv.conf' },
      '/run/systemd/resolve/stub-resolv.conf': 'nameserver 127.0.0.53\n',
      '/etc/ssl/certs': { link: '../pki/tls/certs' },
      '/etc/pki/tls/certs': usr,
    });
    expect(etcEntries).toEqual([
      { name: 'localtime', kind: 'symlink', target: '/usr/share/zoneinfo/Europe/Oslo' },
      { name: 'os-release', kind: 'symlink', target: '../usr/lib/os-release' },
      { name: 'pki/tls/certs', kind: 'directory', target: undefined },
      { name: 'resolv.conf', kind: 'file', target: undefined },
      { name: 'ssl/certs', kind: 'symlink', target: '../pki/tls/certs' },
    ]);
  });

  test('a link that leads to a file that not every user may read, or to nothing, is not shown', () => {
    const names = etcNames({
      '/etc/hosts': { link: '/root/hosts' },
      '/root/hosts': { text: 'x', mode: 0o600 },
      '/etc/resolv.conf': { link: '/run/nothing' },
      '/etc/passwd': 'x',
    });
    expect(names).toEqual(['passwd']);
  });

  test('versioned names of languages are found by their family', () => {
    expect(etcNames({ '/etc/java-21-openjdk': usr, '/etc/python3.13': usr, '/etc/python-secrets': usr })).toEqual([
      'java-21-openjdk',
      'python3.13',
    ]);
  });
});

describe('caller', () => {
  test('the helpers are looked for only when asked for', () => {
    const files = fakeHost({ '/usr/bin/newuidmap': { text: '', mode: 0o4755 } });
    const asked: string[] = [];
    const facts = readCallerFacts(
      {
        ...files,
        stat: (path) => {
          asked.push(path);
          return files.stat(path);
        },
      },
      root,
    );
    expect(asked.filter((path) => path.includes('newuidmap'))).toEqual([]);
    expect(facts.newuidmap).toBe('/usr/bin/newuidmap');
    expect(facts.newgidmap).toBeUndefined();
  });

  test('an architecture without a launcher is named when a plan needs it', () => {
    const facts = read({}, { ...root, architecture: 'riscv64' });
    expect(() => facts.architecture).toThrow(/riscv64/);
  });

  test('this process has facts, read once', () => {
    const facts = callerFacts();
    expect(facts).toBe(callerFacts());
    expect(facts.uid).toBe(process.getuid?.());
    expect(facts.topLevel.map((entry) => entry.name)).toContain('usr');
    expect(facts.etcEntries.map((entry) => entry.name)).not.toContain('shadow');
  });
});
