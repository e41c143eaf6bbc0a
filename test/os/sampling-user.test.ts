// Bounds that stand in for those of control groups, as an ordinary user meets them. The first import makes this process one.

import { beforeEach, describe, expect, it } from 'vitest';
import type { Feature } from '../../src/features/feature.ts';
import { createSandbox, explain, type RunResult, run } from '../../src/index.ts';
import type { Limits, SandboxSpec } from '../../src/spec/types.ts';
import { whyUnreachable } from '../helpers/become-user.ts';
import { needNoGroups } from '../helpers/groups.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns', 'file:/usr/bin/python3', 'file:/usr/bin/node');

const MiB = 1024 * 1024;
const fine = { kind: 'exited', code: 0 };
const optional: Feature[] = ['limits.cpuMs', 'limits.memoryBytes', 'limits.pids'];
const unreachable = whyUnreachable();

beforeEach(async (context) => {
  if (unreachable !== undefined) context.skip(unreachable);
  for (const feature of optional) await needNoGroups('native', feature);
});

const python = (script: string, limits: Limits): Promise<RunResult> =>
  run(['python3', '-c', script], { limits: { wallMs: '600s', ...limits } }, { optional, backend: 'native' });

describe('who insists on an exact bound', () => {
  it.each(optional)('is refused %s, and hears of what stands in for it', async (feature) => {
    const limits = { cpuMs: 1000, memoryBytes: 64 * MiB, pids: 8 };
    const refused = createSandbox({ limits }, { backend: 'native', optional: optional.filter((o) => o !== feature) });
    const remedy = expect.stringContaining(
      `name it optional (--optional ${feature}), and ${feature}.approximate stands in for it`,
    );
    await expect(refused).rejects.toMatchObject({
      code: 'SBX_FEATURE_UNAVAILABLE',
      missing: [{ feature, remedy }],
    });
  });

  it('hears of it from a run too', async () => {
    const refused = run(['true'], { limits: { pids: 8 } }, { backend: 'native' });
    const remedy = expect.stringContaining('limits.pids.approximate stands in for it');
    await expect(refused).rejects.toMatchObject({ missing: [{ feature: 'limits.pids', remedy }] });
  });
});

describe('who names it optional', () => {
  const limits = { cpuMs: 1000, memoryBytes: 64 * MiB, pids: 8 };
  const given = async (spec: SandboxSpec): Promise<Feature[]> => {
    const { enforcement } = await explain({ limits, ...spec }, { optional, backend: 'native' });
    expect(enforcement.skipped.map(({ feature }) => feature).sort()).toEqual([...optional].sort());
    return enforcement.applied.map(({ feature }) => feature).filter((feature) => feature.endsWith('.approximate'));
  };

  it('has what stands in, by its mechanism', async () => {
    expect(await given({})).toEqual(optional.map((feature) => `${feature}.approximate`));
  });

  it('has none that a capability of the command would undo', async () => {
    expect(await given({ capabilities: ['CAP_SYS_ADMIN'] })).toEqual([]);
    expect(await given({ capabilities: ['CAP_SETUID'] })).toEqual([
      'limits.cpuMs.approximate',
      'limits.memoryBytes.approximate',
    ]);
  });
});

describe('nobody is ended who stays below', () => {
  it('a program that reserves far more than it takes', async () => {
    const spec = { limits: { memoryBytes: 256 * MiB, pids: 64, cpuMs: '60s', wallMs: '600s' } } as const;
    const script = 'const kept = Buffer.alloc(32 << 20, 1); setTimeout(() => kept.length, 300)';
    const result = await run(['node', '-e', script], spec, { optional, backend: 'native' });
    expect(result).toMatchObject({ outcome: fine, stderr: '' });
  });

  it('threads with large stacks', async () => {
    const script = `
import threading, time
for _ in range(12): threading.Thread(target=time.sleep, args=(0.3,)).start()`;
    expect((await python(script, { memoryBytes: 48 * MiB, pids: 13 })).outcome).toEqual(fine);
  });

  it('a file of the host that is only looked at', async () => {
    const script = `
import mmap, time
with open('/usr/bin/node', 'rb') as file: kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
for at in range(0, len(kept), 4096): kept[at]
time.sleep(0.3)
print(len(kept))`;
    const result = await python(script, { memoryBytes: 48 * MiB });
    expect(result.outcome).toEqual(fine);
    expect(Number(result.stdout)).toBeGreaterThan(48 * MiB);
  });

  it('children that hand a processor to each other', async () => {
    const script = `
import os
for _ in range(300):
    if os.fork() == 0: os._exit(0)
    os.wait()`;
    expect((await python(script, { pids: 2, cpuMs: '60s' })).outcome).toEqual(fine);
  });
});

describe('who goes beyond is ended', () => {
  it('also where everything in the sandbox is stopped', async () => {
    const script = `
import os, signal
kept = bytearray(96 << 20)
os.kill(os.getpid(), signal.SIGSTOP)`;
    expect((await python(script, { memoryBytes: 64 * MiB })).outcome).toEqual({ kind: 'limit', limit: 'memoryBytes' });
  });

  it('also where hundreds of processes must be looked at, and the clock goes on', async () => {
    const script = `
import os, time
for _ in range(500):
    if os.fork() == 0: time.sleep(1000)
print('ready', flush=True)
time.sleep(1000)`;
    const limits: Limits = { cpuMs: '600s', memoryBytes: 2048 * MiB, wallMs: '20s' };
    expect(await python(script, limits)).toMatchObject({
      outcome: { kind: 'limit', limit: 'wallMs' },
      stdout: 'ready\n',
    });
  });

  it('by what many do together', async () => {
    const script = `
import os, time
for _ in range(4):
    if os.fork() == 0:
        kept = bytearray(24 << 20)
        time.sleep(1000)
time.sleep(1000)`;
    expect((await python(script, { memoryBytes: 80 * MiB })).outcome).toEqual({ kind: 'limit', limit: 'memoryBytes' });
  });

  it('by what its children did, also where it ended by itself', async () => {
    const script = `
import os, time
for _ in range(10):
    if os.fork() == 0:
        while time.process_time() < 0.03: pass
        os._exit(0)
    os.wait()`;
    expect((await python(script, { cpuMs: 200 })).outcome).toEqual({ kind: 'limit', limit: 'cpuMs' });
  });
});
