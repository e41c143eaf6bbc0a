// Runs a program as an ordinary user, whoever runs the tests.

import type { ChildProcess, StdioOptions } from 'node:child_process';
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';

/** An id that no account of the machine has; for a caller who is not root already, its own. */
export const ordinaryUser: { readonly uid?: number; readonly gid?: number } =
  process.getuid?.() === 0 ? { uid: 12345, gid: 12345 } : {};

export interface AsUserOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly stdio?: StdioOptions;
}

export function runAsUser(
  file: string,
  args: readonly string[],
  options: AsUserOptions = {},
): SpawnSyncReturns<string> {
  return spawnSync(file, args, { cwd: '/', encoding: 'utf8', ...options, ...ordinaryUser });
}

export function spawnAsUser(file: string, args: readonly string[], options: AsUserOptions = {}): ChildProcess {
  return spawn(file, args, { cwd: '/', ...options, ...ordinaryUser });
}
