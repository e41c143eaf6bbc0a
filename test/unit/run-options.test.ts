import { PassThrough, Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { backendNames } from '../../src/backends/backend.ts';
import type { SpecIssue } from '../../src/errors/errors.ts';
import { checkOptions, runOptionNames, sandboxOptionNames } from '../../src/run/options.ts';

function issuesOf(options: unknown, allowed = runOptionNames): SpecIssue[] {
  const issues: SpecIssue[] = [];
  checkOptions(options, allowed, issues);
  return issues;
}

const backendList = backendNames.map((name) => `'${name}'`).join(', ');

describe('options that are wrong', () => {
  test.each<[unknown, readonly (string | number)[], string]>([
    [5, ['options'], 'must be an object, not a number'],
    [null, ['options'], 'must be an object, not null'],
    [[], ['options'], 'must be an object, not an array'],
    [new Map(), ['options'], 'must be an object, not a Map'],
    [{ stdot: 'pipe' }, ['options', 'stdot'], "is no option; did you mean 'stdout'?"],
    [{ timeout: 5 }, ['options', 'timeout'], 'is no option'],
    [
      { stdin: 'pip' },
      ['options', 'stdin'],
      "must be 'pipe', 'ignore', 'inherit', a descriptor, a file: URL or a Readable",
    ],
    [
      { stdin: -1 },
      ['options', 'stdin'],
      "must be 'pipe', 'ignore', 'inherit', a descriptor, a file: URL or a Readable",
    ],
    [
      { stdin: new URL('http://localhost/') },
      ['options', 'stdin'],
      "must be 'pipe', 'ignore', 'inherit', a descriptor, a file: URL or a Readable",
    ],
    [{ stdout: [] }, ['options', 'stdout'], 'must name at least one target'],
    [
      { stdout: ['pipe', 'file.txt'] },
      ['options', 'stdout', 1],
      "must be 'pipe', 'ignore', 'inherit', a descriptor, a file: URL or a Writable",
    ],
    [
      { stdout: 'stdout' },
      ['options', 'stdout'],
      "must be 'pipe', 'ignore', 'inherit', a descriptor, a file: URL or a Writable",
    ],
    [
      { input: 7 },
      ['options', 'input'],
      'must be a string, a Uint8Array, a Readable, a web ReadableStream or an async iterable',
    ],
    [{ input: 'x', stdin: 'ignore' }, ['options', 'input'], 'excludes stdin: give one of the two'],
    [
      { descriptors: { 2: 'pipe' } },
      ['options', 'descriptors', '2'],
      'must be named by a descriptor number from 3 to 1023',
    ],
    [
      { descriptors: { '03': 'pipe' } },
      ['options', 'descriptors', '03'],
      'must be named by a descriptor number from 3 to 1023',
    ],
    [
      { descriptors: { 3: 'ignore' } },
      ['options', 'descriptors', '3'],
      "must be 'pipe' or a descriptor of this process",
    ],
    [{ descriptors: [] }, ['options', 'descriptors'], 'must be an object of descriptor numbers'],
    [{ encoding: 'latin1' }, ['options', 'encoding'], "must be one of 'utf8', 'buffer', not 'latin1'"],
    [{ stripFinalNewline: 1 }, ['options', 'stripFinalNewline'], 'must be true or false, not a number'],
    [{ signal: {} }, ['options', 'signal'], 'must be an AbortSignal'],
    [
      { killSignal: 'SIGTRM' },
      ['options', 'killSignal'],
      "must be the name of a signal, such as 'SIGTERM'; did you mean 'SIGTERM'?",
    ],
    [{ gracePeriodMs: '2' }, ['options', 'gracePeriodMs'], "add a unit to '2': ms, s, min, h"],
    [{ gracePeriodMs: -1 }, ['options', 'gracePeriodMs'], 'must be a whole number of milliseconds, 0 or more, not -1'],
    [
      { gracePeriodMs: true },
      ['options', 'gracePeriodMs'],
      "must be a number of milliseconds, or a string with a unit such as '2s'",
    ],
    [{ gracePeriodMs: '600h' }, ['options', 'gracePeriodMs'], 'must be at most 2147483647 ms'],
    [{ backend: 'lxc' }, ['options', 'backend'], `must be one of ${backendList}, not 'lxc'`],
    [{ optional: 'some' }, ['options', 'optional'], "must be a list of features, or 'all'"],
    [
      { optional: ['cwd', 'limits.cpuMS'] },
      ['options', 'optional', 1],
      "is no feature: 'limits.cpuMS'; did you mean 'limits.cpuMs'?",
    ],
    [{ onSyscall: ['mkdir'] }, ['options', 'onSyscall'], 'must be a function, not an array'],
    [{ onEvent: 'x' }, ['options', 'onEvent'], 'must be a function, not a string'],
  ])('%j: %j %s', (options, path, message) => {
    expect(issuesOf(options)).toEqual([{ path, message }]);
  });

  test('are all reported at once', () => {
    expect(issuesOf({ stdot: 1, encoding: 2, descriptors: { 1: 'pipe', x: 3 } })).toHaveLength(4);
  });

  test('of another call are named as such', () => {
    expect(issuesOf({ stdout: 'pipe', backend: 'none' }, sandboxOptionNames)).toEqual([
      { path: ['options', 'stdout'], message: 'is an option of run() and spawn(), and means nothing here' },
    ]);
    expect(issuesOf({ backend: 'none' }, ['stdin'])).toEqual([
      { path: ['options', 'backend'], message: 'belongs to createSandbox(), not to one run of the sandbox' },
    ]);
  });
});

test('every option may be left undefined', () => {
  const undefinedOptions = Object.fromEntries(runOptionNames.map((name) => [name, undefined]));
  const issues: SpecIssue[] = [];
  expect(checkOptions(undefinedOptions, runOptionNames, issues)).toEqual(
    checkOptions(undefined, runOptionNames, issues),
  );
  expect(issues).toEqual([]);
});

test('right options come through with their units resolved', () => {
  const issues: SpecIssue[] = [];
  const { signal } = new AbortController();
  const onEvent = (): void => {};
  const file = pathToFileURL('/tmp/x');
  const [source, sink] = [Readable.from([]), new PassThrough()];
  const call = checkOptions(
    {
      stdin: source,
      stdout: ['pipe', sink, file, 5],
      stderr: 'stdout',
      descriptors: { 3: 'pipe', 7: 0 },
      encoding: 'buffer',
      stripFinalNewline: true,
      signal,
      killSignal: 'SIGINT',
      gracePeriodMs: '1.5s',
      backend: 'none',
      optional: ['seccomp.default'],
      onEvent,
    },
    runOptionNames,
    issues,
  );
  expect(issues).toEqual([]);
  expect(call).toMatchObject({ stdin: source, stdout: ['pipe', sink, file, 5], stderr: 'stdout', gracePeriodMs: 1500 });
  expect([...call.descriptors]).toEqual([
    [3, 'pipe'],
    [7, 0],
  ]);
  expect(call.plainStdio).toBe(false);
});

test('a number is a descriptor even when it is 0', () => {
  expect(checkOptions({ stdin: 0 }, runOptionNames, []).plainStdio).toBe(false);
});
