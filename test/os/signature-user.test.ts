import { beforeEach } from 'vitest';
import { whyUnreachable } from '../helpers/become-user.ts';
import { requires } from '../helpers/requires.ts';
import { describeSignatures } from './signature-cases.ts';

requires('linux', 'userns', 'command:gpg', 'command:gpgv');
beforeEach((context) => {
  const because = whyUnreachable();
  if (because !== undefined) context.skip(because);
});
describeSignatures();
