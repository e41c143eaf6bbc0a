// `run-sandbox compile`: what it takes and refuses, and that a compiled plan ends and speaks as the run that it was compiled from.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildCli, type CliResult, runCli, Terminal } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux');

const prebuilds = fileURLToPath(new URL('../../prebuilds', import.meta.url));
let work: string;

beforeAll(() => {
  buildCli();
  work = mkdtempSync(join(tmpdir(), 'compile-'));
  const files: Record<string, [string, number]> = {
    'no-interpreter': ['#!/no/such/interpreter\n', 0o755],
    'no-program': ['nothing that could run\n', 0o755],
    'not-executable': ['#!/bin/sh\n', 0o644],
    'build.sh': ['#!/bin/sh\necho built "$@"\n', 0o755],
    'kills-uname.json': [
      JSON.stringify({
        defaultAction: 'SCMP_ACT_ALLOW',
        architectures: [process.arch === 'x64' ? 'SCMP_ARCH_X86_64' : 'SCMP_ARCH_AARCH64'],
        syscalls: [{ names: ['uname'], action: 'SCMP_ACT_KILL_PROCESS' }],
      }),
      0o644,
    ],
  };
  for (const [name, [content, mode]] of Object.entries(files)) {
    writeFileSync(join(work, name), content);
    chmodSync(join(work, name), mode);
  }
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

let programs = 0;

/** A new compiled plan; where it was refused, that is what there is. */
function compile(options: readonly string[], command: readonly string[] = [], env: NodeJS.ProcessEnv = {}): string {
  const out = join(work, `plan-${++programs}`);
  const { status, stderr } = runCli(['compile', '-q', '-o', out, ...options, '--', ...command], { cwd: work, env });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return out;
}

interface CallOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
}

function call(file: string, args: readonly string[] = [], options: CallOptions = {}): SpawnSyncReturns<string> {
  const { cwd = work, env = {}, input = '' } = options;
  return spawnSync(file, args, { cwd, env: { PATH: process.env['PATH'], ...env }, input, encoding: 'utf8' });
}

type End = Pick<CliResult, 'status' | 'signal' | 'stdout' | 'stderr'>;

function endOf({ status, signal, stdout, stderr }: End): End {
  return { status, signal, stdout, stderr };
}

const shell = (script: string): string[] => ['sh', '-c', script];
const busy = shell('while :; do :; done');

describe('a compiled plan ends and speaks as the run does', () => {
  test.each<[options: string[], command: string[], status: number]>([
    [[], ['true'], 0],
    [[], shell('echo out; echo err >&2; exit 3'), 3],
    [[], shell('exit 125'), 125],
    [[], shell('kill -KILL $$'), 137],
    [[], shell('kill -SEGV $$'), 139],
    [['--wall', '200ms'], ['sleep', '60'], 124],
    [['--wall', '200ms', '--grace', '100ms'], shell('trap "" TERM; sleep 60 & wait; wait'), 124],
    [['--output', '10B'], shell('while :; do echo aaaaaaaaaa; done'), 124],
    [['--process-cpu', '1s'], busy, 124],
    [['--process-cpu', '1s'], shell('trap "" XCPU; while :; do :; done'), 124],
    [['--process-cpu', '60s'], shell('kill -KILL $$'), 137],
    [['--file-size', '1kB'], ['dd', 'if=/dev/zero', 'of=/tmp/file', 'bs=4096', 'count=2', 'status=none'], 124],
    [['--seccomp', 'strict'], ['cat', '/dev/null'], 159],
    [['--seccomp', './kills-uname.json'], ['uname'], 159],
    [[], ['no-such-program'], 127],
    [[], ['/no/such/program'], 127],
    [['-w'], ['./no-interpreter'], 127],
    [['-w'], ['./no-program'], 126],
    [['-w'], ['./not-executable'], 126],
    [[], ['/usr'], 126],
    [['--landlock', '/usr:ro'], ['true'], 126],
    [['--landlock', '/no/such:rox'], ['true'], 125],
    [['--cwd', '/no/such'], ['true'], 125],
    [['--mount', 'type=tmpfs,destination=/proc/x'], ['true'], 125],
  ])('%j %j: %d', (options, command, status) => {
    const expected = endOf(runCli(['-q', ...options, '--', ...command], { cwd: work }));
    expect(expected.status).toBe(status);
    expect(endOf(call(compile(options, command)))).toEqual(expected);
    // The same words, given with the call.
    expect(endOf(call(compile(options), command))).toEqual(expected);
  });

  test.each<[options: string[], command: string[]]>([
    [['--memory', '32MiB'], shell('head -c 200M /dev/zero | tail')],
    [['--pids', '5'], shell('for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait')],
    [['--cpu', '200ms'], busy],
  ])('%j %j: 124, where there are control groups', (options, command) => {
    requires('root');
    const { status, stderr } = call(compile(options, command));
    const expected = runCli(['-q', ...options, '--', ...command], { cwd: work });
    // What shells say of their own children depends on who dies first.
    const ours = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('run-sandbox: '));
    expect({ status, ours: ours(stderr) }).toEqual({ status: 124, ours: ours(expected.stderr) });
    expect(ours(stderr)).toHaveLength(1);
  });

  test('what is skipped is said before each run, unless it was compiled with -q', () => {
    const options = ['--optional', 'network.allow', '--allow', 'example.org:443'];
    const out = join(work, 'skipping');
    const compiled = runCli(['compile', '-o', out, ...options, 'echo', 'ran'], { cwd: work });
    expect(compiled).toMatchObject({ status: 0, stderr: expect.stringContaining('skipped: network.allow (') });
    expect(endOf(call(out))).toEqual(endOf(runCli([...options, 'echo', 'ran'])));
    expect(call(compile(options, ['true'])).stderr).toBe('');
  });

  test('with the same colours on a terminal', async () => {
    const out = compile(['--wall', '100ms'], ['sleep', '60']);
    const terminal = new Terminal([out], { cwd: work });
    try {
      await terminal.shows('\u001b[31mrun-sandbox:\u001b[39m ended by its limit wallMs');
      expect(await terminal.ended()).toBe(124);
    } finally {
      terminal.end();
    }
  });
});

