// As root, whom chroot(2) is for.
import { requires } from '../helpers/requires.ts';
import { describeBackend } from './describe-backend.ts';

requires('root');

describeBackend('chroot');
