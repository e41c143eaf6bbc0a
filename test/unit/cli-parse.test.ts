import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Draft, Mode } from '../../src/cli/option.ts';
import { options } from '../../src/cli/options.ts';
import { parse } from '../../src/cli/parse.ts';

/** The draft of a command line without faults. */
function read(args: readonly string[], mode: Mode = 'run'): Draft {
  const { draft, problems } = parse(args, mode);
  expect(problems).toEqual([]);
  return draft;
}

function problemsOf(...args: string[]): readonly string[] {
  return parse(args, 'run').problems;
}

describe('where options end', () => {
  test('at the first operand, so that the options of the command are its own', () => {
    expect(parse(['-q', 'ls', '-w', '--help'], 'run')).toMatchObject({
      operands: ['ls', '-w', '--help'],
      ended: false,
      problems: [],
    });
  });

  test('at --, which is no operand itself', () => {
    expect(parse(['-q', '--', '--wall', '3'], 'run')).toMatchObject({
      operands: ['--wall', '3'],
      ended: true,
      problems: [],
    });
  });

  test('only the first -- is ours', () => {
    expect(parse(['--', '--', 'x'], 'run').operands).toEqual(['--', 'x']);
  });

  test('nowhere before --, where they may stand among operands', () => {
    const { operands, draft, ended, problems } = parse(['unpack', '--json', 'a', '--', '--b', '-c'], 'image', 'mixed');
    expect({ operands, json: draft.settings.json, ended, problems }).toEqual({
      operands: ['unpack', 'a', '--b', '-c'],
      json: true,
      ended: false,
      problems: [],
    });
  });

  test('a single - and an empty string are operands', () => {
    expect(parse(['-', '-q'], 'run').operands).toEqual(['-', '-q']);
    expect(parse(['', '-q'], 'run').operands).toEqual(['', '-q']);
  });

  test('whatever follows -- comes out as it went in', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (words) => {
        expect(parse(['-q', '--', ...words], 'run')).toMatchObject({ operands: words, problems: [] });
      }),
    );
  });

  test('whatever follows a program comes out as it went in', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (words) => {
        expect(parse(['prog', ...words], 'run').operands).toEqual(['prog', ...words]);
      }),
    );
  });

  test('no arguments make it throw', () => {
    const word = fc.oneof(
      fc.string(),
      fc.constantFrom(...options.flatMap(({ name, short }) => [`--${name}`, `--${name}=`, `-${short ?? 'x'}`])),
      fc.string().map((text) => `--mount=${text}`),
      fc.string().map((text) => `--bind=${text}`),
      fc.string().map((text) => `-w=${text}`),
    );
    fc.assert(fc.property(fc.array(word), (words) => void parse(words, 'run')));
  });
});

describe('values', () => {
  test('are the next argument, or attached', () => {
    expect(read(['--cwd', '/a']).rest.cwd).toBe('/a');
    expect(read(['--cwd=/a']).rest.cwd).toBe('/a');
    expect(read(['--cwd=']).rest.cwd).toBe('');
  });

  test('keep what follows the first =', () => {
    expect(read(['--env=A=b=c']).env.set['A']).toBe('b=c');
  });

  test('that look like an option have to be attached', () => {
    expect(problemsOf('--cwd', '--wall', 'x')).toEqual([
      '--cwd needs a value before --wall; a value that begins with - is attached: --cwd=--wall',
      "--wall: must be a number of milliseconds with a unit, such as '30s', not 'x'",
    ]);
    expect(read(['--hostname=-x']).rest.hostname).toBe('-x');
  });

  test('that are missing are named', () => {
    expect(problemsOf('--memory')).toEqual(['--memory needs a value: --memory SIZE']);
  });

  test('are refused where there is none to take', () => {
    expect(problemsOf('--quiet=yes')).toEqual(["--quiet takes no value, but got 'yes'"]);
    expect(problemsOf('-q=yes')).toEqual(["-q takes no value, but got 'yes'"]);
  });

  test('of sizes and times need a unit', () => {
    expect(read(['--memory', '512MiB', '--wall', '30s']).limits).toEqual({ memoryBytes: '512MiB', wallMs: '30s' });
    expect(problemsOf('--memory', '512')).toEqual([
      "--memory: add a unit to '512': B, kB, KiB, MB, MiB, GB, GiB, TB, TiB",
    ]);
    expect(problemsOf('--wall=30')).toEqual(["--wall: add a unit to '30': ms, s, min, h"]);
  });

  test('of counts are whole numbers in range', () => {
    expect(read(['--open-files', '64', '--pids=1']).limits).toEqual({ openFiles: 64, pids: 1 });
    expect(problemsOf('--pids', '0')).toEqual(["--pids: must be a whole number of at least 1, not '0'"]);
    expect(problemsOf('--open-files', '1e3')).toEqual([
      "--open-files: must be a whole number of at least 0, not '1e3'",
    ]);
    expect(problemsOf('--cpus', '0')).toEqual(["--cpus: must be a number above 0, such as 1.5, not '0'"]);
  });

  test('of umask are octal', () => {
    expect(read(['--umask', '077']).rest.umask).toBe(0o77);
    expect(problemsOf('--umask', '9')).toEqual(["--umask: must be octal, such as 022, not '9'"]);
  });
});

