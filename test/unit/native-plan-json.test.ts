// A plan is plain data: it can be kept in a file or sent over a wire, and still says the same to the launcher.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BackendPlan } from '../../src/backends/backend.ts';
import { callSteps } from '../../src/backends/launcher/call.ts';
import { encodePlan } from '../../src/backends/launcher/encode.ts';
import type { LauncherPlan } from '../../src/backends/launcher/steps.ts';
import { planNative } from '../../src/backends/native/plan.ts';
import { recognized } from '../../src/backends/native/recognized.ts';
import { readCallerFacts } from '../../src/host/facts.ts';
import { defaultFilter } from '../../src/seccomp/default-filter.ts';
import { capabilityNames } from '../../src/spec/capabilities.ts';
import { normalize } from '../../src/spec/normalize.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { fakeHost, fakeHosts } from '../helpers/fake-host.ts';
import { MemoryHost } from '../helpers/memory-host.ts';

const tree = {
  ...fakeHosts.plain,
  '/usr/bin/true': '',
  '/bin': { link: 'usr/bin' },
  '/etc/hosts': '127.0.0.1 localhost\n',
};
/** What no spec of this file asks for is not granted. */
const granted = [...recognized].filter((feature) => feature !== 'architecture');
const caller = readCallerFacts(fakeHost(tree), { uid: 1000, gid: 1000, architecture: 'x64' });

function planOf(spec: SandboxSpec): BackendPlan<LauncherPlan> {
  return planNative(normalize(spec, new MemoryHost()), new Set(granted), caller);
}

function bytesOf({ detail }: BackendPlan<LauncherPlan>): Uint8Array {
  return encodePlan(callSteps(detail, { command: ['true', 'ä'], killSignal: 'SIGTERM', gracePeriodMs: 2000 }, []));
}

const specs: fc.Arbitrary<SandboxSpec> = fc.record(
  {
    root: fc.constantFrom('host', '/usr', { path: '/usr', readonly: false }, { path: '/usr', writablePaths: ['/bin'] }),
    mounts: fc.subarray([
      'src:/src:rw',
      { type: 'tmpfs', destination: '/cache', sizeBytes: '1GiB', mode: 0o700 },
      { type: 'proc', destination: '/proc' },
      { type: 'dev', destination: '/dev' },
      { type: 'sysfs', destination: '/sys' },
    ] as const),
    hostname: fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/),
    env: fc.dictionary(
      fc.stringMatching(/^[A-Z_]{1,8}$/),
      fc.string({ unit: 'grapheme' }).filter((s) => !s.includes('\0')),
    ),
    umask: fc.integer({ min: 0, max: 0o777 }),
    user: fc.constantFrom({ uid: 0, gid: 0 }, { uid: 1000, gid: 1000 }),
    uidMappings: fc.constantFrom('subordinate', undefined),
    network: fc.constantFrom('none', 'host'),
    seccomp: fc.constantFrom('default', 'unconfined'),
    capabilities: fc.subarray([...capabilityNames]),
    terminal: fc.constantFrom(true, { columns: 80, rows: 24 }),
    limits: fc.record(
      {
        wallMs: fc.integer({ min: 1, max: 2 ** 53 - 1 }),
        outputBytes: fc.maxSafeNat(),
        openFiles: fc.maxSafeNat(),
        coreBytes: fc.maxSafeNat(),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<SandboxSpec>;

test('a plan that went through JSON encodes to the same bytes', () => {
  fc.assert(
    fc.property(specs, (spec) => {
      const plan = planOf(spec);
      const copy = JSON.parse(JSON.stringify(plan)) as BackendPlan<LauncherPlan>;
      expect(copy).toEqual(plan);
      expect(Buffer.compare(bytesOf(copy), bytesOf(plan))).toBe(0);
    }),
  );
});

test('a plan has the filter, the capabilities and its files in words that JSON has', () => {
  const { detail } = planOf({ hostname: 'box', capabilities: ['CAP_CHOWN', 'CAP_KILL'] });
  const filter = Buffer.from(defaultFilter({ architecture: 'x64', capabilities: ['CAP_CHOWN', 'CAP_KILL'] }));
  expect(detail.steps).toContainEqual({ step: 'capabilities', keep: ['CAP_CHOWN', 'CAP_KILL'] });
  expect(detail.steps).toContainEqual({
    step: 'seccomp',
    filter: filter.toString('base64'),
    deniesKeyrings: true,
    tells: false,
    asks: false,
    pass: [],
  });
  const content = Buffer.from('box\n').toString('base64');
  expect(detail.steps).toContainEqual({ step: 'file', mode: 0o644, path: '/etc/hostname', content });
});
