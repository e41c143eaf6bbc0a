// As whoever runs the tests: root, where that can be.
import { techniques } from './all-techniques.ts';
import { describeAttacks } from './technique.ts';

describeAttacks(techniques);