describe('short options', () => {
  test('may be written together', () => {
    const draft = read(['-tqv', 'x']);
    expect(draft.settings).toMatchObject({ quiet: true, verbose: true });
    expect(draft.rest.terminal).toBe(true);
  });

  test('leave a value to the last of them', () => {
    expect(read(['-tw=/a:ro']).workspace).toEqual({ path: '/a', access: 'ro' });
  });

  test('that are unknown are all named', () => {
    expect(problemsOf('-zqy')).toEqual(['unknown option -z', 'unknown option -y']);
  });
});

describe('the workspace', () => {
  const here = process.cwd();

  test.each([
    [['-w'], { path: here }],
    [['--workspace'], { path: here }],
    [['-w='], { path: here }],
    [['-w=:ro'], { path: here, access: 'ro' }],
    [['-w=/a b:overlay'], { path: '/a b', access: 'overlay' }],
    [['--workspace=/a'], { path: '/a' }],
    [['--workspace=/a:x:rw'], { path: '/a:x', access: 'rw' }],
    [['-w=sub'], { path: `${here}/sub` }],
  ])('%j is %j', (args, expected) => {
    expect(read(args).workspace).toEqual(expected);
  });

  test('never takes the next argument', () => {
    expect(parse(['-w', './build.sh'], 'run').operands).toEqual(['./build.sh']);
  });

  test('with a ~ that the shell left alone is refused', () => {
    expect(problemsOf('-w=~/src')).toEqual(['-w: the shell leaves ~ alone here; write "$HOME/src" instead of ~/src']);
  });
});

describe('mounts', () => {
  test('of every kind keep the order in which they were given', () => {
    const { mounts } = read([
      '--tmpfs',
      '/a',
      '--bind',
      '/b:/c:rw',
      '--mount',
      'type=tmpfs,destination=/d,size=1MiB',
      '--bind=/e',
    ]);
    expect(mounts.map(({ mount }) => mount)).toEqual([
      { type: 'tmpfs', destination: '/a' },
      { type: 'bind', source: '/b', destination: '/c', readonly: false },
      { type: 'tmpfs', destination: '/d', sizeBytes: '1MiB' },
      { type: 'bind', source: '/e', destination: '/e', readonly: true },
    ]);
  });

  test.each([
    ['/a b:/c d', { source: '/a b', destination: '/c d', readonly: true }],
    ['./a:/b:ro', { source: './a', destination: '/b', readonly: true }],
    ['/a:rw', { source: '/a', destination: '/a', readonly: false }],
    ['/a\\:b:/c', { source: '/a:b', destination: '/c', readonly: true }],
    ['/a\\:b', { source: '/a:b', destination: '/a:b', readonly: true }],
    ['sub', { source: `${process.cwd()}/sub`, destination: `${process.cwd()}/sub`, readonly: true }],
  ])('--bind %s', (value, expected) => {
    expect(read(['--bind', value]).mounts[0]?.mount).toEqual({ type: 'bind', ...expected });
  });

  test.each([
    ['source=/a,destination=/b', { type: 'bind', source: '/a', destination: '/b' }],
    [
      'destination=/b,source=/a,readonly=false,optional',
      { type: 'bind', source: '/a', destination: '/b', readonly: false, optional: true },
    ],
    ['source=/a\\,b,destination=/c=d', { type: 'bind', source: '/a,b', destination: '/c=d' }],
    ['type=tmpfs,destination=/t,mode=1777', { type: 'tmpfs', destination: '/t', mode: 0o1777 }],
    ['type=proc,destination=/p', { type: 'proc', destination: '/p' }],
    ['/a:/b', { type: 'bind', source: '/a', destination: '/b', readonly: true }],
  ])('--mount %s', (value, expected) => {
    expect(read(['--mount', value]).mounts[0]?.mount).toEqual(expected);
  });

  test('any path survives --mount when its commas are escaped', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (path) => {
        const escaped = path.replaceAll(/[\\,]/g, (character) => `\\${character}`);
        expect(read(['--mount', `source=${escaped},destination=/d`]).mounts[0]?.mount.source).toBe(path);
      }),
    );
  });

  test('all that is wrong in one is said', () => {
    expect(problemsOf('--mount', 'type=bnd,src=/a,readonly=2,size=5,size=6')).toEqual([
      "--mount: type 'bnd' is no type of a mount; did you mean bind?; 'src' is no key of a mount: known are type, source, destination, " +
        "readonly, size, mode, optional and changes; readonly is true or false, not '2'; size add a unit to '5': B, kB, KiB, MB, MiB, GB, GiB, TB, TiB; " +
        "size is given twice; size add a unit to '6': B, kB, KiB, MB, MiB, GB, GiB, TB, TiB; destination is missing; source is missing",
    ]);
  });

  test.each([
    ['--bind', '', /no destination/],
    ['--bind', '/a:/b:rx', /neither 'ro' nor 'rw'/],
    ['--bind', '/a:/b:ro:x', /too many parts/],
    ['--bind', ':/b', /empty source/],
    ['--tmpfs', '/a:5', /unit/],
    ['--mount', '', /no destination/],
  ])('%s %j is refused', (option, value, reason) => {
    expect(problemsOf(`${option}=${value}`)).toEqual([expect.stringMatching(reason)]);
  });
});

