// As whoever runs the tests.
import { prootCases } from './proot-cases.ts';

prootCases();
