// An ordinary user has nothing to try here: the cells of the tables say so. test/os/root-alone.test.ts has what such a user is told.

import { beforeEach } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { whyClosed } from '../helpers/closed-backends.ts';
import { describeBackend } from './describe-backend.ts';

const why = whyUnreachable() ?? whyClosed('systemd-nspawn');
beforeEach((context) => {
  if (why !== undefined) context.skip(why);
});

describeBackend('systemd-nspawn');
