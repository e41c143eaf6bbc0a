import { requires } from '../helpers/requires.ts';
import { describeUnpacking } from './unpack-cases.ts';

requires('linux', 'root', 'userns');
describeUnpacking({ isRoot: true });
