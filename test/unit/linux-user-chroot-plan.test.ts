// What linux-user-chroot is given, word by word.
import { describe, expect, test } from 'vitest';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { linuxUserChroot } from '../../src/backends/linux-user-chroot/index.ts';
import { BackendError, FeatureError } from '../../src/errors/errors.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost, ordinaryTree } from '../helpers/memory-host.ts';

const procEntries = new Set(['bus', 'sys', 'kcore']);

function planOf(spec: SandboxSpec, { uid = 1000, gid = 1000 } = {}) {
  const home = { mine: { sub: {} }, root: { ...ordinaryTree, deep: {} }, file: '' };
  const host = new MemoryHost({ uid, gid, tree: { ...ordinaryTree, srv: home } });
  const facts = { ...readCallerFacts(fakeHost({}), { uid, gid, architecture: 'x64' }), procEntries };
  const program = (name: string) => (name === 'linux-user-chroot' ? '/usr/bin/linux-user-chroot' : undefined);
  const normalized = normalize({ root: '/srv/root', ...spec }, host);
  const plan = linuxUserChroot.plan(normalized, linuxUserChroot.recognized, { ...facts, program });
  const { steps } = plan.detail;
  const at = steps.findIndex(({ step }) => step === 'tool');
  const tool = steps[at] as Extract<Step, { step: 'tool' }>;
  return { notes: plan.notes, outside: steps.slice(0, at), argv: tool.argv, inside: steps.slice(at + 1) };
}

const inits = ['/proc/self/fd/4', 'inside', '--socket-fd', '3'];
const readonlyProc = ['--mount-readonly', '/proc/bus', '--mount-readonly', '/proc/sys'];

describe('for an ordinary user', () => {
  test('the default is a read-only root without network', () => {
    expect(planOf({}).argv).toEqual([
      ...['/usr/bin/linux-user-chroot', '--unshare-ipc', '--unshare-pid', '--unshare-net'],
      ...['--mount-readonly', '/', '--mount-proc', '/proc', ...readonlyProc],
      ...['/srv/root', ...inits],
    ]);
  });

  test('mounts are binds in their order, those that are read-only made so at once', () => {
    const spec: SandboxSpec = {
      root: { path: '/srv/root', readonly: false },
      mounts: ['/usr:/usr:ro', '/srv/mine:/place:rw'],
      network: 'host',
    };
    expect(planOf(spec).argv).toEqual([
      ...['/usr/bin/linux-user-chroot', '--unshare-ipc', '--unshare-pid'],
      ...['--mount-proc', '/proc', ...readonlyProc],
      ...['--mount-bind', '/usr', '/usr', '--mount-readonly', '/usr', '--mount-bind', '/srv/mine', '/place'],
      ...['/srv/root', ...inits],
    ]);
  });

  test('the launcher makes no namespace around a set-user-ID program, and init drops what it does not have', () => {
    const { outside, inside } = planOf({});
    expect(outside[0]).toEqual({ step: 'namespaces', namespaces: [] });
    expect(outside.some(({ step }) => step === 'tree' || step === 'mount')).toBe(false);
    expect(inside.some(({ step }) => step === 'capabilities' || step === 'mount')).toBe(false);
    expect(inside.some(({ step }) => step === 'seccomp')).toBe(true);
  });
});

describe('for root', () => {
  test('what is shown is opened by the launcher, and named where only root writes', () => {
    const { outside, argv } = planOf({ mounts: ['/srv/mine:/place:rw'] }, { uid: 0, gid: 0 });
    expect(outside.flatMap((step) => (step.step === 'tree' ? [step.path] : []))).toEqual(['/srv/mine', '/srv/root']);
    expect(argv.slice(argv.indexOf('--mount-bind'))).toEqual([
      ...['--mount-bind', '/run/sandboxlib/0', '/place', '/run/sandboxlib/1', ...inits],
    ]);
  });
});

describe('refused by name', () => {
  test('every source that is no directory, and every one that the command could exchange, at once', () => {
    const spec: SandboxSpec = { mounts: ['/srv/file:/mnt:ro', '/srv/mine:/place:rw', '/srv/mine/sub:/sub:ro'] };
    expect(() => planOf(spec)).toThrow(FeatureError);
    expect(() => planOf(spec)).toThrow(/directories alone, and \/srv\/file is none.*in the place of \/srv\/mine\/sub/s);
    expect(() => planOf(spec, { uid: 0, gid: 0 })).not.toThrow(/in the place of/);
  });

  test('a source in a root that may be written', () => {
    const spec: SandboxSpec = { root: { path: '/srv/root', readonly: false }, mounts: ['/srv/root/deep:/mnt:ro'] };
    expect(() => planOf(spec)).toThrow(/because it may write to \/srv\/root/);
  });

  test('the host view', () => {
    expect(() => planOf({ root: 'host' })).toThrow(/root\.host: it enters a directory that is there/);
  });

  test('more options than it takes', () => {
    const mounts = Array.from({ length: 1100 }, (_, number) => `/usr:/mnt/${number}:rw`);
    expect(() => planOf({ mounts })).toThrow(/at most 1023 options, and this needs 11\d\d/);
  });

  test('a caller whose group it would change', () => {
    expect(() => planOf({}, { gid: 0 })).toThrow(BackendError);
  });
});
