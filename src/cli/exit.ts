// Exit statuses, as env(1), timeout(1) and the shells have them.
import { constants } from 'node:os';
import { isSandboxError, type LaunchError } from '../errors/errors.ts';
import type { Outcome } from '../run/types.ts';

/** A limit ended the command. */
const LIMIT = 124;
/** The sandbox failed, or was asked for wrongly. The command did not run. */
export const FAILURE = 125;
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

export function exitStatus(outcome: Outcome): number {
  switch (outcome.kind) {
    case 'exited':
      return outcome.code;
    case 'signalled':
      return statusOfSignal(outcome.signal);
    case 'limit':
      return LIMIT;
    case 'denied':
      return statusOfSignal('SIGSYS');
    case 'cancelled':
      return statusOfSignal(outcome.reason);
  }
}

/** Shells say 127 both for a command and for an interpreter that is not there. */
export function exitStatusOfError(error: unknown): number {
  if (!isSandboxError(error) || error.code !== 'SBX_LAUNCH_FAILED') return FAILURE;
  const { step, reason } = error as LaunchError;
  if (step !== 'exec') return FAILURE;
  return reason === 'not-found' || reason === 'missing-interpreter' ? NOT_FOUND : NOT_EXECUTABLE;
}

export function statusOfSignal(signal: unknown): number {
  const number = typeof signal === 'string' ? constants.signals[signal as NodeJS.Signals] : undefined;
  return number === undefined ? FAILURE : 128 + number;
}
