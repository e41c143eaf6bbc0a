// What the launcher is told to do without namespaces, step by step.
import { expect, test } from 'vitest';
import { guardStep } from '../../src/backends/launcher/guard.ts';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { confinedMechanisms } from '../../src/backends/native/confined.ts';
import { planNative } from '../../src/backends/native/plan.ts';
import { recognized } from '../../src/backends/native/recognized.ts';
import type { Feature } from '../../src/features/feature.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

const all = new Set(Object.keys(confinedMechanisms) as Feature[]);
const unkept = new Set([...all].filter((feature) => !feature.startsWith('lifecycle.')));

function planOf(spec: SandboxSpec, granted: ReadonlySet<Feature> = all, uid = 1000): ReturnType<typeof planNative> {
  const caller = readCallerFacts(fakeHost({}), { uid, gid: uid, architecture: 'x64' });
  const ranges = uid === 0 ? { mayMapIds: true, ranges: [{ start: 0, size: 2 ** 32 - 1 }] } : {};
  return planNative(normalize(spec, new MemoryHost({ uid, gid: uid, ...ranges })), granted, caller);
}

const stepsOf = (...args: Parameters<typeof planOf>): readonly Step[] => planOf(...args).detail.steps;
const namesOf = (...args: Parameters<typeof planOf>): string[] => stepsOf(...args).map(({ step }) => step);

test('no namespace, no root, no mount: the command is dressed, with Landlock and the filters last', () => {
  expect(namesOf({})).toEqual([
    ...['namespaces', 'domain', 'rlimit', 'rlimit', 'umask', 'user', 'capabilities', 'cwd'],
    ...['landlock', 'seccomp', 'seccomp'],
  ]);
  expect(stepsOf({})[0]).toEqual({ step: 'namespaces', namespaces: [] });
  expect(stepsOf({}).at(-2)).toEqual(guardStep('x64'));
});

test('where signals are closed the command is in a domain of its own below that of init', () => {
  expect(stepsOf({})).toContainEqual({ step: 'domain', closesSignals: true });
  const nothing = { paths: undefined, bindTcp: undefined, connectTcp: undefined };
  expect(stepsOf({})).toContainEqual({ step: 'landlock', ...nothing, scopes: ['signal'] });
  const landlock = { paths: { '/usr': 'rox' }, scopes: ['abstract-unix-socket'] } as const;
  expect(stepsOf({ landlock })).toContainEqual({
    ...{ step: 'landlock', ...nothing },
    paths: [{ path: '/usr', access: 'rox' }],
    scopes: ['abstract-unix-socket', 'signal'],
  });
});

test('one of the two promises is enough for that, and only what was granted of Landlock comes with it', () => {
  for (const feature of ['lifecycle.killTree', 'lifecycle.dieWithParent'] as const)
    expect(stepsOf({}, new Set([...unkept, feature]))).toContainEqual({ step: 'domain', closesSignals: true });
  const granted = new Set([...all].filter((feature) => !feature.startsWith('landlock.')));
  const landlock = { paths: { '/usr': 'rox' }, scopes: ['abstract-unix-socket'] } as const;
  expect(stepsOf({ landlock }, granted)).toContainEqual({
    ...{ step: 'landlock', paths: undefined, bindTcp: undefined, connectTcp: undefined },
    scopes: ['signal'],
  });
});

test('where they are not, nothing asks for Landlock, and what the launcher keeps says how far', () => {
  expect(namesOf({}, unkept)).not.toContain('landlock');
  expect(stepsOf({}, unkept)).toContainEqual({ step: 'domain', closesSignals: false });
  const limits = { wallMs: 1000, outputBytes: 1000 };
  const mechanisms = (granted: ReadonlySet<Feature>): string[] =>
    planOf({ limits }, granted).applied.flatMap(({ feature, mechanism }) =>
      feature === 'limits.wallMs' || feature === 'limits.outputBytes' ? [mechanism] : [],
    );
  for (const mechanism of mechanisms(unkept)) expect(mechanism).toContain('can signal the launcher');
  for (const mechanism of mechanisms(all)) expect(mechanism).not.toContain('can signal the launcher');
});

test('the guard is there whatever seccomp says, and before any other filter', () => {
  for (const seccomp of ['default', 'unconfined'] as const) {
    const filters = stepsOf({ seccomp }).filter(({ step }) => step === 'seccomp');
    expect(filters[0]).toEqual(guardStep('x64'));
    expect(filters).toHaveLength(seccomp === 'default' ? 2 : 1);
  }
});

test('what is not made here is not attempted: no mount, no capability, no control group, no terminal that was not granted', () => {
  const spec: SandboxSpec = {
    terminal: true,
    capabilities: ['CAP_CHOWN'],
    mounts: [{ type: 'tmpfs', destination: '/mnt' }],
    limits: { memoryBytes: '64MiB', pids: 10 },
  };
  const granted = new Set([...all].filter((feature) => feature !== 'terminal'));
  expect(namesOf(spec, granted)).toEqual(namesOf({}));
  expect(stepsOf(spec)).toContainEqual({ step: 'capabilities', keep: [] });
  expect(namesOf(spec)).toContain('terminal');
});

test('the command starts at the top, where nothing else is named', () => {
  expect(stepsOf({})).toContainEqual({ step: 'cwd', path: '/' });
  expect(stepsOf({ cwd: '/tmp' })).toContainEqual({ step: 'cwd', path: '/tmp' });
});

test('a command that is meant for another root is never run in this one', () => {
  const asked = (): unknown => planOf({ root: { path: '/home/alice/src', readonly: false } });
  expect(asked).toThrow('would not run in /home/alice/src but in the root of this host');
});

test('an ordinary user stays who it is, and root may become anybody, groups and all', () => {
  expect(() => planOf({ user: { uid: 5, gid: 6 } })).toThrow('only as itself, which is uid 1000, gid 1000');
  const user = { uid: 5, gid: 6, additionalGids: [7] };
  expect(stepsOf({ user }, unkept, 0)).toContainEqual({ step: 'user', ...user, setgroups: true });
});

test('with all that the backend knows, namespaces are made: only a probe takes them away', () => {
  expect(namesOf({}, recognized)).toContain('pivot');
  expect(namesOf({}, recognized)).not.toContain('domain');
});

test('every mechanism is of a feature that the backend knows', () => {
  expect([...all].filter((feature) => !recognized.has(feature))).toEqual([]);
});
