// What an ordinary user is told of backends that are for root alone. The first import makes this process one.

import { beforeEach, expect, test } from 'vitest';
import { run } from '../../src/index.ts';
import { whyUnreachable } from '../helpers/become-user.ts';
import { rootAlone } from '../helpers/closed-backends.ts';

const unreachable = whyUnreachable();
beforeEach((context) => {
  if (unreachable !== undefined) context.skip(unreachable);
});

test.each(rootAlone)('%s says that it needs root, and what else there is', async (backend) => {
  const error = {
    code: 'SBX_BACKEND_UNAVAILABLE',
    message: expect.stringMatching(/needs root.*; run it as root, or use /),
  };
  // Found out beforehand, where something is optional, and else when it is to be planned.
  await expect(run(['true'], { root: '/usr' }, { backend, optional: 'all' })).rejects.toMatchObject(error);
});
