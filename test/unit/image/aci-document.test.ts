// docs/aci.md comes from the table of items. After a change of it: npx vitest run --project unit test/unit/image/aci-document.test.ts -u
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { AC_VERSION } from '../../../src/image/aci/names.ts';
import { aciItems } from '../../helpers/aci-checklist.ts';

const project = new URL('../../../', import.meta.url);

function page(): string {
  const rows = aciItems.map(({ item, what, state, how }) => `| ${item} | ${what} | ${state} | ${how} |`);
  return [
    '<!-- Made from test/helpers/aci-checklist.ts by test/unit/image/aci-document.test.ts; do not edit. -->',
    '# App Container images, item by item',
    '',
    `What becomes of each requirement of the App Container specification ${AC_VERSION}. *Done* and *in part* have a test. *Refused*: an image that counts on it is not run,`,
    'and the error says so. *Not served*: it is left out, and where an image asks for it the account of the run says so.',
    '',
    'Where the reference code and the text of the specification differ, the text is followed in what it forbids, and both in what they allow.',
    '',
    '| item | what | state | how, or why not |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

test('docs/aci.md is what the table of items says', async () => {
  await expect(page()).toMatchFileSnapshot(new URL('docs/aci.md', project).pathname);
});

describe('what is done', () => {
  test('is shown by a test that exists', () => {
    const shown = aciItems.filter(({ state }) => state === 'done' || state === 'refused');
    expect(shown.filter((item) => item.test === undefined)).toEqual([]);
    expect(shown.length).toBeGreaterThan(40);
    for (const { item, test: [file, title] = ['', ''] } of aciItems.filter((entry) => entry.test !== undefined)) {
      const text = readFileSync(new URL(`test/${file}`, project), 'utf8');
      expect(text.includes(title), `${item}: '${title}' in ${file}`).toBe(true);
    }
  });

  test('no item stands twice', () => {
    const items = aciItems.map(({ item }) => item);
    expect(items).toEqual([...new Set(items)]);
  });
});
