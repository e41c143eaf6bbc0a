// More mounts than anybody has: tables that are walked for each of them, and bounds that nobody thought of.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { LaunchError, SpecError } from '../../../src/errors/errors.ts';
import { run } from '../../../src/index.ts';
import { python } from '../python.ts';
import { lighter, type Technique } from '../technique.ts';

const MANY = 5000;
/** A plan of the launcher holds fewer, and so does a command line. The kernel itself stops at fs.mount-max, 100000 by default. */
const TOO_MANY = 70_000;

function tableOfHost(): string {
  return readFileSync('/proc/self/mountinfo', 'utf8');
}

export const technique: Technique = {
  name: 'many-mounts',
  attacks: ['root.host', 'mount.bind', 'mount.tmpfs'],
  cases: {
    'five thousand mounts are all there, in their order': lighter(
      'a plan is checked and read by the same code',
      async (bench, share) => {
        const many = share(MANY);
        const base = bench.makeDirectory('many');
        for (const name of ['even', 'odd']) {
          mkdirSync(join(base, name));
          writeFileSync(join(base, name, 'mark'), name);
        }
        const table = tableOfHost();
        const source = (number: number): string => join(base, number % 2 === 0 ? 'even' : 'odd');
        const mounts = Array.from({ length: many }, (_, number) => `${source(number)}:/mnt/${number}:ro`);
        const script = `
wrong = [n for n in range(${many}) if open('/mnt/%d/mark' % n).read() != ('even', 'odd')[n % 2]]
say('wrong', len(wrong))
say('mounts', sum(1 for line in open('/proc/self/mountinfo') if line.split()[4].startswith('/mnt/')))
say('write', attempt(lambda: open('/mnt/${many - 1}/made', 'w').close()))
`;
        expect(await python(bench, script, { mounts })).toEqual({ wrong: '0', mounts: String(many), write: 'EROFS' });
        expect(tableOfHost()).toBe(table);
        expect(readdirSync(base).sort()).toEqual(['even', 'odd']);
      },
    ),
    'a hundred mounts one in another, and a hundred at one place, are what was asked for': async (bench) => {
      const base = bench.makeDirectory('nested-mounts');
      for (let number = 0; number < 100; number++) {
        mkdirSync(join(base, String(number), 'x'), { recursive: true });
        writeFileSync(join(base, String(number), 'mark'), String(number));
      }
      const nested = Array.from(
        { length: 100 },
        (_, number) => `${join(base, String(number))}:/mnt${'/x'.repeat(number + 1)}:ro`,
      );
      expect(await bench.answer(['read', `/mnt${'/x'.repeat(100)}/mark`], { mounts: nested })).toBe('99');
      expect(await bench.answer(['read', '/mnt/x/mark'], { mounts: nested })).toBe('0');
      const stacked = Array.from({ length: 100 }, (_, number) => `${join(base, String(number))}:/mnt/one:ro`);
      const top = bench.run(['read', '/mnt/one/mark'], { mounts: stacked });
      await expect(top.then(({ stdout }) => stdout as string)).rejects.toBeInstanceOf(SpecError);
    },
    'more than can be served are refused, before any is made': async (bench) => {
      const source = bench.makeDirectory('too-many');
      const table = tableOfHost();
      const mounts = Array.from({ length: TOO_MANY }, (_, number) => `${source}:/mnt/${number}:ro`);
      const error = await run(['true'], { mounts }, bench.options({})).catch((reason: unknown) => reason);
      expect(error instanceof SpecError || error instanceof LaunchError, String(error).slice(0, 500)).toBe(true);
      expect((error as Error).message.length).toBeLessThan(2000);
      expect(tableOfHost()).toBe(table);
    },
  },
};
