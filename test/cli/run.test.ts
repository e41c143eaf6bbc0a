import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildCli, cliPath, parseLines, runCli } from '../helpers/cli.ts';
import { guestPath } from '../helpers/guest.ts';
import { requires } from '../helpers/requires.ts';

requires('linux');

let work: string;
let project: string;

beforeAll(() => {
  buildCli();
  work = mkdtempSync(join(tmpdir(), 'cli-'));
  project = join(work, 'proj');
  mkdirSync(project);
  writeFileSync(join(project, 'build.sh'), '#!/bin/sh\necho built | tee out\n');
  chmodSync(join(project, 'build.sh'), 0o755);
  writeFileSync(join(project, 'data'), 'text');
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('the exit status', () => {
  test.each([
    ['the command’s own', ['true'], 0],
    ['the command’s own', ['sh', '-c', 'exit 3'], 3],
    ['the command’s own, also where we use it ourselves', ['sh', '-c', 'exit 125'], 125],
    ['128+n for signal n', ['sh', '-c', 'kill -KILL $$'], 137],
    ['128+n for signal n', ['sh', '-c', 'kill -SEGV $$'], 139],
    ['124 when a limit ended it', ['--wall', '100ms', 'sleep', '60'], 124],
    ['124 when a limit ended it', ['--output', '10B', 'sh', '-c', 'while :; do echo aaaaaaaaaa; done'], 124],
    ['127 when the command was not found', ['no-such-program'], 127],
    ['126 when the command cannot be executed', ['/etc/passwd'], 126],
    ['126 when the command is a directory', ['--', '/usr'], 126],
    ['125 when the spec is wrong', ['--bind', '/no/such:/x', 'true'], 125],
    ['125 when a feature is not to be had', ['--allow', 'example.org:443', 'true'], 125],
    ['125 when there is no command', ['-q'], 125],
    ['125 when an option is unknown', ['--no-such-option', 'true'], 125],
    ['125 when the directory to start in is not there', ['--cwd', '/no/such', 'true'], 125],
  ])('is %s: %j', (_title, args, status) => {
    expect(runCli(args)).toMatchObject({ status, signal: null });
  });
});

describe('wrong use', () => {
  test('is told all at once, one line each', () => {
    const { status, stdout, stderr } = runCli(['--memroy', '1GiB', '--wall', '3', '--umask=9', 'true']);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toBe(
      [
        'run-sandbox: unknown option --memroy; did you mean --memory?',
        "run-sandbox: --wall: add a unit to '3': ms, s, min, h",
        "run-sandbox: --umask: must be octal, such as 022, not '9'",
        'run-sandbox: see run-sandbox --help',
        '',
      ].join('\n'),
    );
  });

  test('of the spec is told in the words of its options, and nothing was created', () => {
    const { stderr } = runCli(['--tmpfs', 'rel', '--bind', '/no/such:/x', '--hostname', '', 'true']);
    expect(stderr.split('\n')).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^run-sandbox: --tmpfs rel: destination must be an absolute path/),
        expect.stringMatching(/^run-sandbox: --bind \/no\/such:\/x: .*does not exist/),
        expect.stringMatching(/^run-sandbox: --hostname: /),
        'run-sandbox: see run-sandbox --help',
      ]),
    );
  });

  test('of --status-fd is told before anything runs', () => {
    // Also of those that Node has opened for itself.
    for (let fd = 4; fd < 40; fd++) {
      const { status, stdout, stderr } = runCli(['--status-fd', String(fd), 'echo', 'ran']);
      expect({ fd, status, stdout }).toEqual({ fd, status: 125, stdout: '' });
      expect(stderr).toContain(`--status-fd: descriptor ${fd} is not open`);
    }
  });
});

