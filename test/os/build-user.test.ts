// Of files that are the caller's own.

import { beforeEach } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { requires } from '../helpers/requires.ts';
import { describeBuilding } from './build-cases.ts';

requires('linux', 'userns');
beforeEach((context) => {
  const because = whyUnreachable();
  if (because !== undefined) context.skip(because);
});
describeBuilding({ isRoot: false });
