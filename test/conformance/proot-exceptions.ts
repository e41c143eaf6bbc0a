import type { Exception } from './describe-backend.ts';

/** proot maps programs into memory by itself, where the kernel would have refused to execute them. */
export const ofItsLoader: readonly Exception[] = [
  {
    reason: 'proot loads programs itself',
    tests: ['a program for another machine is for another machine', 'a program that is open for writing is busy'],
  },
];
