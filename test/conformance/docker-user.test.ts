// As an ordinary user who reaches an engine, whoever runs the tests. The first import makes this process one.

import { beforeEach } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { whyClosed } from '../helpers/closed-backends.ts';
import { describeBackend } from './describe-backend.ts';

const why = whyUnreachable() ?? whyClosed('docker');
beforeEach((context) => {
  if (why !== undefined) context.skip(why);
});

describeBackend('docker');