describe('the words of a call', () => {
  test('follow those that were compiled', () => {
    const words = ['--wall', '', ' ', '--', 'a\nb', '$HOME', '-h', '--version', 'run', '--plan-fd', '3'];
    const out = compile([], ['printf', '[%s]']);
    expect(call(out, words).stdout).toBe(words.map((word) => `[${word}]`).join(''));
  });

  test('are the command where none was', () => {
    expect(call(compile([]), ['printf', '%s', 'x']).stdout).toBe('x');
  });

  test('are missed where there must be some', () => {
    for (const words of [[], ['']]) {
      expect(endOf(call(compile([]), words))).toMatchObject({
        status: 125,
        stdout: '',
        stderr: expect.stringMatching(/^run-sandbox: no command given\b.*\n$/),
      });
    }
  });

  test('may be those of a script that names it as its interpreter', () => {
    const out = compile(['-w'], ['sh']);
    writeFileSync(join(work, 'script'), `#!${out}\necho "$0" "$@" in $(uname -n)\n`);
    chmodSync(join(work, 'script'), 0o755);
    expect(call('./script', ['a', 'b']).stdout).toBe('./script a b in sandbox\n');
  });

  test('serve make as its shell, in directories below too', () => {
    requires('command:make');
    const out = compile(['-w'], ['sh']);
    mkdirSync(join(work, 'below'));
    for (const directory of ['.', 'below'])
      writeFileSync(join(work, directory, 'Makefile'), 'all:\n\t@uname -n; pwd\n');
    expect(call('make', ['-s', `SHELL=${out}`]).stdout).toBe(`sandbox\n${work}\n`);
    expect(call('make', ['-s', '-C', 'below', `SHELL=${out}`]).stdout).toBe(`sandbox\n${work}/below\n`);
  });
});

