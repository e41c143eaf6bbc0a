// chroot(2) is root's alone: what an ordinary user is told is in test/os/chroot-user.test.ts.
import { requires } from '../helpers/requires.ts';
import { describeBackend } from './describe-backend.ts';

requires('root');

describeBackend('chroot');