describe('the command', () => {
  test('gets its arguments as they are', () => {
    const words = ['--wall', '', ' ', '-q', '--', 'a\nb', '$HOME', '"', 'ü'];
    expect(runCli(['printf', '[%s]', ...words]).stdout).toBe(words.map((word) => `[${word}]`).join(''));
  });

  test('may be called like a word of ours after --', () => {
    expect(runCli(['--', 'doctor'])).toMatchObject({
      status: 127,
      stderr: expect.stringContaining('doctor: not found'),
    });
  });

  test('gets stdin, and its output is untouched', () => {
    expect(runCli(['cat'], { input: 'text without newline' })).toMatchObject({
      stdout: 'text without newline',
      stderr: '',
    });
    expect(runCli(['sh', '-c', 'echo out; echo err >&2'])).toMatchObject({ stdout: 'out\n', stderr: 'err\n' });
  });

  test('may print megabytes of anything', () => {
    const command = `head -c 5000000 /dev/zero | tr '\\0' 'x'; printf '\\377\\000'`;
    const output = execFileSync(process.execPath, [cliPath, 'sh', '-c', command], { maxBuffer: 1 << 24 });
    const expected = Buffer.concat([Buffer.alloc(5_000_000, 'x'), Buffer.from([255, 0])]);
    expect(createHash('sha256').update(output).digest('hex')).toBe(createHash('sha256').update(expected).digest('hex'));
  });

  test('gets a clean environment and what is named', () => {
    const env = { TOKEN: 'secret', KEEP: 'kept', LC_TIME: 'C' };
    const { stdout } = runCli(['--env', 'KEEP', '--env', 'A=b c', '--env-inherit=LC_*', 'env'], { env });
    expect(stdout.split('\n')).toEqual(expect.arrayContaining(['KEEP=kept', 'A=b c', 'LC_TIME=C']));
    expect(stdout).not.toContain('secret');
  });

  test('does not get the status descriptor', () => {
    expect(runCli(['--status-fd', '3', 'sh', '-c', 'echo x >&3']).status).not.toBe(0);
  });

  test('works in the workspace, and its changes stay', () => {
    expect(runCli(['-w', './build.sh'], { cwd: project })).toMatchObject({ status: 0, stdout: 'built\n', stderr: '' });
    expect(readFileSync(join(project, 'out'), 'utf8')).toBe('built\n');
    rmSync(join(project, 'out'));
    expect(runCli([`-w=${project}:ro`, './build.sh']).status).not.toBe(0);
    expect(existsSync(join(project, 'out'))).toBe(false);
  });

  test('takes its spec from a file, and options go before it', () => {
    const profile = join(work, 'profile.json');
    writeFileSync(profile, JSON.stringify({ $schema: 'x', hostname: 'from-file', env: { A: 'file', B: 'file' } }));
    const { stdout, stderr } = runCli([
      '--profile',
      profile,
      '--env',
      'A=option',
      'sh',
      '-c',
      'echo $(uname -n) $A $B',
    ]);
    expect({ stdout, stderr }).toEqual({ stdout: 'from-file option file\n', stderr: '' });
  });

  test('does not run when the file is wrong; every fault is named with the file', () => {
    const profile = join(work, 'wrong.json');
    writeFileSync(profile, JSON.stringify({ readonyl: true, hostname: 3 }));
    const { status, stdout, stderr } = runCli(['--profile', profile, 'echo', 'ran']);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr.split('\n').filter((line) => line.startsWith(`run-sandbox: --profile ${profile}: `))).toHaveLength(2);
    expect(runCli(['--profile', join(work, 'none.json'), 'true']).stderr).toContain('cannot read');
  });
});

describe('the first operand', () => {
  let root: string;

  beforeAll(() => {
    root = join(work, 'rootfs');
    mkdirSync(join(root, 'bin'), { recursive: true });
    for (const name of ['sh', 'guest']) {
      execFileSync('cp', [guestPath(), join(root, 'bin', name)]);
    }
  });

  test('is the root when it is a directory with a slash', () => {
    expect(runCli(['./rootfs', '/bin/guest', 'exit', '7'], { cwd: work }).status).toBe(7);
    expect(runCli(['./rootfs', '--', '/bin/guest', 'exit', '8'], { cwd: work }).status).toBe(8);
    expect(runCli(['--root', './rootfs', '--', '/bin/guest', 'exit', '9'], { cwd: work }).status).toBe(9);
  });

  test('is the root when it is a directory that looks like the bundle of a runtime, whose configuration counts for nothing', () => {
    const mounts = [{ destination: '/shown', type: 'bind', source: work, options: ['bind'] }];
    mkdirSync(join(work, 'rootfs/rootfs'), { recursive: true });
    writeFileSync(
      join(work, 'rootfs/config.json'),
      JSON.stringify({ ociVersion: '1.0.2', process: { args: ['x'], cwd: '/' }, mounts }),
    );
    expect(runCli(['./rootfs', '/bin/guest', 'exit', '6'], { cwd: work }).status).toBe(6);
    rmSync(join(work, 'rootfs/config.json'));
    rmSync(join(work, 'rootfs/rootfs'), { recursive: true });
  });

  test('is a program when it has no slash, even where a directory has its name', () => {
    mkdirSync(join(work, 'true'));
    expect(runCli(['true'], { cwd: work }).status).toBe(0);
  });

  test('is a program after --, even where a directory has its name', () => {
    expect(runCli(['--', './rootfs'], { cwd: work }).status).not.toBe(0);
  });

  test('is an image when it is a file of that name, and refused where there is none in it', () => {
    writeFileSync(join(work, 'image.aci'), '');
    for (const image of ['image.aci', './image.aci']) {
      expect(runCli([image, 'true'], { cwd: work })).toMatchObject({
        status: 125,
        stderr: expect.stringContaining('image.aci: it is empty'),
      });
    }
  });
});

