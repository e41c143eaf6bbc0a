// As whoever runs the tests: root, where that can be.
import { describeBackend } from './describe-backend.ts';
import { ofItsLoader } from './proot-exceptions.ts';

describeBackend('proot', { skip: ofItsLoader });
