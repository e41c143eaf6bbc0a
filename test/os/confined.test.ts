// As root: an ordinary user has confined-user.test.ts.
import { rootCases } from './confined-cases.ts';

rootCases();