describe('for programs', () => {
  test('--status-fd gets planned, started and the result', () => {
    const { statusLines, stderr } = runCli(['--status-fd', '3', 'sh', '-c', 'exit 4']);
    expect(stderr).toBe('');
    expect(statusLines).toEqual([
      { event: 'planned', backend: 'native' },
      { event: 'started', pid: expect.any(Number) },
      expect.objectContaining({
        event: 'result',
        command: ['sh', '-c', 'exit 4'],
        outcome: { kind: 'exited', code: 4 },
        exitCode: 4,
        exitStatus: 4,
        usage: expect.objectContaining({ wallMs: expect.any(Number) }),
        enforcement: expect.objectContaining({ backend: 'native', skipped: [] }),
      }),
    ]);
  });

  test('a limit is told from an exit status that looks the same', () => {
    const last = (args: string[]): unknown => runCli(['--status-fd=3', ...args]).statusLines.at(-1)?.['outcome'];
    expect(last(['--wall', '100ms', 'sleep', '60'])).toEqual({ kind: 'limit', limit: 'wallMs' });
    expect(last(['sh', '-c', 'exit 124'])).toEqual({ kind: 'exited', code: 124 });
  });

  test('a failure of the sandbox is an error with its code', () => {
    expect(runCli(['--status-fd', '3', '--allow', 'example.org:443', 'true']).statusLines).toEqual([
      expect.objectContaining({
        event: 'error',
        code: 'SBX_FEATURE_UNAVAILABLE',
        exitStatus: 125,
        missing: [expect.objectContaining({ feature: 'network.allow' })],
      }),
    ]);
    expect(runCli(['--status-fd', '3', 'no-such-program']).statusLines.at(-1)).toMatchObject({
      event: 'error',
      code: 'SBX_LAUNCH_FAILED',
      step: 'exec',
      reason: 'not-found',
      exitStatus: 127,
    });
    expect(runCli(['--status-fd', '3', '--wall', '3', 'true']).statusLines).toEqual([
      expect.objectContaining({ event: 'error', code: 'SBX_SPEC_INVALID', exitStatus: 125 }),
    ]);
  });

  test('--json puts the result last on stderr, after the command’s own words', () => {
    const { stderr } = runCli(['--json', 'sh', '-c', 'echo word >&2; exit 1']);
    const [word, line, rest] = stderr.split('\n');
    expect([word, rest]).toEqual(['word', '']);
    expect(parseLines(line ?? '')[0]).toMatchObject({ event: 'result', exitStatus: 1 });
  });

  test('a reader of status lines that goes away does not end the run', () => {
    const script = `exec 3> >(exec true); sleep 0.3; exec "$0" "$1" --status-fd 3 sh -c 'exit 6'`;
    let status: number | undefined;
    try {
      execFileSync('bash', ['-c', script, process.execPath, cliPath], { stdio: 'pipe' });
    } catch (error) {
      status = (error as { status: number }).status;
    }
    expect(status).toBe(6);
  });
});

describe('our own words', () => {
  test('say what was skipped, unless told not to', () => {
    const args = ['--optional', 'network.allow', '--allow', 'example.org:443', 'true'];
    expect(runCli(args)).toMatchObject({
      status: 0,
      stderr: expect.stringMatching(/^run-sandbox: skipped: network\.allow \(.+\)\n$/),
    });
    expect(runCli(['-q', ...args])).toMatchObject({ status: 0, stderr: '' });
  });

  test('say with -v what was enforced, and by what', () => {
    expect(runCli(['-v', 'true']).stderr).toMatch(/^run-sandbox: enforced by backend native:\n(?: {2}\S+: .+\n)+$/);
  });

  test('name the way to a project that is not there', () => {
    const { stderr } = runCli(['./build.sh'], { cwd: project });
    expect(stderr).toContain(
      `run-sandbox: ${project}/build.sh is not in the sandbox; add -w to work in the current directory, or --bind ${project}\n`,
    );
    expect(runCli(['cat', join(project, 'data')]).stderr).toContain(
      `run-sandbox: ${project}/data is not in the sandbox; add --bind ${project}/data\n`,
    );
  });

  test('follow their own advice', () => {
    expect(runCli(['--bind', join(project, 'data'), 'cat', join(project, 'data')]).stdout).toBe('text');
  });

  test('are silent with -q, and when the command succeeds', () => {
    expect(runCli(['-q', 'cat', join(project, 'data')]).stderr).not.toContain('run-sandbox:');
    expect(runCli(['ls', '-d', '/', join(project, 'data')]).stderr).toContain('run-sandbox:');
    expect(runCli(['sh', '-c', 'exit 0', join(project, 'data')]).stderr).toBe('');
  });

  test('tell root about a workspace of somebody else', () => {
    requires('root');
    const theirs = join(work, 'theirs');
    mkdirSync(theirs);
    chownSync(theirs, 1000, 1000);
    chmodSync(theirs, 0o755);
    const { status, stderr } = runCli(['-w', 'touch', 'x'], { cwd: theirs });
    expect(status).not.toBe(0);
    expect(stderr).toContain('add --user 1000:1000, or --cap-keep CAP_DAC_OVERRIDE\n');
    expect(runCli(['-w', '--user', '1000:1000', 'touch', 'x'], { cwd: theirs })).toMatchObject({
      status: 0,
      stderr: '',
    });
    expect(runCli(['-w', '--cap-keep', 'CAP_DAC_OVERRIDE', 'touch', 'y'], { cwd: theirs })).toMatchObject({
      status: 0,
      stderr: '',
    });
  });

  test('have no colour where stderr is no terminal', () => {
    expect(runCli(['--no-such']).stderr).not.toContain('\u001b');
  });
});
