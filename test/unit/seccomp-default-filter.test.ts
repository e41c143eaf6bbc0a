import { expect, test } from 'vitest';
import { compileSeccomp } from '../../src/seccomp/compile.ts';
import { defaultFilter } from '../../src/seccomp/default-filter.ts';
import { defaultProfile } from '../../src/seccomp/profile.ts';
import { audit, decode, runFilter } from '../helpers/bpf.ts';
import { renderDefaultFilterData } from '../helpers/default-filter-data.ts';
import { describeCall, probes } from '../helpers/seccomp-reference.ts';

test('the committed filters are what the profile compiles to', async () => {
  await expect(renderDefaultFilterData()).toMatchFileSnapshot('../../src/seccomp/default-filter-data.ts');
});

const capabilitySets: readonly (readonly string[])[] = [
  [],
  ...relevantCapabilities().map((capability) => [capability]),
  ['CAP_CHOWN', 'CAP_SETUID'],
  ['CAP_SYS_ADMIN', 'CAP_NET_RAW', 'CAP_SYS_TIME'],
  ['CAP_SYS_CHROOT', 'CAP_SYS_NICE', 'CAP_DAC_READ_SEARCH', 'CAP_BPF'],
];

function relevantCapabilities(): readonly string[] {
  return [
    ...[
      'CAP_SYS_ADMIN',
      'CAP_SYS_CHROOT',
      'CAP_SYS_TIME',
      'CAP_SYSLOG',
      'CAP_SYS_BOOT',
      'CAP_SYS_MODULE',
      'CAP_SYS_PACCT',
    ],
    ...[
      'CAP_SYS_RAWIO',
      'CAP_SYS_TTY_CONFIG',
      'CAP_SYS_NICE',
      'CAP_DAC_READ_SEARCH',
      'CAP_BPF',
      'CAP_PERFMON',
      'CAP_NET_RAW',
    ],
  ];
}

for (const architecture of ['x64', 'arm64'] as const) {
  for (const capabilities of capabilitySets) {
    const kept = capabilities.length === 0 ? 'no capability' : capabilities.join(' and ');
    test(`on ${architecture} the ready-made filter for ${kept} decides like the compiled profile`, () => {
      const ready = decode(defaultFilter({ architecture, capabilities }));
      const profile = defaultProfile({ capabilities });
      const compiled = decode(compileSeccomp(profile, { architecture }));
      for (const data of probes(profile)) {
        const expected = runFilter(compiled, data).verdict;
        if (runFilter(ready, data).verdict !== expected)
          expect.fail(`${describeCall(data)}: not ${expected.toString(16)}`);
      }
    });
  }
}

test('no mark is left in a filter that is handed out', () => {
  for (const architecture of ['x64', 'arm64'] as const) {
    for (const capabilities of capabilitySets) {
      const returned = decode(defaultFilter({ architecture, capabilities })).filter(({ code }) => code === 0x06);
      for (const { k } of returned) expect([0x7fff0000, 0x80000000, 0x50001, 0x50026, 0x50061]).toContain(k);
    }
  }
});

test('a filter is made once', () => {
  expect(defaultFilter({ architecture: 'x64' })).toBe(
    defaultFilter({ architecture: 'x64', capabilities: ['CAP_CHOWN'] }),
  );
});

test('a system call that is always allowed is decided without reading an argument, in few steps', () => {
  const program = decode(defaultFilter({ architecture: 'x64' }));
  for (const nr of [0, 1, 3, 9, 202, 257, 262, 439]) {
    const { verdict, readsArguments, steps } = runFilter(program, { arch: audit.x86_64, nr });
    expect({ verdict, readsArguments }, `system call ${nr}`).toEqual({ verdict: 0x7fff0000, readsArguments: false });
    expect(steps).toBeLessThan(14);
  }
});
