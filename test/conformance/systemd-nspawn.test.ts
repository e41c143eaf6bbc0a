// As root, whom systemd-nspawn is for.
import { requires } from '../helpers/requires.ts';
import { describeBackend } from './describe-backend.ts';

requires('root');

describeBackend('systemd-nspawn');
