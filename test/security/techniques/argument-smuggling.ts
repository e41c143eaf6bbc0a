import { expect } from 'vitest';
import { SpecError } from '../../../src/errors/errors.ts';
import { run } from '../../../src/index.ts';
import type { Technique } from '../technique.ts';

/** MAX_ARG_STRLEN with its final NUL, execve(2). */
const LONGEST = 131_071;

export const technique: Technique = {
  name: 'argument-smuggling',
  attacks: ['root.host', 'mount.bind'],
  cases: {
    'arguments that look like options, or like nothing, are arguments': async (bench) => {
      const odd = [
        ...[
          '',
          '-',
          '--',
          '--bind',
          '/etc',
          '/out',
          '--plan-fd',
          '3',
          '--channel-fd=3',
          '-rf',
          '--backend=none',
          '--help',
        ],
        ...[' ', '\n', '\t', '"', "'", '\\', '$(id)', '`id`', '; id', '*', '漢\u{1f600}', '\u0001\u001b[2J', '-\n-'],
      ];
      const script = 'for argument; do printf "%s\\0" "$argument"; done';
      const { stdout } = await run(['sh', '-c', script, 'sh', ...odd], {}, bench.options({ encoding: 'buffer' }));
      expect(Buffer.from(stdout as Uint8Array).toString()).toBe(odd.map((argument) => `${argument}\0`).join(''));
    },
    'a program whose name looks like an option is a program': async (bench) => {
      for (const name of ['--bind', '-c', '--plan-fd', 'a b', 'a\nb', '漢']) {
        const directory = bench.makeDirectory(`programs-${Buffer.from(name).toString('hex')}`);
        bench.makeFile(`programs-${Buffer.from(name).toString('hex')}/${name}`, '#!/bin/sh\necho "$# $1"\n', 0o755);
        const spec = { mounts: [`${directory}:/programs:ro`], env: { PATH: '/programs:/usr/bin:/bin' } };
        const { stdout } = await run([name, '--', 'x'], spec, bench.options({}));
        expect(stdout, name).toBe('2 --\n');
      }
    },
    'NUL is refused, wherever it stands': async (bench) => {
      for (const command of [['true\0'], ['true', 'a\0b'], ['\0']])
        await expect(run(command, {}, bench.options({}))).rejects.toBeInstanceOf(SpecError);
      await expect(run(['true'], { env: { A: 'b\0c' } }, bench.options({}))).rejects.toBeInstanceOf(SpecError);
    },
    'the longest argument arrives whole, one byte more is refused': async (bench) => {
      const longest = 'a'.repeat(LONGEST);
      expect(await bench.answer(['echo', longest])).toBe(longest);
      await expect(bench.run(['echo', `${longest}a`])).rejects.toBeInstanceOf(SpecError);
      // Bytes count, not characters.
      await expect(bench.run(['echo', '漢'.repeat(LONGEST / 3 + 1)])).rejects.toBeInstanceOf(SpecError);
    },
    'a hundred thousand arguments arrive, or are too many by name': async (bench) => {
      const script = 'echo $#; shift 99999; echo "$1"';
      const many = Array.from({ length: 100_000 }, (_, index) => String(index));
      expect((await run(['sh', '-c', script, 'sh', ...many], {}, bench.options({}))).stdout).toBe('100000\n99999\n');
      const tooMany = Array.from({ length: 100 }, () => 'a'.repeat(LONGEST));
      await expect(bench.run(['echo', ...tooMany])).rejects.toMatchObject({
        code: 'SBX_LAUNCH_FAILED',
        step: 'exec',
        errno: 'E2BIG',
        reason: 'too-long',
      });
    },
  },
};