describe('the environment of a call', () => {
  test('is as the spec has it, with the values of the call for what is passed on', () => {
    const names = [
      '--env',
      'PASSED',
      '--env',
      'SET=now',
      '--env-inherit',
      'LC_*',
      '--env',
      'LC_CTYPE=now',
      '--env',
      'PATH',
    ];
    const out = compile(names, ['env'], { PASSED: 'compiled', LC_TIME: 'compiled', SECRET: 'compiled' });
    const env = {
      PASSED: 'called',
      LC_ALL: 'C',
      LC_CTYPE: 'called',
      SET: 'called',
      SECRET: 'called',
      PATH: '/usr/bin:/bin',
      HOME: '/x',
    };
    const lines = call(out, [], { env }).stdout.split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        'PASSED=called',
        'SET=now',
        'LC_ALL=C',
        'LC_CTYPE=now',
        'PATH=/usr/bin:/bin',
        'LANG=C.UTF-8',
      ]),
    );
    expect(lines.join('\n')).not.toMatch(/compiled|SECRET|HOME=\/x/);
    expect(call(out).stdout).not.toContain('PASSED');
  });

  test('has the kind of the terminal of each call', () => {
    const out = compile(['-t'], shell('echo $TERM'), { TERM: 'compiled' });
    expect(call(out, [], { env: { TERM: 'called' } }).stdout).toBe('called\r\n');
    expect(call(out).stdout).toBe('xterm\r\n');
  });

  test('of everything leaves what describes the sandbox', () => {
    const env = { A: 'a', HOME: '/x', USER: 'x', TMPDIR: '/x', PWD: '/x' };
    const out = compile(['--env-inherit', '*'], ['env'], env);
    const lines = call(out, [], { env }).stdout.split('\n');
    expect(lines).toContain('A=a');
    expect(lines.join('\n')).not.toMatch(/(HOME|USER|TMPDIR|PWD)=.*x$/m);
    expect(lines).toEqual(
      runCli(['--env-inherit', '*', 'env'], { env })
        .stdout.split('\n')
        .filter((line) => lines.includes(line)),
    );
  });
});

describe('where the command starts', () => {
  test('is the directory of the call, in the workspace or below, and the workspace elsewhere', () => {
    const out = compile(['-w'], ['pwd']);
    mkdirSync(join(work, 'sub'), { recursive: true });
    mkdirSync(`${work}-beside`, { recursive: true });
    try {
      expect(call(out).stdout).toBe(`${work}\n`);
      expect(call(out, [], { cwd: join(work, 'sub') }).stdout).toBe(`${work}/sub\n`);
      expect(call(out, [], { cwd: '/' }).stdout).toBe(`${work}\n`);
      expect(call(out, [], { cwd: `${work}-beside` }).stdout).toBe(`${work}\n`);
    } finally {
      rmSync(`${work}-beside`, { recursive: true });
    }
  });

  test('is what --cwd says, wherever the call comes from', () => {
    const out = compile(['-w', '--cwd', '/usr'], ['pwd']);
    expect(call(out).stdout).toBe('/usr\n');
  });
});

