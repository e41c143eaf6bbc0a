// As whoever runs the tests: root, where that can be.
import { architectureCases } from './architecture-cases.ts';

architectureCases();
