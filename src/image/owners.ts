// Which ids of this host stand for the owners of an image's files, for who calls this process: the same when they are unpacked and when they are run.
import { createHash } from 'node:crypto';
import type { CallerFacts } from '../backends/backend.ts';
import { refusesIsolation } from '../backends/own-sandbox.ts';
import { SpecError } from '../errors/errors.ts';
import type { SpecHost } from '../spec/host.ts';
import { normalize } from '../spec/normalize.ts';
import type { IdMapping, SandboxSpec } from '../spec/types.ts';

export interface Owners {
  /** `all`: every id is itself; `ranges`: of /etc/subuid and /etc/subgid; `one`: all files are the caller's. */
  readonly kind: 'all' | 'ranges' | 'one';
  readonly uid: readonly IdMapping[];
  readonly gid: readonly IdMapping[];
  /** For a person. */
  readonly words: string;
}

const asRoot: SandboxSpec = { user: { uid: 0, gid: 0 } };

/** As an ordinary user with ranges where there are any, else with the one id of the caller. */
export function ownersFor(host: SpecHost, facts: Pick<CallerFacts, 'newuidmap' | 'newgidmap'>): Owners {
  const owners = (kind: Owners['kind'], spec: SandboxSpec, words: string): Owners => {
    const { uid, gid } = normalize(spec, host).idMappings;
    return { kind, uid, gid, words };
  };
  // Root would have to give files away with its capabilities for all of this host, from which no namespace keeps them.
  const refused = refusesIsolation();
  if (host.mayMapIds && !refused) return owners('all', asRoot, 'all ids of this user namespace');
  let because = 'newuidmap and newgidmap are not installed';
  if (refused) because = 'user namespaces are refused here';
  else if (facts.newuidmap !== undefined && facts.newgidmap !== undefined) {
    const ranges: SandboxSpec = { ...asRoot, uidMappings: 'subordinate', gidMappings: 'subordinate' };
    try {
      return owners('ranges', ranges, 'ranges of /etc/subuid and /etc/subgid');
    } catch (error) {
      if (!(error instanceof SpecError)) throw error;
      because = error.issues[0]?.message ?? error.message;
    }
  }
  return owners('one', asRoot, `only the caller: ${because}`);
}

/** Short, and another one for other ids: what was unpacked for some is nothing for others. */
export function keyOfOwners({ kind, uid, gid }: Owners): string {
  const hash = createHash('sha256').update(JSON.stringify([uid, gid]));
  return `${kind}-${hash.digest('hex').slice(0, 12)}`;
}
