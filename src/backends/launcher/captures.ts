// Directories for what a command changes in an overlay, where that is captured. Each run has its own, so that a plan only numbers them.
import { InternalError } from '../../errors/errors.ts';
import type { Step } from './steps.ts';

const PREFIX = '/captures of the run/';

/** For the plan: the directory of the view with this number (spec/captures.ts). */
export function capturePlace(index: number): string {
  return `${PREFIX}${index}`;
}

/** `step` with the directories of one run. */
export function withCaptures(step: Step, directories: readonly string[]): Step {
  const found = (path: string): string => {
    if (!path.startsWith(PREFIX)) return path;
    const directory = directories[Number(path.slice(PREFIX.length))];
    if (directory === undefined)
      throw new InternalError('a plan that captures changes, and a run without a place for them');
    return directory;
  };
  switch (step.step) {
    case 'root':
    case 'mount':
      return step.options.startsWith(PREFIX) ? { ...step, options: found(step.options) } : step;
    case 'tree':
    case 'source':
      return step.path.startsWith(PREFIX) ? { ...step, path: found(step.path) } : step;
    default:
      return step;
  }
}
