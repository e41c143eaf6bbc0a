import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { run, spawn } from '../../../src/index.ts';
import { pattern, sameBytes } from '../../conformance/bench.ts';
import { lighter, type Technique } from '../technique.ts';

const MiB = 1024 * 1024;
const SAME = 'output goes through the same supervisor';
const TEN_GIB = 10 * 1024 * MiB;
/** How much is kept where limits.outputBytes names no bound. */
const KEPT = 64 * MiB;

/** Resident memory of a process on this host, in bytes. */
function residentBytes(pid: number | 'self'): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

export const technique: Technique = {
  name: 'output-flood',
  attacks: ['limits.outputBytes', 'lifecycle.killTree'],
  cases: {
    'ten gibibytes end at limits.outputBytes': async (bench) => {
      const before = residentBytes('self');
      const limits = { outputBytes: '1MiB' };
      const result = await bench.run(['flood', 1, TEN_GIB], { limits }, { encoding: 'buffer' });
      expect(result.outcome).toEqual({ kind: 'limit', limit: 'outputBytes' });
      expect(result.stdoutTruncated).toBe(true);
      expect(sameBytes(result.stdout, pattern(MiB))).toBe(true);
      expect(residentBytes('self') - before).toBeLessThan(256 * MiB);
    },
    'ten gibibytes end where nobody named a bound': async (bench) => {
      const before = residentBytes('self');
      const result = await bench.run(['flood', 2, TEN_GIB], {}, { encoding: 'buffer' });
      expect(result.outcome).toEqual({ kind: 'limit', limit: 'outputBytes' });
      expect(result.stderrTruncated).toBe(true);
      expect(result.stderr).toHaveLength(KEPT);
      // What is kept, once more where it is put together, and what Node has not collected yet.
      expect(residentBytes('self') - before).toBeLessThan(512 * MiB);
    },
    'two floods at once share the bound': async (bench) => {
      const script = 'yes >&2 | yes';
      const { outcome, stdout, stderr } = await run(
        ['sh', '-c', script],
        bench.withHost({}),
        bench.options({ encoding: 'buffer' }),
      );
      expect(outcome).toEqual({ kind: 'limit', limit: 'outputBytes' });
      expect((stdout as Uint8Array).length + (stderr as Uint8Array).length).toBe(KEPT);
    },
    'a flood to nobody costs nobody memory': async (bench) => {
      await using handle = bench.spawn(['flood', 1, TEN_GIB], { limits: { outputBytes: '8GiB' } });
      const { stdout } = handle;
      await handle.started;
      // The reader has the stream and does not read: both wait, and neither this process nor the launcher hoards.
      const before = residentBytes('self');
      await new Promise((resolve) => setTimeout(resolve, 1000));
      expect(residentBytes('self') - before).toBeLessThan(64 * MiB);
      expect(residentBytes(handle.pid as number)).toBeLessThan(16 * MiB);
      stdout.destroy();
      handle.kill();
      expect((await handle).outcome.kind).toMatch(/^(cancelled|exited|signalled)$/);
    },
    'when the reader goes away the flood ends': async (bench) => {
      for (const target of ['stdout', 'stderr'] as const) {
        await using handle = bench.spawn(['flood', target === 'stdout' ? 1 : 2, TEN_GIB]);
        const stream = handle[target];
        await new Promise((resolve) => stream.once('data', resolve));
        stream.destroy();
        const { outcome } = await handle;
        expect(outcome).toEqual({ kind: 'signalled', signal: 'SIGPIPE' });
      }
    },
    'a million single bytes are exact': lighter(SAME, async (bench, share) => {
      const count = share(1_000_000);
      const { stdout } = await bench.run(['bytewise', 1, count], {}, { encoding: 'buffer' });
      expect(sameBytes(stdout, pattern(count))).toBe(true);
    }),
    'sizes around those of a pipe are exact, and so is nothing at all': async (bench) => {
      for (const size of [0, 1, 4097, 65_535, 65_536, 65_537, MiB + 1]) {
        const { stdout, stderr } = await bench.run(['flood', 1 + (size % 2), size], {}, { encoding: 'buffer' });
        const [flooded, quiet] = size % 2 === 0 ? [stdout, stderr] : [stderr, stdout];
        expect(sameBytes(flooded, pattern(size)), `${size}`).toBe(true);
        expect(quiet?.length, `${size}`).toBe(0);
      }
    },
    'bytes that are no text are exact, and as text never throw': async (bench) => {
      const script = `printf '\\377\\000\\303'; sleep 0.1; printf '\\250\\355\\240\\200'; yes | head -c 65529; printf '\\342\\202'`;
      const buffer = await run(['sh', '-c', script], bench.withHost({}), bench.options({ encoding: 'buffer' }));
      const expected = Buffer.concat([
        Buffer.from([0xff, 0, 0xc3, 0xa8, 0xed, 0xa0, 0x80]),
        Buffer.from('y\n'.repeat(40_000)).subarray(0, 65_529),
        Buffer.from([0xe2, 0x82]),
      ]);
      expect(sameBytes(buffer.stdout, expected)).toBe(true);
      const text = await run(['sh', '-c', script], bench.withHost({}), bench.options({}));
      expect((text.stdout as string).startsWith('\ufffd\0è\ufffd')).toBe(true);
    },
    'a flood of lines without an end does not grow the reader of lines for ever': lighter(
      SAME,
      async (bench, share) => {
        const limits = { outputBytes: share(128) * MiB };
        await using handle = spawn(['sh', '-c', "yes | tr -d '\\n'"], bench.withHost({ limits }), bench.options({}));
        let lines = 0;
        try {
          for await (const _ of handle.lines()) lines++;
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(/^SBX_/);
        }
        expect(lines).toBeLessThanOrEqual(1);
        expect((await handle).outcome).toEqual({ kind: 'limit', limit: 'outputBytes' });
      },
    ),
  },
};
