// What the readers of images ask of a root: its accounts, and who owns a file of it. Every path is looked up inside of the root, whatever links it has.
import { lstatSync } from 'node:fs';
import { ACCOUNT_FILE_BYTES_MAX } from '../spec/checks.ts';
import type { SpecHost } from '../spec/host.ts';
import { idInside } from '../spec/id-mappings.ts';
import { resolveInRoot } from '../spec/in-root.ts';
import { LayeredHost } from '../spec/layered-root.ts';
import type { RootAccounts } from './aci/accounts.ts';
import type { Owners } from './owners.ts';

/** `root`: an absolute directory of this host without symlinks, in which nobody else changes anything; or that of a layered one. */
export function rootAccounts(host: SpecHost, root: string, owners?: Pick<Owners, 'uid' | 'gid'>): RootAccounts {
  return {
    read: (path) => {
      const place = resolveInRoot(host, root, path);
      if (place.kind !== 'file') return undefined;
      const file = host.readFile(place.hostPath, ACCOUNT_FILE_BYTES_MAX);
      return 'text' in file ? file.text : undefined;
    },
    owner: (path) => {
      const place = resolveInRoot(host, root, path);
      if (place.kind === 'absent' || place.kind === 'unreachable') return undefined;
      const real = host instanceof LayeredHost ? host.realPath(place.hostPath) : place.hostPath;
      if (real === undefined) return undefined;
      const { uid, gid } = lstatSync(real);
      return owners === undefined
        ? { uid, gid }
        : { uid: idInside(owners.uid, uid) ?? 0, gid: idInside(owners.gid, gid) ?? 0 };
    },
  };
}
