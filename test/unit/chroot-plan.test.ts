// What the launcher is told to do for a root that is only entered, step by step.
import { expect, test } from 'vitest';
import { planByLauncher } from '../../src/backends/chroot/plan.ts';
import { recognizedOn } from '../../src/backends/chroot/recognized.ts';
import { guardProfile, guardStep } from '../../src/backends/launcher/guard.ts';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { compileSeccomp } from '../../src/seccomp/compile.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

const recognized = recognizedOn('linux');
const asRoot = new MemoryHost({ uid: 0, gid: 0, mayMapIds: true, ranges: [{ start: 0, size: 2 ** 32 - 1 }] });

function planOf(spec: SandboxSpec, uid = 0): ReturnType<typeof planByLauncher> {
  const caller = readCallerFacts(fakeHost({}), { uid, gid: uid, architecture: 'x64' });
  return planByLauncher(normalize(spec, asRoot), recognized, caller);
}

const root = { path: '/home/alice/src', readonly: false } as const;
const stepsOf = (spec: SandboxSpec): readonly Step[] => planOf(spec).detail.steps;
const namesOf = (spec: SandboxSpec): string[] => stepsOf(spec).map(({ step }) => step);

test('the default: the root is entered, and the command wears what it wears', () => {
  expect(namesOf({ root })).toEqual([
    ...['namespaces', 'root', 'pivot'],
    ...['rlimit', 'rlimit', 'umask', 'user', 'capabilities', 'cwd', 'seccomp', 'seccomp'],
  ]);
  const [namespaces, entered] = stepsOf({ root });
  expect(namespaces).toEqual({ step: 'namespaces', namespaces: [] });
  expect(entered).toMatchObject({ kind: 'chroot', source: '/home/alice/src' });
});

test('what is not made here is not attempted: no mount, no terminal, no capability', () => {
  const spec: SandboxSpec = {
    root,
    terminal: true,
    capabilities: ['CAP_CHOWN'],
    mounts: [{ type: 'tmpfs', destination: '/mnt' }],
  };
  expect(namesOf(spec)).toEqual(namesOf({ root }));
  expect(stepsOf(spec)).toContainEqual({ step: 'capabilities', keep: [] });
});

test('the command starts at the top, where nothing else is named', () => {
  expect(stepsOf({ root })).toContainEqual({ step: 'cwd', path: '/' });
  expect(stepsOf({ root, cwd: '/tmp' })).toContainEqual({ step: 'cwd', path: '/tmp' });
});

test('root may become anybody, groups and all', () => {
  expect(stepsOf({ root, user: { uid: 5, gid: 6, additionalGids: [7] } })).toContainEqual({
    step: 'user',
    uid: 5,
    gid: 6,
    setgroups: true,
    additionalGids: [7],
  });
});

test('without a filter of the spec there is still the guard, and it is said', () => {
  const plan = planOf({ root, seccomp: 'unconfined' });
  const filters = plan.detail.steps.filter(({ step }) => step === 'seccomp');
  expect(filters).toEqual([guardStep('x64')]);
  expect(plan.notes.join('\n')).toContain('calls that reach into other processes stay refused');
});

test('the guard is the compiled profile, for each architecture', () => {
  for (const architecture of ['x64', 'arm64'] as const)
    expect(guardStep(architecture)).toEqual({
      step: 'seccomp',
      filter: Buffer.from(compileSeccomp(guardProfile, { architecture })).toString('base64'),
      // Keyrings are none of its business, so that the command gets a fresh one or does not start.
      deniesKeyrings: false,
      tells: false,
      asks: false,
      pass: [],
    });
});

test('the host view and ordinary users are refused', () => {
  expect(() => planOf({})).toThrow(/root\.host: chroot\(2\) enters a directory that is there/);
  expect(() => planOf({ root }, 1000)).toThrow(/chroot\(2\) needs root; run it as root/);
});
