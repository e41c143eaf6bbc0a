import { requires } from '../helpers/requires.ts';
import { describeSignatures } from './signature-cases.ts';

requires('linux', 'root', 'userns', 'command:gpg', 'command:gpgv');
describeSignatures();
