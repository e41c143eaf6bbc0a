// This library in a sandbox of its own. It works there, with all that it promises, or it says why it does not; what it never does is to run the command
// with less than was asked for.
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { index, inNode } from '../in-node.ts';
import { beyondDefault, needing, type Technique } from '../technique.ts';

const project = fileURLToPath(new URL('../../../', import.meta.url));
const PROJECT = '/mnt/project';

/** For root of the host: other ids than its own, without which its sandbox has no user namespaces to give. */
const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];

/** What the inner command says is said once, by it alone; `$$` is its pid. */
const look = 'echo inner $$ $(uname -n) $(ls / | tr "\\n" " ")';
const inner = (from: string, options: object): string => `
  const inner = await import(${JSON.stringify(from)});
  const answer = await inner.run(['sh', '-c', ${JSON.stringify(look)}], { hostname: 'inner' }, ${JSON.stringify(options)}).then(
    ({ outcome, stdout }) => ({ outcome, stdout }),
    ({ code, message }) => ({ code, message }));
  console.log(JSON.stringify(answer));`;

interface Answer {
  readonly outcome?: unknown;
  readonly stdout?: string;
  readonly code?: string;
  readonly message?: string;
}

const asOutside = { outcome: { kind: 'exited', code: 0 }, stdout: expect.stringMatching(/^inner \d+ inner .*\busr\b/) };

/** Who may make user namespaces: root of the host only with other ids. */
function mapped(): SandboxSpec {
  return process.getuid?.() === 0 ? { uidMappings: ids, gidMappings: ids, user: { uid: 1000, gid: 1000 } } : {};
}

const outers: Readonly<Record<string, () => SandboxSpec>> = {
  'the default sandbox': () => ({}),
  'one without a filter': () => ({ seccomp: 'unconfined' }),
  'one without a filter, and with ids of its own': () => ({ ...mapped(), seccomp: 'unconfined' }),
  'one with the capabilities to mount': () => ({
    ...mapped(),
    capabilities: ['CAP_SYS_ADMIN', 'CAP_SYS_CHROOT', 'CAP_NET_ADMIN'],
  }),
};

async function nest(bench: Bench, outer: SandboxSpec): Promise<void> {
  const mounts = [`${project}:${PROJECT}:ro`, `${process.execPath}:/mnt/node:ro`];
  const command = ['/mnt/node', '--input-type=module', '-e', inner(`${PROJECT}/dist/index.js`, {})];
  const { stdout, stderr } = await run(command, { ...outer, mounts }, bench.options({}));
  expect(stderr).toBe('');
  const answer = JSON.parse(String(stdout)) as Answer;
  if (answer.code === undefined) {
    expect(answer).toEqual(asOutside);
    return;
  }
  expect(answer.code).toMatch(/^SBX_(BACKEND|FEATURE)_UNAVAILABLE$/);
  expect(answer.message).toMatch(/\bnamespace\.user: |\bproc\.fresh: /);
  // What the inner command says is not in the refusal: nothing ran.
  expect(String(stdout)).not.toMatch(/inner \d/);
}

export const technique: Technique = {
  name: 'sandbox-in-sandbox',
  attacks: ['root.host', 'mount.bind', 'mount.proc', 'seccomp.default'],
  cases: {
    'outside of all of them it works': (bench) => {
      const outside = inNode(inner(index, { backend: bench.backend }));
      expect(outside.stderr).toBe('');
      expect(JSON.parse(outside.stdout)).toEqual(asOutside);
      return Promise.resolve();
    },
    ...Object.fromEntries(
      Object.entries(outers).map(([which, outer]) => [
        `in ${which} a sandbox keeps every promise, or is refused with the reason`,
        needing(beyondDefault(outer()), (bench) => nest(bench, outer())),
      ]),
    ),
    'the command line does not run the command either': async (bench) => {
      const mounts = [`${project}:${PROJECT}:ro`, `${process.execPath}:/mnt/node:ro`];
      const command = ['/mnt/node', `${PROJECT}/dist/cli/main.cjs`, '--', 'sh', '-c', look];
      const { stdout, stderr, outcome } = await run(command, { mounts }, bench.options({}));
      // The default filter of the outer sandbox is enough for that.
      expect({ stdout, outcome }).toEqual({ stdout: '', outcome: { kind: 'exited', code: 125 } });
      expect(stderr).toContain('namespace');
    },
    'who asks for no sandbox inside has the outer one still': async (bench) => {
      const mounts = [`${project}:${PROJECT}:ro`, `${process.execPath}:/mnt/node:ro`];
      const plainly = inner(`${PROJECT}/dist/index.js`, { backend: 'none', optional: 'all' });
      const spec: SandboxSpec = { mounts, hostname: 'outer' };
      const { stdout, stderr } = await run(
        ['/mnt/node', '--input-type=module', '-e', plainly],
        spec,
        bench.options({}),
      );
      expect(stderr).toBe('');
      const answer = JSON.parse(String(stdout)) as Answer;
      expect(answer.stdout).toMatch(/^inner \d+ outer /);
      expect(answer.stdout).not.toMatch(/ (var|home|root|boot|srv) .*\b(var|boot)\b/);
    },
  },
};
