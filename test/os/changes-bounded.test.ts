// As whoever runs the tests: root, where that can be.
import { describe } from 'vitest';
import { boundedChangesCases } from './changes-bounded-cases.ts';
import { changesCases } from './changes-cases.ts';

describe('with limits.diskBytes', () => changesCases({ diskBytes: '64MiB' }));
describe('captured changes that have a bound', boundedChangesCases);
