// What hints need to know of this host.
import { realpathSync, type Stats, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { resolve } from 'node:path';
import { callerFacts } from '../host/facts.ts';
import { isInHostView } from '../spec/host-view.ts';
import { isWithin } from '../spec/paths.ts';
import type { HintHost, HostFile } from './hints.ts';

export function nodeHintHost(): HintHost {
  const etc = callerFacts().etcEntries.map(({ name }) => `/etc/${name}`);
  return {
    cwd: process.cwd(),
    home: homedir(),
    uid: process.getuid?.() ?? 0,
    searchPath: (process.env['PATH'] ?? '').split(':').filter((directory) => directory.startsWith('/')),
    resolve,
    find,
    realpath,
    inHostView: (path) => isInHostView(path) || path === '/etc' || etc.some((entry) => isWithin(path, entry)),
  };
}

/** A path that cannot be looked at is as good as none: a hint would not help. */
function find(path: string): HostFile | undefined {
  let stats: Stats | undefined;
  try {
    stats = statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
  if (stats === undefined) return undefined;
  return { kind: kindOf(stats), executable: (stats.mode & 0o111) !== 0, uid: stats.uid, gid: stats.gid };
}

function kindOf(stats: Stats): HostFile['kind'] {
  if (stats.isDirectory()) return 'directory';
  if (stats.isFile()) return 'file';
  return stats.isCharacterDevice() || stats.isBlockDevice() ? 'device' : 'other';
}

function realpath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