describe('the environment', () => {
  test('takes values, names and lists of names', () => {
    expect(read(['--env', 'A=', '--env', 'B', '--env-inherit', 'C,LC_*']).env).toEqual({
      inherit: ['B', 'C', 'LC_*'],
      set: Object.assign(Object.create(null), { A: '' }),
    });
  });

  test('may have a variable of any name', () => {
    expect(Object.entries(read(['--env', '__proto__=x']).env.set)).toEqual([['__proto__', 'x']]);
  });

  test('has no variable without a name', () => {
    expect(problemsOf('--env', '=x', '--env=', '--env-inherit', 'A,,B')).toEqual([
      "--env: '=x' has no name before the =",
      "--env: '' has no name before the =",
      "--env-inherit: 'A,,B' has an empty name in it",
    ]);
  });
});

describe('what is given more than once', () => {
  test('is refused where only one can count', () => {
    expect(problemsOf('--memory=1GiB', '--memory', '2GiB')).toEqual([
      '--memory=1GiB and --memory=2GiB: only one of them can count',
    ]);
    expect(problemsOf('--readonly', '--no-readonly')).toEqual([
      '--readonly and --no-readonly: only one of them can count',
    ]);
    expect(problemsOf('-w', '-w=/a')).toEqual(['--workspace= and --workspace=/a: only one of them can count']);
  });

  test('is fine where it says the same', () => {
    expect(read(['-q', '-q', '--wall=1s', '--wall', '1s']).limits.wallMs).toBe('1s');
  });

  test('adds up where the option is repeatable', () => {
    const draft = read([
      '--cap-keep',
      'CAP_CHOWN',
      '--cap-keep=CAP_KILL',
      '--writable',
      '/a',
      '--writable',
      '/b',
      '--optional=seccomp.default',
      '--optional',
      'selinux',
    ]);
    expect(draft.capabilities).toEqual(['CAP_CHOWN', 'CAP_KILL']);
    expect(draft.root.writablePaths).toEqual(['/a', '/b']);
    expect(draft.settings.optional).toEqual(['seccomp.default', 'selinux']);
  });

  test('all of the root excludes some of it', () => {
    expect(problemsOf('--writable=/a', '--writable=all')).toEqual(['--writable: all excludes a list of paths']);
    expect(problemsOf('--uid-map=subordinate', '--uid-map=0:0:1')).toEqual([
      "--uid-map: 'subordinate' excludes other mappings",
    ]);
  });
});

describe('unknown words', () => {
  test('get the nearest that is known', () => {
    expect(problemsOf('--memroy=1GiB', '--work-space', '--zzzzzz')).toEqual([
      'unknown option --memroy; did you mean --memory?',
      'unknown option --work-space; did you mean --workspace?',
      'unknown option --zzzzzz',
    ]);
    expect(
      problemsOf('--network', 'hosts', '--cap-keep', 'chown', '--kill-signal', 'SIGTREM', '--optional=seccomp'),
    ).toEqual([
      "--network: 'hosts' is no network; did you mean host?",
      "--cap-keep: 'chown' is no capability of capabilities(7); did you mean 'CAP_CHOWN'?",
      "--kill-signal: 'SIGTREM' is no signal; did you mean SIGTERM?",
      expect.stringContaining("--optional: 'seccomp' is no feature"),
    ]);
  });

  test('do not hide what is wrong after them', () => {
    expect(problemsOf('--memroy', '1GiB', '--wall', '3')).toHaveLength(2);
  });

  test('of another command are told from those of none', () => {
    expect(problemsOf('--as', 'bwrap')).toEqual(['--as means nothing to a run']);
    expect(parse(['--memory', '1GiB'], 'doctor').problems).toEqual(['--memory means nothing to doctor']);
  });
});

test('no two options share a name or a letter', () => {
  const words = options.flatMap(({ name, short }) => (short === undefined ? [name] : [name, short]));
  expect(new Set(words).size).toBe(words.length);
});
