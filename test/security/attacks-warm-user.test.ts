// In sandboxes that were made ready before it was known what for, as an ordinary user, whoever runs the tests. The first import makes this process one.

import { beforeEach } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { techniques } from './all-techniques.ts';
import { describeAttacks } from './technique.ts';

const unreachable = whyUnreachable();
beforeEach((context) => {
  if (unreachable !== undefined) context.skip(unreachable);
});

describeAttacks(techniques, ({ name }) => name === 'native', { warm: true });
