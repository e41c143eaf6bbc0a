// As an ordinary user, whoever runs the tests. The first import makes this process one.

import { beforeEach, describe } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { boundedChangesCases } from './changes-bounded-cases.ts';
import { changesCases } from './changes-cases.ts';

const unreachable = whyUnreachable();
beforeEach((context) => {
  if (unreachable !== undefined) context.skip(unreachable);
});

describe('with limits.diskBytes', () => changesCases({ diskBytes: '64MiB' }));
describe('captured changes that have a bound', boundedChangesCases);
