// As whoever runs the tests: root, where that can be.
import { compileCases } from './compile-cases.ts';

compileCases();
