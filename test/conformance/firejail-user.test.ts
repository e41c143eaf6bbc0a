// As an ordinary user with an account, whoever runs the tests. The first import makes this process one.

import { beforeEach } from 'vitest';
import { whyNoAccount } from '../helpers/become-account.ts';
import { whyUnreachable } from '../helpers/become-user.ts';
import { describeBackend } from './describe-backend.ts';

const why = whyNoAccount() ?? whyUnreachable();
beforeEach((context) => {
  if (why !== undefined) context.skip(why);
});

describeBackend('firejail');
