// What doctor tells of bounds that something stands in for.
import { expect, test } from 'vitest';
import { doctorText, type Paint } from '../../src/cli/render.ts';
import type { Availability, Feature, HostReport } from '../../src/index.ts';

const plain: Paint = (_style, text) => text;
const yes: Availability = { available: true, mechanism: 'kernel' };
const no: Availability = { available: false, because: 'none here' };

function limitsLine(known: Partial<Record<Feature, Availability>>): string | undefined {
  const native = { backend: 'native', usable: yes, features: { 'namespace.pid': yes, ...known } };
  const report = {
    kernel: { release: '6.18.0' },
    architecture: 'x64',
    user: { uid: 1000 },
    container: { inside: false },
    backends: [native],
    findings: [],
    facilities: [],
  } as unknown as HostReport;
  return doctorText(report, { verbose: false, paint: plain })
    .split('\n')
    .find((line) => line.includes(' limits '));
}

test('where the exact bound is to be had nobody misses what would stand in for it', () => {
  expect(limitsLine({ 'limits.pids': yes, 'limits.pids.approximate': no })).toMatch(/^✓ limits +all 1$/);
});

test('where it is not, what stands in for it is named', () => {
  const line = limitsLine({ 'limits.pids': no, 'limits.pids.approximate': yes, 'limits.cpus': no });
  expect(line).toMatch(
    /^✗ limits +missing limits\.cpus, limits\.pids; where these are optional, in their place limits\.pids\.approximate$/,
  );
  expect(limitsLine({ 'limits.pids': no, 'limits.pids.approximate': no })).toMatch(/^✗ limits +missing limits\.pids$/);
});
