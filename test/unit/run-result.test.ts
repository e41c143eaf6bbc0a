import { describe, expect, test } from 'vitest';
import type { LaunchEnd } from '../../src/backends/backend.ts';
import { CommandError } from '../../src/errors/errors.ts';
import { describeOutcome, formatCommand, makeResult, outcomeOf } from '../../src/run/result.ts';
import type { EndOrder } from '../../src/run/terminate.ts';
import type { Outcome, RunResult } from '../../src/run/types.ts';
import type { NormalizedSpec } from '../../src/spec/types.ts';

interface Case {
  readonly title: string;
  readonly end: Partial<LaunchEnd>;
  readonly limits?: Partial<NormalizedSpec['limits']>;
  readonly order?: EndOrder;
  readonly outcome: Outcome;
}

const command = { kind: 'command' } as const;
const terminated = { kind: 'terminated' } as const;
const cancelled: EndOrder = { kind: 'cancelled', reason: 'enough' };

const cases: readonly Case[] = [
  { title: 'an exit status is the outcome', end: { code: 3 }, outcome: { kind: 'exited', code: 3 } },
  {
    title: 'a signal of its own is the outcome',
    end: { signal: 'SIGSEGV' },
    outcome: { kind: 'signalled', signal: 'SIGSEGV' },
  },
  {
    title: 'SIGXCPU under limits.processCpuMs is that limit',
    end: { signal: 'SIGXCPU' },
    limits: { processCpuMs: 1000 },
    outcome: { kind: 'limit', limit: 'processCpuMs' },
  },
  {
    title: 'SIGXCPU without limits.processCpuMs is a signal',
    end: { signal: 'SIGXCPU' },
    outcome: { kind: 'signalled', signal: 'SIGXCPU' },
  },
  {
    title: 'SIGKILL after the processor time was used up is limits.processCpuMs',
    end: { signal: 'SIGKILL', usage: { wallMs: 2100, cpuUserMs: 1990, cpuSystemMs: 20 } },
    limits: { processCpuMs: 1500 },
    outcome: { kind: 'limit', limit: 'processCpuMs' },
  },
  {
    title: 'SIGKILL before the processor time was used up is a signal',
    end: { signal: 'SIGKILL', usage: { wallMs: 2100, cpuUserMs: 900, cpuSystemMs: 20 } },
    limits: { processCpuMs: 1500 },
    outcome: { kind: 'signalled', signal: 'SIGKILL' },
  },
  {
    title: 'SIGKILL where processor time is not known is a signal',
    end: { signal: 'SIGKILL' },
    limits: { processCpuMs: 1 },
    outcome: { kind: 'signalled', signal: 'SIGKILL' },
  },
  {
    title: 'SIGXFSZ under limits.fileBytes is that limit',
    end: { signal: 'SIGXFSZ' },
    limits: { fileBytes: 10 },
    outcome: { kind: 'limit', limit: 'fileBytes' },
  },
  {
    title: 'SIGXFSZ without limits.fileBytes is a signal',
    end: { signal: 'SIGXFSZ' },
    outcome: { kind: 'signalled', signal: 'SIGXFSZ' },
  },
  {
    title: 'a limit that the backend met is the outcome, whatever the status',
    end: { code: 0, cause: { kind: 'limit', limit: 'wallMs' } },
    outcome: { kind: 'limit', limit: 'wallMs' },
  },
  {
    title: 'a command that was told to end is cancelled, even when it ends well',
    end: { code: 0, cause: terminated },
    order: cancelled,
    outcome: { kind: 'cancelled', reason: 'enough' },
  },
  {
    title: 'a command that ended by itself before the order came is not cancelled',
    end: { code: 0, cause: command },
    order: cancelled,
    outcome: { kind: 'exited', code: 0 },
  },
  {
    title: 'a signal to the launcher cancels, and names itself',
    end: { cause: { kind: 'signalled', signal: 'SIGINT' } },
    outcome: { kind: 'cancelled', reason: 'SIGINT' },
  },
  {
    title: 'output beyond what is kept is a limit even when the command ended by itself',
    end: { code: 0, cause: command },
    order: { kind: 'overflow' },
    outcome: { kind: 'limit', limit: 'outputBytes' },
  },
];

