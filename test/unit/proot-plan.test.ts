// A view in the words of proot(1); test/os/proot-cases.ts runs it.
import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { prootArgs } from '../../src/backends/proot/argv.ts';
import { proot } from '../../src/backends/proot/index.ts';
import { SpecError } from '../../src/errors/errors.ts';
import type { Feature } from '../../src/features/feature.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

const qemu = { '/usr/bin/qemu-aarch64-static': { text: '', mode: 0o755 } };
const inside = ['/proc/self/fd/4', 'inside', '--socket-fd', '3'];

function stepsOf(spec: SandboxSpec, { uid = 1000, granted = proot.recognized } = {}): readonly Step[] {
  const facts = readCallerFacts(fakeHost(qemu), { uid, gid: uid, architecture: 'x64' });
  const { architecture, emulation, procEntries } = facts;
  const caller = { ...facts, architecture, emulation, procEntries, program: (name: string) => `/usr/bin/${name}` };
  const { detail } = proot.plan(normalize(spec, new MemoryHost()), granted, caller as typeof facts);
  return (detail as { steps: readonly Step[] }).steps;
}

const toolOf = (steps: readonly Step[]): Step | undefined => steps.find(({ step }) => step === 'tool');
const namesOf = (steps: readonly Step[]): string[] => steps.map(({ step }) => step);

test('the default in the words of proot, with our init inside', () => {
  const steps = stepsOf({});
  expect(toolOf(steps)).toEqual({
    step: 'tool',
    endSignal: constants.signals.SIGQUIT,
    traces: true,
    argv: ['/usr/bin/proot', '-v', '-1', '-r', '/', ...inside],
    env: { PROOT_NO_SECCOMP: '1', PROOT_DONT_POLLUTE_ROOTFS: '1' },
  });
  expect(namesOf(steps)).toEqual([...['namespaces', 'tool', 'rlimit', 'rlimit', 'umask', 'user', 'cwd', 'seccomp']]);
  expect(steps).toContainEqual({ step: 'cwd', path: '/' });
});

test('a root, mounts and programs of another architecture', () => {
  const spec = { root: '/usr', mounts: ['src:/a/b', '/usr:/usr'], architecture: 'arm64' } as const;
  const steps = stepsOf(spec);
  expect(toolOf(steps)).toMatchObject({
    argv: [
      ...['/usr/bin/proot', '-v', '-1', '-q', '/usr/bin/qemu-aarch64-static', '-r', '/usr', '-b', '/proc'],
      ...['-b', '/dev', '-b', '/home/alice/src:/a/b!', '-b', '/usr', ...inside],
    ],
  });
  // The second hides the calls that proot would pass to the host.
  expect(namesOf(steps).slice(-2)).toEqual(['seccomp', 'seccomp']);
});

test('limits and the filter are set although they are no promise', () => {
  const none: ReadonlySet<Feature> = new Set();
  const steps = stepsOf({ limits: { openFiles: 9, outputBytes: 5 } }, { granted: none });
  expect(steps).toContainEqual({ step: 'rlimit', resource: 7, soft: 9, hard: 9 });
  expect(steps).toContainEqual({ step: 'limit-output', bytes: 5 });
  expect(namesOf(steps)).toContain('seccomp');
  expect(namesOf(stepsOf({ seccomp: 'unconfined' }))).not.toContain('seccomp');
});

test('only root has capabilities to give up', () => {
  expect(namesOf(stepsOf({}, { uid: 0 }))).toContain('capabilities');
  expect(namesOf(stepsOf({}))).not.toContain('capabilities');
});

describe('what proot has no words for is refused', () => {
  test.each(['/a:b', '/a!'])('%s', (destination) => {
    const spec = normalize({ mounts: [{ type: 'bind', source: '/usr', destination }] }, new MemoryHost());
    expect(() => prootArgs(spec, undefined)).toThrow(SpecError);
    expect(() => prootArgs(spec, undefined)).toThrow(`mounts[0]: proot cannot name ${destination}`);
  });

  test('an architecture without its QEMU', () => {
    expect(() => stepsOf({ architecture: 'riscv64' })).toThrow('install qemu-user-static');
  });
});
