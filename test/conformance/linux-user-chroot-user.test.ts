// For an ordinary user there is only the real program, which is set-user-ID and cannot be had: the cells of the tables say so.

import { beforeEach } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { whyClosed } from '../helpers/closed-backends.ts';
import { describeBackend } from './describe-backend.ts';

const why = whyUnreachable() ?? whyClosed('linux-user-chroot');
beforeEach((context) => {
  if (why !== undefined) context.skip(why);
});

describeBackend('linux-user-chroot');
