// As whoever runs the tests.
import { explainCases } from './explain-cases.ts';

explainCases();
