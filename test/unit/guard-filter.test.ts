import { expect, test } from 'vitest';
import { renderGuardFilterData } from '../helpers/guard-filter-data.ts';

test('the committed guard is what its profile compiles to', async () => {
  await expect(renderGuardFilterData()).toMatchFileSnapshot('../../src/backends/launcher/guard-filter-data.ts');
});
