// What a run is said to have used, against what the kernel tells a known load of itself (getrusage(2)).
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../../src/index.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'root', 'userns', 'file:/usr/bin/python3', 'command:bwrap', 'command:crun', 'command:systemd-nspawn');

const backends = ['native', 'bubblewrap', 'oci', 'systemd-nspawn'] as const;

const MiB = 1024 * 1024;

interface Known {
  readonly resident: number;
  readonly written: number;
  readonly voluntary: number;
  readonly involuntary: number;
  readonly cpuMs: number;
}

/** 64 MiB of memory, 200 waits, 8 MiB on a disk and 0.3 s of work, half of it in a child that nobody waits for. */
const load = `
import json, os, resource, sys, time
kept = b'x' * (64 << 20)
for _ in range(200): time.sleep(0.0005)
with open('file', 'wb') as file:
    file.write(os.urandom(8 << 20))
    file.flush()
    os.fsync(file.fileno())
reader, writer = os.pipe()
if os.fork() == 0:
    while time.process_time() < 0.15: pass
    os.write(writer, b'.')
    os._exit(0)
while time.process_time() < 0.15: pass
os.read(reader, 1)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({'resident': used.ru_maxrss * 1024, 'written': used.ru_oublock * 512, 'voluntary': used.ru_nvcsw, 'involuntary': used.ru_nivcsw,
  'cpuMs': 1000 * (used.ru_utime + used.ru_stime)}))
`;

test.each(backends)('of a known load nothing is missing, and nothing of a tool is added: %s', async (backend) => {
  // On a disk: what a tmpfs holds was never written.
  const directory = mkdtempSync(join(import.meta.dirname, '../../build/usage-'));
  try {
    const spec = { workspace: directory };
    const { stdout, usage, outcome } = await run(['/usr/bin/python3', '-c', load], spec, { backend });
    expect(outcome).toEqual({ kind: 'exited', code: 0 });
    const known = JSON.parse(stdout as string) as Known;
    const {
      maxResidentBytes = 0,
      writtenBytes = 0,
      voluntaryContextSwitches = 0,
      involuntaryContextSwitches = 0,
    } = usage;
    expect(maxResidentBytes).toBe(known.resident);
    expect(known.written).toBeGreaterThanOrEqual(8 * MiB);
    expect(writtenBytes).toBeGreaterThanOrEqual(known.written);
    expect(writtenBytes).toBeLessThan(known.written + MiB);
    expect(known.voluntary).toBeGreaterThanOrEqual(200);
    expect(voluntaryContextSwitches).toBeGreaterThanOrEqual(known.voluntary);
    expect(voluntaryContextSwitches).toBeLessThan(known.voluntary + 200);
    expect(involuntaryContextSwitches).toBeGreaterThanOrEqual(known.involuntary);
    // With the child's half, which the load itself does not count.
    const cpuMs = (usage.cpuUserMs ?? 0) + (usage.cpuSystemMs ?? 0);
    expect(cpuMs).toBeGreaterThanOrEqual(known.cpuMs + 149);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('what cannot be known is absent', async () => {
  const { usage } = await run(['true'], {}, { backend: 'none', optional: 'all' });
  expect(Object.keys(usage)).toEqual(['wallMs']);
});

test.each(backends)('what is written to stdout and stderr is counted where it goes through us: %s', async (backend) => {
  const write = ['sh', '-c', 'head -c 100000 /dev/zero; head -c 2345 /dev/zero >&2'] as const;
  const both = await run(write, {}, { backend });
  expect(both.usage.outputBytes).toBe(102_345);
  const merged = await run(write, {}, { backend, stderr: 'stdout' });
  expect(merged.usage.outputBytes).toBe(102_345);
  const one = await run(write, {}, { backend, stderr: 'ignore' });
  expect(one.usage.outputBytes).toBe(100_000);
  const none = await run(write, {}, { backend, stdout: 'ignore', stderr: 'ignore' });
  expect(none.usage).not.toHaveProperty('outputBytes');
});
