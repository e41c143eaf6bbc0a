// The way in for who has an id, without loading what reads changes before there are any.
import type { CaptureSummary, Changes } from './types.ts';

/**
 * Captured changes by their id, also those of another process.
 *
 * @throws {SandboxError} `SBX_CHANGES_UNKNOWN`, `SBX_CHANGES_IN_USE` while the run goes on, `SBX_CHANGES_UNREADABLE`.
 */
export async function openChanges(id: string): Promise<Changes> {
  const { changesOf, readCapture } = await import('./keeper.ts');
  return changesOf(readCapture(id));
}

/** All captured changes of this user, the oldest first. */
export async function listChanges(): Promise<CaptureSummary[]> {
  const { summaryOf, readCaptures } = await import('./keeper.ts');
  return readCaptures().map(summaryOf);
}

/**
 * Throws captured changes away without a look at them, which may be too many to be listed.
 *
 * @throws {SandboxError} `SBX_CHANGES_UNKNOWN`, `SBX_CHANGES_IN_USE` while the run goes on, `SBX_CHANGES_UNREADABLE` where they cannot be removed.
 */
export async function discardChanges(id: string): Promise<void> {
  const { discardCapture, readCapture } = await import('./keeper.ts');
  await discardCapture(readCapture(id));
}
