// As an ordinary user, whoever runs the tests. The first import makes this process one.

import { beforeEach } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { podCases } from './pods-cases.ts';

const unreachable = whyUnreachable();
beforeEach((context) => {
  if (unreachable !== undefined) context.skip(unreachable);
});

podCases();
