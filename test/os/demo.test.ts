// The demonstration, for real: Debian's hello and the hostile package, in the host view and in a Debian root, as root and as an ordinary user.
import { execFile, execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { registry } from '../../src/backends/registry.ts';
import { requirements } from '../../src/features/requirements.ts';
import { whyClosed } from '../helpers/closed-backends.ts';
import { requires } from '../helpers/requires.ts';

const project = fileURLToPath(new URL('../..', import.meta.url));
/** No such user in /etc/passwd, and none is needed. */
const ordinaryUser = { uid: 31_337, gid: 31_337 };

interface Caller {
  readonly uid?: number;
  readonly gid?: number;
}

let checkout: string;
/** What configure found out in the host view, as root: it is the same whoever makes the sandbox, and most of the time of a build. */
let configCache: string;

beforeAll(() => {
  execFileSync(process.execPath, [join(project, 'scripts', 'build.mjs')], { stdio: ['ignore', 'ignore', 'pipe'] });
  // A copy that another user can read, wherever the checkout is.
  checkout = mkdtempSync(join(tmpdir(), 'checkout-'));
  for (const part of ['package.json', 'dist', 'prebuilds', 'scripts', 'examples', 'node_modules/zod']) {
    mkdirSync(dirname(join(checkout, part)), { recursive: true });
    cpSync(join(project, part), join(checkout, part), { recursive: true });
  }
  chmodSync(checkout, 0o755);
  configCache = join(checkout, 'config.cache');
});

afterAll(() => rmSync(checkout, { recursive: true, force: true }));

describe('in the host view', () => {
  let state: string;

  beforeAll(() => {
    state = mkdtempSync(join(tmpdir(), 'state-'));
  });

  afterAll(() => rmSync(state, { recursive: true, force: true }));

  test('the caller builds, checks and runs a package, a hostile one does no harm, and apt’s own state is not touched', async () => {
    requires('linux', 'userns', 'command:gcc', 'command:make');
    const before = aptState();
    await expectDemonstration(['--state', state, '--config-cache', configCache], {});
    expect(aptState()).toEqual(before);
  });

  test('the second time nothing is fetched', async () => {
    requires('userns', 'command:gcc', 'command:make', 'apt');
    const { stderr } = await expectDemonstration(['--state', state, '--config-cache', configCache], {});
    expect(stderr).toBe('');
  });

  test('an ordinary user does so too', async () => {
    requires('root', 'userns', 'command:gcc', 'command:make');
    await expectDemonstrationByOrdinaryUser([]);
  });
});

describe('by every backend that offers what it needs', () => {
  const needed = [...requirements({ mounts: ['/source:/build:rw'] })];
  const others = registry.filter(
    ({ name, recognized }) => name !== 'native' && needed.every((feature) => recognized.has(feature)),
  );

  test.for(others)('$name: with the same result', async ({ name }, { skip }) => {
    requires('linux', 'userns', 'command:gcc', 'command:make', 'apt');
    const closed = whyClosed(name);
    if (closed !== undefined) skip(closed);
    const state = join(project, 'build', 'demo');
    const env = { SANDBOXLIB_BACKEND: name, DOCKER_HOST: process.env['DOCKER_HOST'] ?? '' };
    const { stdout } = await expectDemonstration(['--state', state, '--config-cache', configCache], {}, env);
    expect(stdout).toContain(`Enforced by the backend ${name}:`);
  });
});

describe('in a Debian root', () => {
  let root: string;

  beforeAll(() => {
    if (process.getuid?.() !== 0) return;
    root = execFileSync(process.execPath, [join(project, 'scripts', 'toolchain-root.mjs')], {
      encoding: 'utf8',
    }).trim();
  });

  test('root builds, checks and runs a package, and the root file system is as it was', async () => {
    requires('root', 'userns', 'command:debootstrap', 'apt');
    const before = topLevel(root);
    await expectDemonstration(['--state', join(project, 'build', 'demo'), '--root', root], {});
    expect(topLevel(root)).toEqual(before);
  });

  test('an ordinary user does so too', async ({ skip }) => {
    requires('root', 'userns', 'command:debootstrap', 'apt');
    const closed = closedAncestor(root);
    if (closed !== undefined) skip(`an ordinary user cannot reach the checkout: ${closed} is closed to others`);
    const before = topLevel(root);
    await expectDemonstrationByOrdinaryUser(['--root', root]);
    expect(topLevel(root)).toEqual(before);
  });
});

/** With a state of their own, which root's would be closed to. */
async function expectDemonstrationByOrdinaryUser(args: readonly string[]): Promise<void> {
  const state = mkdtempSync(join(tmpdir(), 'state-'));
  try {
    chownSync(state, ordinaryUser.uid, ordinaryUser.gid);
    await expectDemonstration(['--state', state, ...args], ordinaryUser);
    expect(readdirSync(state)).toEqual(['hello']);
  } finally {
    rmSync(state, { recursive: true, force: true });
  }
}

async function expectDemonstration(
  args: readonly string[],
  caller: Caller,
  more: Readonly<Record<string, string>> = {},
): Promise<{ stdout: string; stderr: string }> {
  const { stdout, stderr } = await demonstrate(args, caller, more);
  expect(stdout).toContain('Hello, world!');
  // One of its five is tried at full moon only (tests/greeting-2).
  expect(stdout).toMatch(/make --silent check .* PASS [45]$/m);
  expect(stdout).toMatch(/network\.none +\S/);
  expect(stdout).toContain('On the host nothing changed');
  expect(stdout).not.toContain('HARM');
  return { stdout, stderr };
}

function aptState(): number[] {
  const files = ['/etc/apt/sources.list.d', '/var/lib/apt/lists', '/var/cache/apt/archives'];
  return files.filter((file) => existsSync(file)).map((file) => statSync(file).mtimeMs);
}

async function demonstrate(
  args: readonly string[],
  caller: Caller,
  more: Readonly<Record<string, string>>,
): Promise<{ stdout: string; stderr: string }> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: checkout, ...more };
  const options = { ...caller, cwd: checkout, env, encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 } as const;
  return promisify(execFile)(process.execPath, [join(checkout, 'scripts', 'demo.mjs'), ...args], options);
}

/** Names and owners of what is at the top: a mount point that was made for the sandbox would show here. */
function topLevel(root: string): string[] {
  return readdirSync(root).map((name) => {
    const { mode, uid, gid } = statSync(join(root, name), { throwIfNoEntry: false }) ?? {};
    return `${name} ${mode} ${uid}:${gid}`;
  });
}

function closedAncestor(file: string): string | undefined {
  for (let at = file; at !== '/'; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return at;
  }
  return undefined;
}
