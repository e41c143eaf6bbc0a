// Every block of JavaScript and shell in the documents is run, and the block of text that follows it is what it must print: `…` stands for anything.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Need, requires } from '../helpers/requires.ts';

const project = fileURLToPath(new URL('../..', import.meta.url));

interface Block {
  readonly language: string;
  readonly line: number;
  readonly code: string;
  readonly output: string | undefined;
  readonly reasonNotToRun: string | undefined;
  readonly needs: readonly Need[];
}

let work: string;

beforeAll(() => {
  execFileSync(process.execPath, [join(project, 'scripts', 'build.mjs')], { stdio: ['ignore', 'ignore', 'pipe'] });
  work = mkdtempSync(join(tmpdir(), 'documents-'));
  // As installed: `import 'sandboxlib'` and `run-sandbox` on PATH.
  mkdirSync(join(work, 'node_modules'));
  symlinkSync(project, join(work, 'node_modules', 'sandboxlib'));
  mkdirSync(join(work, 'bin'));
  mkdirSync(join(work, 'tmp'));
  symlinkSync(join(project, 'dist', 'cli', 'main.cjs'), join(work, 'bin', 'run-sandbox'));
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

for (const file of documents()) {
  const blocks = blocksOf(readFileSync(file, 'utf8')).filter(({ language }) => language === 'js' || language === 'sh');
  if (blocks.length === 0) continue;
  describe(relative(project, file), () => {
    for (const block of blocks) {
      if (block.reasonNotToRun !== undefined) continue;
      test(`the ${block.language} block of line ${block.line} does what it says`, () => {
        requires('linux', 'userns', ...block.needs);
        const { status, stdout, stderr } = runBlock(block);
        expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
        if (block.output !== undefined) expect(stdout.trimEnd()).toMatch(patternOf(block.output));
      });
    }
  });
}

function documents(): string[] {
  const inDocs = readdirSync(join(project, 'docs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
    .map((entry) => join(entry.parentPath, entry.name));
  return [join(project, 'README.md'), ...inDocs.sort()];
}

/**
 * A fence, its language, and the `text` block after it. On the line before, `<!-- not run: why -->` keeps one from being run, and `<!-- needs: ... -->`
 * names what else than sandboxes it needs, see requires.ts.
 */
function blocksOf(markdown: string): Block[] {
  const fence =
    /(?:<!-- not run: (.+) -->\n|<!-- needs: (.+) -->\n)?```(\w+)\n([\s\S]*?)```\n(?:\n```text\n([\s\S]*?)```\n)?/g;
  return [...markdown.matchAll(fence)].map((match) => ({
    reasonNotToRun: match[1],
    needs: (match[2]?.split(' ') ?? []) as Need[],
    language: match[3] ?? '',
    code: match[4] ?? '',
    output: match[5],
    line: markdown.slice(0, match.index).split('\n').length,
  }));
}

function runBlock({ language, code }: Block): { status: number | null; stdout: string; stderr: string } {
  const path = `${join(work, 'bin')}:${process.env['PATH']}`;
  // What a block leaves in the temporary directory goes with the rest of `work`: a document need not clean up.
  const env = { ...process.env, PATH: path, TMPDIR: join(work, 'tmp'), NO_COLOR: '1', NODE_OPTIONS: '' };
  const options = { cwd: work, env, encoding: 'utf8' } as const;
  if (language === 'sh') return spawnSync('sh', ['-e', '-c', code], options);
  const file = join(work, 'block.mjs');
  writeFileSync(file, code);
  return spawnSync(process.execPath, [file], options);
}

function patternOf(output: string): RegExp {
  const literal = output.trimEnd().replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${literal.replaceAll('…', '[\\s\\S]*')}$`);
}
