// Each bound, met for real: what happens at it, and what the result says.
import { join } from 'node:path';
import { expect } from 'vitest';
import { pattern, sameBytes } from './bench.ts';
import type { Suite } from './describe-backend.ts';

const MiB = 1024 * 1024;
const LONG_MS = 600_000;
const RLIMIT_STACK = 3;
const RLIMIT_CORE = 4;
const RLIMIT_NOFILE = 7;

export function limitCases(suite: Suite): void {
  timeCases(suite);
  outputCases(suite);
  resourceCases(suite);
}

function timeCases({ bench, promise }: Suite): void {
  promise(['limits.wallMs'], 'at limits.wallMs the command is asked to end', async () => {
    const result = await bench.run(['orderly'], { limits: { wallMs: 300 } }, { gracePeriodMs: LONG_MS });
    expect(result).toMatchObject({
      outcome: { kind: 'limit', limit: 'wallMs' },
      stdout: 'ready\ncaught 15\n',
      exitCode: 7,
    });
  });

  promise(
    ['limits.wallMs'],
    'a command that does not end at limits.wallMs is killed after its grace period',
    async () => {
      const result = await bench.run(['stubborn'], { limits: { wallMs: 300 } }, { gracePeriodMs: 100 });
      expect(result).toMatchObject({ outcome: { kind: 'limit', limit: 'wallMs' }, stdout: 'ready\ncaught 15\n' });
    },
  );

  promise(['limits.wallMs'], 'limits.wallMs does not touch a command that is faster', async () => {
    const { outcome } = await bench.run(['exit', 3], { limits: { wallMs: LONG_MS } });
    expect(outcome).toEqual({ kind: 'exited', code: 3 });
  });

  promise(['limits.processCpuMs'], 'at limits.processCpuMs a busy command ends', async () => {
    const { outcome, signal } = await bench.run(['spin'], { limits: { processCpuMs: 1000, wallMs: LONG_MS } });
    expect({ outcome, signal }).toEqual({ outcome: { kind: 'limit', limit: 'processCpuMs' }, signal: 'SIGXCPU' });
  });

  promise(['limits.processCpuMs', 'usage.cpu'], 'a busy command that ignores SIGXCPU is killed', async () => {
    const { outcome, signal, usage } = await bench.run(['spin-on'], {
      limits: { processCpuMs: 1000, wallMs: LONG_MS },
    });
    expect({ outcome, signal }).toEqual({ outcome: { kind: 'limit', limit: 'processCpuMs' }, signal: 'SIGKILL' });
    expect(usage.cpuUserMs).toBeGreaterThan(1000);
  });

  promise(['limits.processCpuMs'], 'limits.processCpuMs does not count sleep', async () => {
    const { outcome } = await bench.run(['sleep', 1500], { limits: { processCpuMs: 1000 } });
    expect(outcome).toEqual({ kind: 'exited', code: 0 });
  });
}

function outputCases({ bench, promise }: Suite): void {
  promise(['limits.outputBytes'], 'limits.outputBytes is exact', async () => {
    for (const bound of [0, 1, 4096, 70_001]) {
      const limits = { outputBytes: bound };
      const result = await bench.run(['flood', 1, 10 * MiB], { limits }, { encoding: 'buffer' });
      expect(result).toMatchObject({ outcome: { kind: 'limit', limit: 'outputBytes' }, stdoutTruncated: true });
      expect(sameBytes(result.stdout, pattern(bound)), `${bound} bytes`).toBe(true);
    }
  });

  promise(['limits.outputBytes'], 'output of just limits.outputBytes is no limit met', async () => {
    const result = await bench.run(['flood', 1, 5000], { limits: { outputBytes: 5000 } }, { encoding: 'buffer' });
    expect(result).toMatchObject({ outcome: { kind: 'exited', code: 0 }, stdoutTruncated: false });
    expect(sameBytes(result.stdout, pattern(5000))).toBe(true);
  });

  promise(['limits.outputBytes'], 'limits.outputBytes counts stdout and stderr together', async () => {
    const result = await bench.run(['interleave', 100_000], { limits: { outputBytes: 1001 } });
    expect(result.outcome).toEqual({ kind: 'limit', limit: 'outputBytes' });
    expect(`${result.stdout}${result.stderr}`.length).toBe(1001);
  });
}

