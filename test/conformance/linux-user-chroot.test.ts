// As root, by a stand-in for the program (test/helpers/linux-user-chroot.c): the real one is still to be tried.
import { requires } from '../helpers/requires.ts';
import { describeBackend } from './describe-backend.ts';

requires('root', 'command:cc');

describeBackend('linux-user-chroot');
