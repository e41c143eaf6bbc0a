// Which ids captured files have, and who the command took them for.
import { idInside, idOutside } from '../spec/id-mappings.ts';
import type { IdMapping } from '../spec/types.ts';

export interface CapturedIds {
  readonly uid: readonly IdMapping[];
  readonly gid: readonly IdMapping[];
  /** Whether they are ranges of an ordinary user (subuid(5)), who is none of these ids outside of a user namespace with them. */
  readonly ranges: boolean;
}

/** What the command called the owner or group of a file that this process calls `id`. */
export type NameId = (kind: 'uid' | 'gid', id: number) => number;

/** `seen`: of the command. `own`: of this process, where it is in a user namespace for the sake of such files. Ids without a name stay as they are. */
export function namesOf(
  seen: Pick<CapturedIds, 'uid' | 'gid'> | undefined,
  own: Pick<CapturedIds, 'uid' | 'gid'> | undefined,
): NameId {
  return (kind, id) => {
    const host = own === undefined ? id : (idOutside(own[kind], id) ?? id);
    return seen === undefined ? host : (idInside(seen[kind], host) ?? host);
  };
}
