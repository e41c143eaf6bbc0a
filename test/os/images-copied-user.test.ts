// As an ordinary user, whoever runs the tests. The first import makes this process one.

import { beforeEach, describe } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { copiedCases } from './images-copied-cases.ts';

const unreachable = whyUnreachable();
beforeEach((context) => {
  if (unreachable !== undefined) context.skip(unreachable);
});

describe('by proot, a copy', () => copiedCases('proot'));
