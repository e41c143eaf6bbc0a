// What a test tries, for the tables in docs/: told to the reporter with the test, so that what was not run cannot be in a table.
import type { BackendName } from '../../src/backends/backend.ts';
import type { Feature } from '../../src/features/feature.ts';

export type Caller = 'root' | 'user';

export interface Trial {
  readonly table: 'attacks' | 'features';
  readonly backend: BackendName;
  readonly caller: Caller;
  /** The lines of the table that the test counts in: a technique, or features. */
  readonly rows: readonly string[];
  /** `refusal`: the backend does not promise it, and the test sees to it that asking is refused. */
  readonly kind: 'trial' | 'refusal';
  /** The case asks for these as well, and the backend does not promise them: what is tried is that it refuses. */
  readonly lacks?: readonly Feature[];
  /** How much of its repetitions a case had; absent: all. */
  readonly strength?: number;
  /** Why that is enough. */
  readonly lighterBecause?: string;
}

declare module 'vitest' {
  interface TaskMeta {
    trial?: Trial;
  }
}

/** Options of a test. The caller is whoever this process is by now, see become-user.ts. */
export function asTrial(trial: Omit<Trial, 'caller'>): { readonly meta: { readonly trial: Trial } } {
  return { meta: { trial: { ...trial, caller: process.getuid?.() === 0 ? 'root' : 'user' } } };
}
