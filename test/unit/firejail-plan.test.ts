// A sandbox in the words of firejail(1); test/conformance/firejail.test.ts runs it.
import { expect, test } from 'vitest';
import { firejail } from '../../src/backends/firejail/index.ts';
import type { Step } from '../../src/backends/launcher/steps.ts';
import type { Feature } from '../../src/features/feature.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { fakeHost } from '../helpers/fake-host.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

const tree = { '/proc/keys': '', '/proc/acpi/x': '', '/proc/sys/x': '', '/proc/cpuinfo': '', '/proc/42/status': '' };

function planOf(spec: SandboxSpec, granted: ReadonlySet<Feature> = firejail.recognized) {
  const facts = readCallerFacts(fakeHost(tree), { uid: 1000, gid: 1000, architecture: 'x64' });
  const program = (name: string): string => `/usr/bin/${name}`;
  const caller = { ...facts, procEntries: facts.procEntries, architecture: facts.architecture, program };
  return firejail.plan(normalize(spec, new MemoryHost()), granted, caller as typeof facts);
}

function toolOf(...given: Parameters<typeof planOf>): Extract<Step, { step: 'tool' }> {
  const { steps } = planOf(...given).detail as { steps: readonly Step[] };
  return steps.find((step) => step.step === 'tool') as Extract<Step, { step: 'tool' }>;
}

test('the default in the words of firejail, with our init inside', () => {
  expect(toolOf({})).toEqual({
    step: 'tool',
    endSignal: 0,
    traces: false,
    argv: [
      ...['/usr/bin/firejail', '--quiet', '--noprofile', '--hostname=sandbox', '--net=none', '--ipc-namespace'],
      ...['--private-dev', '--blacklist=/proc/acpi', '--blacklist=/proc/keys', '--read-only=/proc/sys'],
      ...['--nogroups', '--caps.drop=all', '--nonewprivs', '--deterministic-shutdown', '--keep-fd=3,4'],
      ...['--', 'exec', '/proc/self/fd/4', 'inside', '--socket-fd', '3'],
    ],
    env: {},
  });
});

test('what is not granted is not made', () => {
  const without = (...features: Feature[]): ReadonlySet<Feature> =>
    new Set([...firejail.recognized].filter((feature) => !features.includes(feature)));
  expect(toolOf({}, without('network.none')).argv).not.toContain('--net=none');
  expect(toolOf({}, without('hostname')).argv.join(' ')).not.toContain('--hostname');
  expect(toolOf({}, without('namespace.ipc')).argv).not.toContain('--ipc-namespace');
  expect(toolOf({ network: 'host' }).argv).not.toContain('--net=none');
});

test('the command is the caller, wherever somebody else was asked for, and starts where that one can', () => {
  const { steps } = planOf({ user: { uid: 0, gid: 0 } }).detail as { steps: readonly Step[] };
  expect(steps).toContainEqual({ step: 'user', uid: 1000, gid: 1000, setgroups: false, additionalGids: [] });
  expect(steps).toContainEqual({ step: 'cwd', path: '/' });
  expect(steps).toContainEqual({ step: 'capabilities', keep: [] });
});