describe('compile', () => {
  test('says what it wrote, and for whom', () => {
    const out = join(work, 'said');
    const { status, stdout, stderr } = runCli(['compile', '-o', out, '-w', '--env', 'A', 'make', 'check'], {
      cwd: work,
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(
        `^run-sandbox: ${out} runs make check on backend native, for uid \\d+ on Linux \\d+\\.\\d+$`,
      ),
      `run-sandbox: paths are those of now, wherever it is started: ${work}`,
      'run-sandbox: taken from the environment of each call: A',
      '',
    ]);
    // It holds values of variables.
    expect(statSync(out).mode & 0o777).toBe(0o700);
  });

  test('replaces what it wrote before, and nothing else without --force', () => {
    const out = compile([], ['echo', 'first']);
    expect(runCli(['compile', '-q', '-o', out, 'echo', 'second'])).toMatchObject({ status: 0, stderr: '' });
    expect(call(out).stdout).toBe('second\n');
    const text = join(work, 'text');
    writeFileSync(text, 'mine');
    expect(runCli(['compile', '-o', text, 'true'])).toMatchObject({
      status: 125,
      stderr: `run-sandbox: --out ${text}: is there, and no compiled plan; --force replaces it\nrun-sandbox: see run-sandbox --help\n`,
    });
    expect(runCli(['compile', '-q', '--force', '-o', text, 'true'])).toMatchObject({ status: 0, stderr: '' });
    expect(call(text).status).toBe(0);
  });

  test('refuses with every reason at once what only a run can do, and writes nothing', () => {
    const before = readdirSync(work);
    const { status, stderr } = runCli(
      [
        ...['compile', '-o', join(work, 'refused'), '--backend', 'bubblewrap', '--on-syscall', 'log:connect'],
        ...['--image', './image.oci', '-w=:overlay', '--changes', 'keep', '--env-inherit', 'A*B', 'true'],
      ],
      { cwd: work },
    );
    expect(status).toBe(125);
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(/^run-sandbox: backend: bubblewrap needs .*; only native does not$/),
      expect.stringMatching(/^run-sandbox: --image: is kept by this library .*run-sandbox image unpack/),
      expect.stringMatching(/^run-sandbox: --on-syscall: is heard and answered by this library/),
      expect.stringMatching(/^run-sandbox: --changes: 'capture' keeps changes/),
      expect.stringMatching(/^run-sandbox: --workspace: 'capture' keeps changes/),
      "run-sandbox: --env-inherit: '*' may only be the last character",
      'run-sandbox: see run-sandbox --help',
      '',
    ]);
    expect(readdirSync(work)).toEqual(before);
  });

  test('refuses another backend that the environment names', () => {
    const result = runCli(['compile', '-o', join(work, 'refused'), 'true'], { env: { SANDBOXLIB_BACKEND: 'none' } });
    expect(result).toMatchObject({ status: 125, stderr: expect.stringContaining('backend: none needs') });
  });

  test.each([
    [['true'], 'no file given: run-sandbox compile'],
    [['-o', '/no/such/directory/file', 'true'], 'there is no directory /no/such/directory'],
    [['-o', '/usr', 'true'], 'is there, and no regular file'],
    [['-o', '/proc/plan', 'true'], '--out /proc/plan: cannot be written: E'],
    [['-o', 'x', '--json', 'true'], '--json means nothing to compile'],
    [['-o', 'x', '--status-fd', '3', 'true'], '--status-fd means nothing to compile'],
    [['-o', 'x', '--bind', '/no/such:/x', 'true'], 'does not exist'],
    [['-o', 'x', '--allow', 'example.org:443', 'true'], 'network.allow'],
  ])('of %j is refused', (args, why) => {
    expect(runCli(['compile', ...args], { cwd: work })).toMatchObject({
      status: 125,
      stdout: '',
      stderr: expect.stringContaining(why),
    });
    expect(existsSync(join(work, 'x'))).toBe(false);
  });

  test.each(readdirSync(prebuilds).filter((name) => name.startsWith('linux-')))(
    'finds the one place for a plan in the launcher of %s',
    (platform) => {
      const launcher = readFileSync(join(prebuilds, platform, 'launcher'));
      const mark = 'SBX-COMPILED-AT:';
      expect(launcher.indexOf(mark)).toBeGreaterThan(0);
      expect(launcher.indexOf(mark)).toBe(launcher.lastIndexOf(mark));
      expect(launcher.subarray(launcher.indexOf(mark) + mark.length).readBigUInt64LE()).toBe(0n);
    },
  );

  test('refuses a launcher that has no place for a plan', () => {
    const env = { SANDBOXLIB_LAUNCHER: '/bin/true' };
    expect(runCli(['compile', '-o', join(work, 'x'), 'true'], { env })).toMatchObject({
      status: 125,
      stderr: expect.stringMatching(/nothing can be compiled.*\/bin\/true has no place for a plan/),
    });
  });
});
