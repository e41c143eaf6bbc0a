import { expect, test } from 'vitest';
import { readFilters } from '../../src/seccomp/custom.ts';
import { describeSpec } from '../../src/spec/explain.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { LandlockSpec, SandboxSpec, SyscallRule } from '../../src/spec/types.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

const sentences = (spec: SandboxSpec): string[] => describeSpec(normalize(spec, new MemoryHost()));

test('the default in words', () => {
  expect(sentences({})).toEqual([
    "the root is this host's system directories, read-only",
    'the home directory /home/alice and /tmp are private and empty at first',
    "no network but the sandbox's own loopback",
    'runs as uid 1000, gid 1000, without capabilities',
    'system calls are filtered by the default seccomp profile',
    'starts in /home/alice, on a host called sandbox, with umask 0022',
    'has 6 environment variables: PATH, HOME, USER, LOGNAME, LANG, TMPDIR',
    'writes no core files',
  ]);
});

test('a filter that was compiled is said in a sentence', () => {
  const said = (spec: SandboxSpec): string | undefined =>
    describeSpec(normalize(spec, new MemoryHost(), readFilters(spec, { architecture: 'x64', kernel: '6.1.0' })))[4];
  expect(said({ seccomp: 'strict' })).toBe(
    'may read and write what is open, end, and nothing else: any other system call kills it',
  );
  const syscalls = [{ names: ['ptrace'], action: 'SCMP_ACT_ERRNO' }];
  expect(said({ seccomp: { defaultAction: 'SCMP_ACT_ALLOW', syscalls } })).toBe(
    'system calls are filtered by a profile of 1 rule, and SCMP_ACT_ALLOW where none fits',
  );
});

test('what becomes of single calls is said', () => {
  const onSyscall: SyscallRule[] = [
    { names: ['mkdir', 'mkdirat'], action: 'log' },
    { names: ['connect'], action: 'errno', errno: 'EACCES' },
    { names: ['bind'], action: 'ask', args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 3 }] },
  ];
  const spec = { onSyscall };
  const compiled = readFilters(spec, { architecture: 'x64', kernel: '6.1.0' });
  expect(describeSpec(normalize(spec, new MemoryHost(), compiled)).slice(5, 8)).toEqual([
    'calls of mkdir and mkdirat are told',
    'calls of connect fail with EACCES, and are told',
    'some calls of bind are asked about',
  ]);
});

test('what Landlock leaves is said', () => {
  const said = (landlock: LandlockSpec): string[] => {
    const spec = { landlock };
    const compiled = readFilters(spec, { architecture: 'x64', kernel: '6.1.0' });
    return describeSpec(normalize(spec, new MemoryHost(), compiled)).slice(5, -3);
  };
  expect(said({ paths: { '/usr': 'rox', '/dev': 'rw' }, connectTcp: [443], bindTcp: [] })).toEqual([
    'Landlock leaves it /usr (rox) and /dev (rw)',
    'may bind no TCP port',
    'may connect to TCP port 443 alone',
  ]);
  expect(said({ paths: {}, connectTcp: [80, 443], scopes: ['signal', 'abstract-unix-socket'] })).toEqual([
    'Landlock leaves it no path at all',
    'may connect to TCP ports 80 and 443 alone',
    'reaches no abstract unix socket of anybody else',
    'sends signals to nobody else',
  ]);
});

test('everything that was asked for is said', () => {
  const words = sentences({
    root: { path: '/usr', writablePaths: ['/bin', '/lib'] },
    mounts: [
      'src:/src:rw',
      { type: 'tmpfs', destination: '/cache', sizeBytes: '1GiB' },
      { type: 'proc', destination: '/proc' },
      { type: 'dev', destination: '/dev' },
      { type: 'sysfs', destination: '/sys' },
      { type: 'bind', source: '/none', destination: '/none', optional: true },
    ],
    workspace: { path: 'link', access: 'ro' },
    network: 'host',
    user: { uid: 0, gid: 0 },
    capabilities: ['CAP_CHOWN', 'CAP_KILL'],
    seccomp: 'unconfined',
    terminal: { columns: 80, rows: 24 },
    uidMappings: 'subordinate',
    limits: {
      wallMs: '30s',
      cpuMs: 1500,
      processCpuMs: 2000,
      cpus: 1.5,
      memoryBytes: '1GiB',
      pids: 64,
      openFiles: 64,
      fileBytes: '1MiB',
      stackBytes: '8MiB',
      coreBytes: '2KiB',
      outputBytes: 1000,
    },
  });
  expect(words).toEqual([
    'the root is the directory /usr, read-only',
    '/bin and /lib of the root stay writable',
    '/src is bound from /home/alice/src, writable',
    '/cache is an empty tmpfs of at most 1GiB, writable',
    "/proc is a proc of the sandbox's own processes",
    '/dev has a few harmless devices',
    "/sys is a sysfs of the sandbox's own network, read-only, without the devices of this host",
    'the workspace /home/alice/link is bound from /home/alice/src, read-only',
    'the home directory /root and /tmp are private and empty at first',
    "the network is this host's, all of it",
    'runs as uid 0, gid 0, with CAP_CHOWN and CAP_KILL',
    'uid 0 inside is uid 1000 of this host',
    'uids 1 to 65536 inside are 100000 to 165535 of this host',
    'gid 0 inside is gid 1000 of this host',
    'system calls are not filtered',
    'starts in /home/alice/link, on a host called sandbox, with umask 0022',
    'has 7 environment variables: PATH, HOME, USER, LOGNAME, LANG, TMPDIR, TERM',
    'runs on a terminal of its own of 80 columns and 24 rows',
    'ends after 30 s',
    'ends after 1500 ms of processor time, of all processes together',
    'each process ends after 2 s of processor time',
    'has the time of 1.5 processors',
    'ends when all of it has more than 1GiB of memory',
    'ends when it has more than 64 processes and threads',
    'each process opens descriptors below 64',
    'writes no file larger than 1MiB',
    'has stacks of at most 8MiB',
    'writes core files of at most 2KiB',
    'ends when it has written more than 1000B to stdout and stderr',
    'mounts[5] is skipped: /none does not exist',
  ]);
});

test('a workspace at its own path, and a writable root, say so', () => {
  expect(sentences({ workspace: 'src', root: { readonly: false } })).toEqual(
    expect.arrayContaining([
      "the root is this host's system directories, writable",
      "the workspace /home/alice/src is this host's own, writable",
    ]),
  );
});

test('a mount over /tmp or the home directory is not called private', () => {
  const words = sentences({ mounts: ['src:/tmp'], workspace: '.' });
  expect(words.some((sentence) => sentence.includes('private and empty'))).toBe(false);
});
