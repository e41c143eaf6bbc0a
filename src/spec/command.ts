// The command: an argv, never a line for a shell. Apart from the schema, because every run needs this and few need the schema.
import { SpecError, type SpecIssue } from '../errors/errors.ts';
import { ARGUMENT_BYTES_MAX, checkText } from './checks.ts';
import { describeValue } from './words.ts';

/** @throws {SpecError} with every issue. */
export function validateCommand(value: unknown): readonly [string, ...string[]] {
  const issues: SpecIssue[] = [];
  const command = checkCommand(value, issues);
  if (issues.length > 0) throw new SpecError(issues);
  return command;
}

/** A copy of `value`, and every issue in it added to `issues`. What is returned means something only when none was added. */
export function checkCommand(value: unknown, issues: SpecIssue[]): readonly [string, ...string[]] {
  if (Array.isArray(value) && value.length === 0) {
    issues.push({ path: ['command'], message: 'must name a program: the array is empty' });
    return [''];
  }
  const [first = '', ...rest] = checkWords(value, issues);
  return [first, ...rest];
}

/** As `checkCommand`, where there may be nothing: an image says by itself what it runs. */
export function checkWords(value: unknown, issues: SpecIssue[]): readonly string[] {
  if (typeof value === 'string') {
    issues.push({
      path: ['command'],
      message: "pass an argv array, such as ['sh', '-c', ...]: a string is never given to a shell",
    });
  } else if (!Array.isArray(value)) {
    issues.push({
      path: ['command'],
      message: `must be an argv array, such as ['make', 'check'], not ${describeValue(value)}`,
    });
  } else {
    // Not forEach: it would pass over the holes of a sparse array.
    for (let i = 0; i < value.length; i++) {
      const message = problemOf(value[i], i);
      if (message !== undefined) issues.push({ path: ['command', i], message });
    }
    return [...value] as string[];
  }
  return [''];
}

function problemOf(argument: unknown, index: number): string | undefined {
  if (typeof argument !== 'string') return `must be a string, not ${describeValue(argument)}`;
  if (index === 0 && argument === '') return 'must name a program: it is empty';
  const problem = checkText(argument);
  if (problem !== undefined) return problem;
  if (argument.length * 3 < ARGUMENT_BYTES_MAX) return undefined;
  const bytes = Buffer.byteLength(argument);
  if (bytes <= ARGUMENT_BYTES_MAX) return undefined;
  return `must not be longer than ${ARGUMENT_BYTES_MAX} bytes (execve(2)), and is ${bytes}; pass it through stdin or a file`;
}
