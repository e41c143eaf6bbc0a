import { TestRunner } from 'vitest';
import type { BackendName } from '../../src/backends/backend.ts';
import { whyRootAlone } from '../helpers/closed-backends.ts';

/** Ends the running case, which does not apply here, with the reason. */
export function skip(reason: string): never {
  TestRunner.getCurrentTest()?.context.skip(reason);
  throw new Error('no test is running');
}

/** Ends a case in which root plays an ordinary user, on a backend that serves none. */
export function skipWhereRootAlone(backend: BackendName): void {
  const why = whyRootAlone(backend);
  if (why !== undefined) skip(why);
}
