import { describe, expect, test } from 'vitest';
import { parse } from '../../src/cli/parse.ts';
import { describeIssue, specOf } from '../../src/cli/spec.ts';
import { validateSpec } from '../../src/spec/schema.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';

function specFrom(args: readonly string[], profile?: SandboxSpec): SandboxSpec {
  const { draft, problems } = parse(args, 'run');
  expect(problems).toEqual([]);
  return specOf(draft, profile);
}

test('no options make an empty spec: every default is the library’s', () => {
  expect(specFrom([])).toEqual({});
});

test('what options make is a spec by the schema, which a run never loads', () => {
  const spec = specFrom([
    ...[
      '-w=/w:ro',
      '--root',
      '/r',
      '--writable',
      '/x',
      '--bind',
      '/a:/b',
      '--tmpfs',
      '/t:1MiB',
      '--mount',
      'type=dev,destination=/d',
    ],
    ...[
      '--cwd',
      '/c',
      '--env',
      'A=b',
      '--env',
      'C',
      '--user',
      '1:2',
      '--uid-map',
      '0:1000:1',
      '--gid-map',
      'subordinate',
      '--hostname',
      'h',
    ],
    ...[
      '--umask',
      '077',
      '--allow',
      'example.org:443',
      '--publish',
      '80',
      '--memory',
      '1GiB',
      '--wall',
      '1s',
      '--cpu',
      '2s',
      '--cpus',
      '1.5',
    ],
    ...[
      '--output',
      '1kB',
      '--pids',
      '9',
      '--open-files',
      '9',
      '--file-size',
      '1B',
      '--stack',
      '8MiB',
      '--core',
      '0B',
      '--disk',
      '1GB',
      '-t',
    ],
    ...['--seccomp', 'unconfined', '--cap-keep', 'CAP_CHOWN'],
    ...['--on-syscall', 'log:mkdir,mkdirat', '--on-syscall', 'errno=EACCES:connect'],
    ...[
      '--landlock',
      '/usr:rox',
      '--landlock-bind',
      'none',
      '--landlock-connect',
      '80,443',
      '--landlock-scope',
      'signal',
    ],
  ]);
  expect(validateSpec(spec)).toEqual(spec);
});

describe('options and a profile', () => {
  const profile: SandboxSpec = {
    root: { path: '/r', readonly: true, writablePaths: ['/a'] },
    mounts: ['/p:/p'],
    workspace: '/old',
    env: { inherit: ['LANG'], set: { A: '1', B: '1' } },
    hostname: 'old',
    limits: { wallMs: 1, pids: 2 },
    capabilities: ['CAP_KILL'],
  };

  test('a profile alone is what it is', () => {
    expect(specFrom([], profile)).toEqual(profile);
  });

  test('an option replaces one value and leaves the others', () => {
    expect(specFrom(['--wall', '2s', '--hostname', 'new', '-w=/new'], profile)).toEqual({
      ...profile,
      hostname: 'new',
      workspace: { path: '/new' },
      limits: { wallMs: '2s', pids: 2 },
    });
  });

  test('an option adds to a list, after the file', () => {
    const spec = specFrom(['--bind', '/x', '--cap-keep', 'CAP_CHOWN', '--writable', '/b'], profile);
    expect(spec.mounts).toEqual(['/p:/p', { type: 'bind', source: '/x', destination: '/x', readonly: true }]);
    expect(spec.capabilities).toEqual(['CAP_KILL', 'CAP_CHOWN']);
    expect(
      specFrom(['--on-syscall', 'errno=EACCES:connect', '--on-syscall', 'log:bind,listen'], {
        onSyscall: [{ names: ['mkdir'], action: 'kill' }],
      }).onSyscall,
    ).toEqual([
      { names: ['mkdir'], action: 'kill' },
      { names: ['connect'], action: 'errno', errno: 'EACCES' },
      { names: ['bind', 'listen'], action: 'log' },
    ]);
    expect(
      specFrom(['--landlock', '/a:b:rw', '--landlock-bind', '1', '--landlock-bind', '2'], {
        landlock: { paths: { '/p': 'ro' }, bindTcp: [9], connectTcp: [] },
      }).landlock,
    ).toEqual({ paths: { '/p': 'ro', '/a:b': 'rw' }, bindTcp: [1, 2], connectTcp: [] });
    expect(spec.root).toEqual({ path: '/r', readonly: true, writablePaths: ['/a', '/b'] });
  });

  test('another root takes the place of the file’s, with its settings', () => {
    expect(specFrom(['--root', '/other'], profile).root).toEqual({
      path: '/other',
      readonly: true,
      writablePaths: ['/a'],
    });
    expect(specFrom(['--root', 'host'], profile).root).toEqual({ readonly: true, writablePaths: ['/a'] });
    expect(specFrom(['--root', '/other'], { root: '/r' }).root).toEqual({ path: '/other' });
    expect(specFrom(['--no-readonly'], { root: '/r' }).root).toEqual({ path: '/r', readonly: false });
  });

  test('a variable that is set is no longer inherited, and the other way round', () => {
    expect(specFrom(['--env', 'LANG=C', '--env', 'A'], profile).env).toEqual({
      inherit: ['A'],
      set: { B: '1', LANG: 'C' },
    });
    expect(specFrom(['--env', 'C=3'], { env: { A: '1' } }).env).toEqual({ inherit: [], set: { A: '1', C: '3' } });
  });

  test('allowed hosts are added to a policy and replace a word', () => {
    expect(specFrom(['--allow', 'b:1'], { network: { allow: ['a:1'] } }).network).toEqual({ allow: ['a:1', 'b:1'] });
    expect(specFrom(['--allow', 'b:1'], { network: 'host' }).network).toEqual({ allow: ['b:1'] });
  });
});

describe('an issue of the spec', () => {
  const { draft } = parse(['--bind', '/x:/y', '--cwd', 'rel', '--wall', '1s'], 'run');

  test('is told in the words of the option behind it', () => {
    expect(describeIssue({ path: ['mounts', 0, 'source'], message: 'must not be empty' }, draft, 0)).toBe(
      '--bind /x:/y: source must not be empty',
    );
    expect(describeIssue({ path: ['mounts', 0, 'source'], message: 'the source /x does not exist' }, draft, 0)).toBe(
      '--bind /x:/y: the source /x does not exist',
    );
    const port = { path: ['landlock', 'connectTcp', 0], message: 'must be at most 65535' };
    expect(describeIssue(port, draft, 0)).toBe('--landlock-connect: must be at most 65535');
    expect(describeIssue({ path: ['cwd'], message: 'must be absolute' }, draft, 0)).toBe('--cwd: must be absolute');
    expect(describeIssue({ path: ['limits', 'wallMs'], message: 'must not be 0' }, draft, 0)).toBe(
      '--wall: must not be 0',
    );
    expect(describeIssue({ path: ['uidMappings', 0, 'size'], message: 'is 0' }, draft, 0)).toBe('--uid-map: is 0');
  });

  test('of a mount in the profile is not blamed on an option', () => {
    expect(describeIssue({ path: ['mounts', 0], message: 'no' }, draft, 1)).toBe('mounts[0]: no');
    expect(describeIssue({ path: ['mounts', 1], message: 'no' }, draft, 1)).toBe('--bind /x:/y: no');
  });
});
