import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { backendNames } from '../../src/backends/backend.ts';
import { features } from '../../src/features/feature.ts';
import { buildCli, cliPath, runCli } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux');
beforeAll(buildCli);

test.each([['--help'], ['-h'], ['help'], ['help', 'run']])('%s prints the help of a run', (...args) => {
  expect(runCli(args)).toMatchObject({ status: 0, stdout: expect.stringContaining('Usage: run-sandbox'), stderr: '' });
});

test('help on one of our words is that of the word', () => {
  expect(runCli(['help', 'explain']).stdout).toBe(runCli(['explain', '--help']).stdout);
  expect(runCli(['help', 'exlpain'])).toMatchObject({ status: 125, stderr: expect.stringContaining('no help on') });
});

test('--version is that of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect(runCli(['--version'])).toMatchObject({ status: 0, stdout: `run-sandbox ${version}\n`, stderr: '' });
  // By another way through the command line.
  expect(runCli(['-q', '--version'])).toMatchObject({ status: 0, stdout: `run-sandbox ${version}\n`, stderr: '' });
});

describe('explain', () => {
  test('says what would be done and runs nothing', () => {
    const { status, stdout, stderr } = runCli(['explain', '-w=/tmp', 'sh', '-c', 'echo ran']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^backend native: sh -c 'echo ran'\n/);
    expect(stdout).toMatch(/namespace\.pid: .+/);
    expect(stdout).toMatch(/ namespaces /);
    expect(stdout.split('\n')).not.toContain('ran');
  });

  test('with --json is one object with the steps', () => {
    const explanation = JSON.parse(runCli(['explain', '--json', 'true']).stdout) as Record<string, unknown>;
    expect(explanation).toMatchObject({ backend: 'native', command: ['true'], enforcement: { backend: 'native' } });
    expect((explanation['plan'] as { detail: { steps: unknown[] } }).detail.steps.length).toBeGreaterThan(5);
  });

  test('with --as bwrap is a line for a shell, and it runs', () => {
    requires('command:bwrap', 'userns');
    const { stdout } = runCli(['explain', '--as', 'bwrap', 'printf', '%s', "it's"]);
    expect(stdout).toMatch(/^bwrap .* -- printf %s 'it'\\''s'\n$/);
    expect(execFileSync('sh', ['-c', stdout], { encoding: 'utf8', cwd: '/' })).toBe("it's");
  });

  test('with --as oci is a config.json with the command in it', () => {
    const { stdout, stderr } = runCli(['explain', '--as', 'oci', 'printf', '%s', "it's"]);
    expect(JSON.parse(stdout)).toMatchObject({ ociVersion: '1.0.2', process: { args: ['printf', '%s', "it's"] } });
    expect(stderr).toMatch(/with that as config\.json, run beside it: .* && crun run sandbox\n$/);
  });

  test('with --as says what is left out, and that there is nothing near', () => {
    const { status, stdout, stderr } = runCli(['explain', '--as', 'firejail', '--root', '/usr', 'true']);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/firejail leaves out: a root of its own: .*\n.*there is no such sandbox of firejail\n$/);
  });

  test('with --as and another word lists the tools', () => {
    const { status, stderr } = runCli(['explain', '--as', 'lxc', 'true']);
    expect(status).toBe(125);
    expect(stderr).toContain(`'lxc' is no tool: known are bwrap, oci, nspawn, runc, podman, docker, firejail and `);
  });

  test('refuses what a run refuses', () => {
    expect(runCli(['explain', '--allow', 'example.org:443'])).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('network.allow'),
    });
    expect(runCli(['explain', '--json', '--as', 'bwrap'])).toMatchObject({ status: 125 });
  });
});

describe('doctor', () => {
  test('says in text and in its status whether the default sandbox runs here, and a run agrees', () => {
    const { status, stdout } = runCli(['doctor']);
    const runs = runCli(['true']).status === 0;
    expect(status).toBe(runs ? 0 : 1);
    expect(stdout).toContain(
      runs ? 'This host runs the default sandbox.' : 'This host does not run the default sandbox.',
    );
  });

  test('with --json is the report', () => {
    expect(JSON.parse(runCli(['doctor', '--json']).stdout)).toMatchObject({
      kernel: { release: expect.any(String) },
      findings: expect.any(Array),
      facilities: expect.any(Array),
      backends: backendNames.map((backend) => expect.objectContaining({ backend })),
    });
  });

  test('takes no command', () => {
    expect(runCli(['doctor', 'true'])).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('run-sandbox -- doctor'),
    });
  });
});

test('backends has a line for every feature', () => {
  const { status, stdout } = runCli(['backends']);
  expect(status).toBe(0);
  for (const feature of features)
    expect(stdout).toMatch(new RegExp(`^${feature.replace('.', '\\.')} +(?:yes|no|-)`, 'm'));
});

test('completion bash is a script that bash takes', () => {
  const { status, stdout } = runCli(['completion', 'bash']);
  expect(status).toBe(0);
  execFileSync('bash', ['-n'], { input: stdout });
  expect(runCli(['completion', 'fish']).status).toBe(125);
});

test('what a run loads has nothing in it that only other commands, images or other backends need', () => {
  const map = JSON.parse(readFileSync(join(dirname(cliPath), 'chunks', 'run.cjs.map'), 'utf8')) as {
    sources: string[];
  };
  expect(map.sources.length).toBeGreaterThan(50);
  const others =
    /\/src\/(image|changes)\/|\/src\/backends\/(oci|docker|chroot)\/(?!recognized)|\/src\/cli\/(image|compile|doctor)|\/spec\/schema\.ts$|\/run\/compile\.ts$/;
  expect(map.sources.filter((source) => others.test(source))).toEqual([]);
  const chunk = readFileSync(join(dirname(cliPath), 'chunks', 'run.cjs'), 'utf8');
  const loaded = [...chunk.matchAll(/^const \w+ = require\("(\.\/[^"]+)"\)/gm)].map(([, name]) => name);
  expect(loaded.sort()).toEqual(['./rolldown-runtime.cjs', './version.cjs']);
});
