// Without ranges of ids: the user that the tests become has none.

import { beforeEach } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { requires } from '../helpers/requires.ts';
import { describeUnpacking } from './unpack-cases.ts';

requires('linux', 'userns');
beforeEach((context) => {
  const because = whyUnreachable();
  if (because !== undefined) context.skip(because);
});
describeUnpacking({ isRoot: false });
