// A compiled plan has no library beside it that would put a failure into words: words.c has those of failure.ts a second time. test/cli/compile.test.ts
// compares whole lines, of what can be made to fail; this the rest.
import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const words = readFileSync(new URL('../../native/words.c', import.meta.url), 'utf8').replaceAll('\\"', '"');
const failure = readFileSync(new URL('../../src/backends/launcher/failure.ts', import.meta.url), 'utf8');

/** `name: 'text',` of a table: pairs. */
function table(name: string): [string, string][] {
  const body = new RegExp(`const ${name}: Record<string, string> = \\{\\n(.*?)\\n\\};`, 's').exec(failure)?.[1] ?? '';
  const entries = [...body.matchAll(/^ {2}'?([\w-]+)'?: '([^']*)',$/gm)].map(
    ([, key = '', text = '']): [string, string] => [key, text],
  );
  expect(entries).toHaveLength(body.split('\n').length);
  return entries;
}

/** What a function of words.c returns for each step. */
function cases(name: string): [string, string][] {
  const body = new RegExp(`static const char \\*${name}\\(.*?\\n\\}`, 's').exec(words)?.[0] ?? '';
  return [...body.matchAll(/case STEP_(\w+): return "(.*)";/g)].map(([, step = '', text = '']): [string, string] => [
    step.toLowerCase().replaceAll('_', '-'),
    text,
  ]);
}

/** Texts with a blank in them; of a template what stands between its values. */
function sentencesIn(code: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddle(node) || ts.isTemplateTail(node))
      found.push(node.text.replace(/^: /, '').replace(/ \($/, ''));
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('failure.ts', code, ts.ScriptTarget.Latest));
  return found.filter((text) => text.trim().includes(' '));
}

describe('words.c has', () => {
  test.each([
    ['verbs', 'verb_of'],
    ['objects', 'object_of'],
  ])('the same %s for the same steps', (of, name) => {
    const expected = Object.fromEntries(table(of));
    expect(Object.keys(expected).length).toBeGreaterThan(5);
    expect(Object.fromEntries(cases(name))).toEqual(expected);
  });

  test('every remedy, and every reason of an exec', () => {
    const found = sentencesIn(failure.slice(failure.indexOf('function remedyFor')));
    expect(found.length).toBeGreaterThan(20);
    expect(found.filter((text) => !words.includes(text))).toEqual([]);
  });
});
