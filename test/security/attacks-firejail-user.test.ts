// The attacks on firejail as an ordinary user with an account, whoever runs the tests. The first import makes this process one.

import { beforeEach } from 'vitest';
import { whyNoAccount } from '../helpers/become-account.ts';
import { whyUnreachable } from '../helpers/become-user.ts';
import { techniques } from './all-techniques.ts';
import { describeAttacks } from './technique.ts';

const why = whyNoAccount() ?? whyUnreachable();
beforeEach((context) => {
  if (why !== undefined) context.skip(why);
});

describeAttacks(techniques, ({ name }) => name === 'firejail');
