// Without ranges of ids: the user that the tests become has none.

import { beforeEach } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { describeImages } from './images-cases.ts';

beforeEach((context) => {
  const because = whyUnreachable();
  if (because !== undefined) context.skip(because);
});
describeImages({ isRoot: false });
