// As whoever runs the tests.
import { hostCases } from './host-cases.ts';

hostCases();
