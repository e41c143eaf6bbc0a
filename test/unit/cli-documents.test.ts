// The documents of the command line come from the option table. After a change of it: npx vitest run test/unit/cli-documents.test.ts -u
import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { bashCompletion } from '../../src/cli/completion.ts';
import { helpText } from '../../src/cli/help.ts';
import { manualPage } from '../../src/cli/manual.ts';
import { servesMode, subcommands } from '../../src/cli/option.ts';
import { options } from '../../src/cli/options.ts';
import { referencePage } from '../../src/cli/reference.ts';
import { requires } from '../helpers/requires.ts';

const docs = fileURLToPath(new URL('../../docs/', import.meta.url));

test('docs/cli.md is what the option table says', async () => {
  await expect(referencePage()).toMatchFileSnapshot(`${docs}cli.md`);
});

test('docs/run-sandbox.1 is what the option table says', async () => {
  await expect(manualPage()).toMatchFileSnapshot(`${docs}run-sandbox.1`);
});

test.each(['run', ...subcommands] as const)(
  '--help of %s has each option that it takes, in at most 100 columns',
  (mode) => {
    const text = helpText(mode);
    const entries = new Set([...text.matchAll(/^ +(?:-\w, )?--([\w-]+)/gm)].map(([, name]) => name));
    for (const option of options) expect(entries.has(option.name)).toBe(servesMode(option, mode));
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
  },
);

test('the manual page has no fault that man(1) sees', () => {
  requires('command:groff');
  const groff = spawnSync('groff', ['-man', '-ww', '-z', '-Tutf8', `${docs}run-sandbox.1`], { encoding: 'utf8' });
  expect(groff).toMatchObject({ status: 0, stderr: '' });
});

describe('the completion', () => {
  /** What bash offers for the last of `words`. */
  function complete(...words: string[]): string[] {
    const script = `${bashCompletion()}\nCOMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n_run_sandbox\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
    const output = execFileSync('bash', ['--norc', '-c', script, 'bash', 'run-sandbox', ...words], {
      encoding: 'utf8',
      cwd: '/',
    });
    return output.split('\n').filter((line) => line !== '');
  }

  test('offers options by their beginning', () => {
    expect(complete('--wo')).toEqual(['--workspace']);
    expect(complete('--me')).toEqual(['--memory']);
  });

  test('offers our words only as the first argument', () => {
    expect(complete('doct')).toContain('doctor');
    expect(complete('-q', 'doct')).not.toContain('doctor');
  });

  test('offers values after an option and after its =', () => {
    expect(complete('--network', '')).toEqual(['none', 'host']);
    expect(complete('--network=h')).toEqual(['--network=host']);
    expect(complete('--cap-keep', 'CAP_CHO')).toEqual(['CAP_CHOWN']);
  });

  test('leaves the words of the command alone', () => {
    expect(complete('ls', '--wo')).toEqual([]);
    expect(complete('--', 'ls', '--wo')).toEqual([]);
  });
});