function resourceCases({ bench, promise }: Suite): void {
  promise(['limits.diskBytes'], 'limits.diskBytes counts all own directories together', async () => {
    const fill = async (diskBytes: number): Promise<number[]> => {
      const spec = { limits: { diskBytes }, mounts: [{ type: 'tmpfs', destination: '/scratch' } as const] };
      const answer = await bench.answer(['fill-both', '/tmp/a', '/scratch/b', 4 * MiB], spec);
      return answer.split('\n').map(Number);
    };
    expect(await fill(16 * MiB)).toEqual([4 * MiB, 4 * MiB]);
    const [first = 0, second = 0] = await fill(6 * MiB);
    expect(first).toBe(4 * MiB);
    expect(second).toBeGreaterThan(MiB);
    expect(second).toBeLessThanOrEqual(2 * MiB);
  });

  promise(['limits.diskBytes'], 'with limits.diskBytes own directories are whose they always are', async () => {
    const limits = { diskBytes: 16 * MiB };
    const home = await bench.answer(['env'], { limits });
    const path = /^HOME=(.+)$/m.exec(home)?.[1] ?? '';
    for (const place of ['/tmp', '/dev/shm', path])
      expect(await bench.answer(['stat', place], { limits }), place).toBe(await bench.answer(['stat', place]));
    expect(await bench.answer(['write', `${path}/file`, 'x'], { limits })).toBe('written');
  });

  promise(['limits.openFiles'], 'beyond limits.openFiles no descriptor can be opened', async () => {
    expect(await bench.refusal(['open-files'], { limits: { openFiles: 20 } })).toBe('20 errno EMFILE');
    expect(await bench.answer(['rlimit', RLIMIT_NOFILE], { limits: { openFiles: 20 } })).toBe('20 20');
  });

  /** Where there is no private /tmp the command sees the directory of the bench: as files of the host, or as its root. */
  const fileToFill = (): string =>
    bench.recognized.has('mount.tmpfs') ? '/tmp/x' : bench.inside(join(bench.makeDirectory('to-fill'), 'x'));

  promise(['limits.fileBytes'], 'at limits.fileBytes the command ends', async () => {
    const file = fileToFill();
    const { outcome, signal } = await bench.run(['fill', file, MiB], { limits: { fileBytes: 8192 } });
    expect({ outcome, signal }).toEqual({ outcome: { kind: 'limit', limit: 'fileBytes' }, signal: 'SIGXFSZ' });
    expect(await bench.answer(['fill', file, 8192], { limits: { fileBytes: 8192 } })).toBe('8192');
  });

  promise(['limits.fileBytes'], 'a command that ignores SIGXFSZ gets EFBIG', async () => {
    expect(await bench.refusal(['fill', fileToFill(), MiB, 'ignore'], { limits: { fileBytes: 8192 } })).toBe(
      '8192 errno EFBIG',
    );
  });

  promise(['limits.stackBytes'], 'beyond limits.stackBytes the command ends', async () => {
    const deep = 4 * MiB;
    const { outcome } = await bench.run(['stack', deep], { limits: { stackBytes: '1MiB' } });
    expect(outcome).toEqual({ kind: 'signalled', signal: 'SIGSEGV' });
    expect((await bench.run(['stack', deep], { limits: { stackBytes: '7MiB' } })).exitCode).toBe(0);
    expect(await bench.answer(['rlimit', RLIMIT_STACK], { limits: { stackBytes: '1MiB' } })).toBe(`${MiB} ${MiB}`);
  });

  promise(['limits.coreBytes'], 'a crash writes no core file unless asked for', async () => {
    expect(await bench.answer(['rlimit', RLIMIT_CORE])).toBe('0 0');
    expect((await bench.run(['abort'])).outcome).toEqual({ kind: 'signalled', signal: 'SIGABRT' });
  });
}
