// As whoever runs the tests: root, where that can be.
import { changesCases } from './changes-cases.ts';

changesCases();
