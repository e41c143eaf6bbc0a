import { describe, expect, test } from 'vitest';
import { exitStatus, exitStatusOfError } from '../../src/cli/exit.ts';
import { type ExecReason, InternalError, LaunchError, SpecError } from '../../src/errors/errors.ts';

describe('the exit status', () => {
  test.each([
    [{ kind: 'exited', code: 0 }, 0],
    [{ kind: 'exited', code: 255 }, 255],
    [{ kind: 'signalled', signal: 'SIGKILL' }, 137],
    [{ kind: 'signalled', signal: 'SIGSEGV' }, 139],
    [{ kind: 'limit', limit: 'wallMs' }, 124],
    [{ kind: 'cancelled', reason: 'SIGTERM' }, 143],
    [{ kind: 'cancelled', reason: 'SIGINT' }, 130],
    [{ kind: 'cancelled', reason: new Error('x') }, 125],
  ] as const)('of %j is %i', (outcome, status) => {
    expect(exitStatus(outcome)).toBe(status);
  });

  test.each<[ExecReason, number]>([
    ['not-found', 127],
    ['missing-interpreter', 127],
    ['not-executable', 126],
    ['directory', 126],
    ['wrong-architecture', 126],
    ['not-a-program', 126],
    ['text-busy', 126],
    ['other', 126],
  ])('when a command cannot be executed, reason %s, is %i as in the shell', (reason, status) => {
    expect(exitStatusOfError(new LaunchError('x', { step: 'exec', reason }))).toBe(status);
  });

  test.each([
    new LaunchError('x', { step: 'mount' }),
    // A broken reason of another step says nothing about the command.
    new LaunchError('x', { step: 'cwd', reason: 'not-found' }),
    new SpecError([]),
    new InternalError('x'),
    new Error('x'),
    'x',
  ])('when the sandbox failed is 125: %s', (error) => {
    expect(exitStatusOfError(error)).toBe(125);
  });
});
