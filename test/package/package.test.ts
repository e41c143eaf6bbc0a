// The package as somebody else gets it: packed, installed elsewhere, and used from there.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
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
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const project = fileURLToPath(new URL('../..', import.meta.url));
let work: string;
let tarball: string;
let consumer: string;
let installed: string;

beforeAll(() => {
  node([join(project, 'scripts', 'build.mjs')], project);
  work = mkdtempSync(join(tmpdir(), 'package-'));
  const [packed] = JSON.parse(
    execute('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', work], project),
  ) as [{ filename: string }];
  tarball = join(work, packed.filename);
  consumer = join(work, 'consumer');
  mkdirSync(consumer);
  writeFileSync(
    join(consumer, 'package.json'),
    JSON.stringify({ name: 'consumer', version: '1.0.0', private: true, type: 'module' }),
  );
  // From npm's cache where it has zod: installing must not depend on a registry being there.
  execute('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball], consumer);
  installed = join(consumer, 'node_modules', 'sandboxlib');
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('the installed package', () => {
  test('can be imported, and has the public functions', () => {
    const names = JSON.parse(
      evaluate("console.log(JSON.stringify(Object.keys(await import('sandboxlib'))))", 'module'),
    );
    expect(names).toEqual(
      expect.arrayContaining(['run', 'spawn', 'createSandbox', 'wrap', 'probe', 'explain', 'SandboxError']),
    );
  });

  test('can be required, and is the same module then', () => {
    const script = "import('sandboxlib').then((m) => console.log(require('sandboxlib').run === m.run))";
    expect(evaluate(script, 'commonjs')).toBe('true\n');
  });

  test('runs a command in a sandbox from a program', () => {
    const script = "const { run } = await import('sandboxlib'); console.log((await run(['echo', 'inside'])).stdout)";
    expect(evaluate(script, 'module')).toBe('inside\n\n');
  });

  test('runs a command in a sandbox from the shell', () => {
    expect(execute(join(consumer, 'node_modules', '.bin', 'run-sandbox'), ['--', 'echo', 'inside'], consumer)).toBe(
      'inside\n',
    );
  });

  test('type-checks in a program that is as strict as it can be', () => {
    writeFileSync(
      join(consumer, 'consumer.mts'),
      `import { run, type RunResult, type SandboxSpec } from 'sandboxlib';
const spec: SandboxSpec = { network: 'none', limits: { wallMs: '1s' } };
const result: RunResult = await run(['true'], spec);
// @ts-expect-error: a misspelt key is refused
await run(['true'], { netwrok: 'none' });
export const code: number | undefined = result.exitCode;
`,
    );
    const options = [
      // Of this project, where the room for tests lies in it.
      '--ignoreConfig',
      '--noEmit',
      '--strict',
      '--exactOptionalPropertyTypes',
      '--module',
      'nodenext',
      '--target',
      'es2023',
    ];
    const types = ['--typeRoots', join(project, 'node_modules', '@types'), '--types', 'node'];
    node([join(project, 'node_modules', 'typescript', 'bin', 'tsc'), ...options, ...types, 'consumer.mts'], consumer);
  });

  test('has launchers for x64 and arm64 that any user may execute and only the owner may write', () => {
    const architectures = readdirSync(join(installed, 'prebuilds')).filter((name) => name.startsWith('linux-'));
    expect(architectures).toContain(`linux-${process.arch}`);
    for (const architecture of architectures) {
      const { mode } = statSync(join(installed, 'prebuilds', architecture, 'launcher'));
      expect((mode & 0o7777).toString(8)).toBe('755');
    }
  });

  test('has exactly the launchers that its manifest names, with their SHA-256', () => {
    const { launchers } = JSON.parse(readFileSync(join(installed, 'prebuilds', 'manifest.json'), 'utf8')) as {
      launchers: Record<string, { path: string; sha256: string; sizeBytes: number }>;
    };
    const found = readdirSync(join(installed, 'prebuilds')).filter((name) => name.startsWith('linux-'));
    expect(Object.keys(launchers).sort()).toEqual(found.sort());
    for (const { path, sha256, sizeBytes } of Object.values(launchers)) {
      const content = readFileSync(join(installed, 'prebuilds', path));
      expect(createHash('sha256').update(content).digest('hex')).toBe(sha256);
      expect(content.length).toBe(sizeBytes);
    }
  });

  test('has no script that runs on installation', () => {
    const { scripts = {} } = readJson(join(installed, 'package.json')) as { scripts?: Record<string, string> };
    const onInstallation = [
      'preinstall',
      'install',
      'postinstall',
      'prepare',
      'prepublish',
      'preprepare',
      'postprepare',
    ];
    expect(Object.keys(scripts).filter((name) => onInstallation.includes(name))).toEqual([]);
    // npm would run node-gyp by itself.
    expect(existsSync(join(installed, 'binding.gyp'))).toBe(false);
  });

  test('brings no packages but those that it names', () => {
    const packages = readdirSync(join(consumer, 'node_modules')).filter((name) => !name.startsWith('.'));
    expect(packages.sort()).toEqual(['diff', 'fzstd', 'sandboxlib', 'zod']);
  });

  test('has its licence, and no path of the machine that built it', () => {
    expect(readFileSync(join(installed, 'LICENSE'), 'utf8')).toContain('Apache License');
    const files = readdirSync(installed, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const absolute = new RegExp(
      `(?<![\\w./-])${project.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/\/$/, '')}/`,
    );
    const telling = files
      .map((entry) => join(entry.parentPath, entry.name))
      // As an absolute path: a project in /src is no part of ../../src.
      .filter((file) => readFileSync(file, 'latin1').match(absolute) !== null);
    expect(telling).toEqual([]);
  });
});

test('publint finds nothing', async () => {
  const { messages, pkg } = await publint({ pkgDir: installed, pack: false, strict: true });
  expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([]);
});

test('every kind of resolution that can load the package finds its types', () => {
  node(
    [join(project, 'node_modules', '@arethetypeswrong', 'cli', 'dist', 'index.js'), tarball, '--profile', 'esm-only'],
    work,
  );
});

test('the lock file names no registry', () => {
  expect(readFileSync(join(project, 'package-lock.json'), 'utf8')).not.toMatch(/"resolved"|https?:\/\/[^"]*\.tgz/);
});

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'));
}

function evaluate(script: string, type: 'module' | 'commonjs'): string {
  return node([`--input-type=${type}`, '--eval', script], consumer);
}

function node(args: readonly string[], cwd: string): string {
  return execute(process.execPath, args, cwd);
}

function execute(file: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(file, args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: withoutTestRunner(),
    });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${[file, ...args].join(' ')} failed\n${stdout}${stderr}`, { cause: error });
  }
}

/** vitest's own variables would change what npm and Node do: NODE_ENV=test, NODE_OPTIONS. */
function withoutTestRunner(): NodeJS.ProcessEnv {
  const { NODE_ENV: _environment, NODE_OPTIONS: _options, ...rest } = process.env;
  return rest;
}
