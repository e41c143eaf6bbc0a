// As whoever runs the tests: root, where that can be.
import { beforeEach } from 'vitest';
import { whyClosed } from '../helpers/closed-backends.ts';
import { describeBackend } from './describe-backend.ts';

const why = whyClosed('docker');
beforeEach((context) => {
  if (why !== undefined) context.skip(why);
});

describeBackend('docker');