function endOf(end: Partial<LaunchEnd>): LaunchEnd {
  return {
    code: undefined,
    signal: undefined,
    cause: command,
    stdoutTruncated: false,
    stderrTruncated: false,
    usage: { wallMs: 1 },
    ...end,
  };
}

function resultOf(outcome: Outcome, output: Partial<RunResult> = {}): RunResult {
  return makeResult({
    command: ['make', 'check it'],
    outcome,
    exitCode: outcome.kind === 'exited' ? outcome.code : undefined,
    signal: undefined,
    stdout: '',
    stderr: '',
    stdoutTruncated: false,
    stderrTruncated: false,
    usage: { wallMs: 1 },
    enforcement: { backend: 'none', applied: [], skipped: [] },
    ...output,
  });
}

describe('the outcome', () => {
  test.each(cases)('$title', ({ end, limits, order, outcome }) => {
    expect(outcomeOf(endOf(end), { coreBytes: 0, ...limits }, order)).toEqual(outcome);
  });

  test('of an end that says nothing is a defect of ours', () => {
    expect(() => outcomeOf(endOf({}), { coreBytes: 0 }, undefined)).toThrow(
      expect.objectContaining({ code: 'SBX_INTERNAL' }),
    );
  });
});

describe('assertSuccess', () => {
  test('gives the result back after exit status 0', () => {
    const result = resultOf({ kind: 'exited', code: 0 });
    expect(result.assertSuccess()).toBe(result);
  });

  test('throws the command, what happened, and the end of stderr', () => {
    const stderr = Array.from({ length: 20 }, (_, line) => `line ${line}\n`).join('');
    const result = resultOf({ kind: 'exited', code: 2 }, { stderr });
    let thrown: unknown;
    try {
      result.assertSuccess();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(CommandError);
    expect(thrown).toMatchObject({
      code: 'SBX_COMMAND_FAILED',
      result,
      message: "make 'check it' exited with status 2:\nline 15\nline 16\nline 17\nline 18\nline 19",
    });
  });

  test('quotes stderr also when it was collected as bytes', () => {
    const result = resultOf({ kind: 'exited', code: 1 }, { stderr: Buffer.from('pity\n') });
    expect(() => result.assertSuccess()).toThrow("make 'check it' exited with status 1:\npity");
  });

  test('is not part of the data', () => {
    const result = resultOf({ kind: 'exited', code: 0 });
    expect(JSON.parse(JSON.stringify(result))).toMatchObject({ exitCode: 0, outcome: { kind: 'exited', code: 0 } });
    expect(Object.keys(result)).not.toContain('assertSuccess');
  });
});

test.each<[Outcome, string]>([
  [{ kind: 'exited', code: 1 }, 'exited with status 1'],
  [{ kind: 'signalled', signal: 'SIGSEGV' }, 'was ended by SIGSEGV'],
  [{ kind: 'limit', limit: 'wallMs' }, 'met its limit wallMs'],
  [
    { kind: 'denied', rule: 'seccomp', syscall: { number: 165, name: 'mount', abi: 'x86_64' } },
    'was ended by its seccomp filter for calling mount (165 of x86_64)',
  ],
  [
    { kind: 'denied', rule: 'seccomp', syscall: { number: 999, abi: 'i386' } },
    'was ended by its seccomp filter for calling 999 of i386',
  ],
  [{ kind: 'cancelled', reason: new Error('too slow') }, 'was cancelled: too slow'],
  [{ kind: 'cancelled', reason: Object.create(null) }, 'was cancelled: [Object: null prototype] {}'],
])('%j in words is "%s"', (outcome, words) => {
  expect(describeOutcome(outcome)).toBe(words);
});

test.each([
  [['ls', '-l', '/a b'], "ls -l '/a b'"],
  [["it's"], "'it'\\''s'"],
  [['echo', ''], "echo ''"],
])('the command %j is shown as %s', (argv, shown) => {
  expect(formatCommand(argv)).toBe(shown);
});

test('a long command is shortened', () => {
  expect(formatCommand(['echo', 'x'.repeat(1000)])).toHaveLength(120);
});
