// -t on a real terminal: by run-sandbox, and by a compiled plan.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { buildCli, cliPath, runCli, Terminal, until } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'command:python3');
beforeAll(buildCli);

const open: Terminal[] = [];

afterEach(() => {
  for (const terminal of open.splice(0)) terminal.end();
});

/** The command that runs `args` with `run-sandbox`. */
const ways: readonly [name: string, isCompiled: boolean, commandOf: (args: readonly string[]) => string[]][] = [
  ['run-sandbox', false, (args) => [process.execPath, cliPath, ...args]],
  ['a compiled plan', true, compiledFrom],
];

let work: string;
let plans = 0;

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'terminal-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

function compiledFrom(args: readonly string[]): string[] {
  const file = join(work, `plan-${++plans}`);
  expect(runCli(['compile', '-q', '-o', file, ...args], { env: { TERM: 'compiled' } })).toMatchObject({
    stderr: '',
    status: 0,
  });
  return [file];
}

describe.each(ways)('by %s', (_name, isCompiled, commandOf) => {
  function onTerminal(args: readonly string[], size: { rows?: number; columns?: number } = {}): Terminal {
    const terminal = new Terminal(commandOf(['-t', ...args]), size);
    open.push(terminal);
    return terminal;
  }

  /** As at a prompt: a shell leads the session, says how run-sandbox ended, and stays. */
  function underShell(args: readonly string[]): Terminal {
    const terminal = new Terminal([
      'sh',
      '-c',
      '"$@"; echo "status $?"; read -r line; exit 0',
      'sh',
      ...commandOf(['-t', ...args]),
    ]);
    open.push(terminal);
    return terminal;
  }

  test('all three streams of the command are one terminal of its own', async () => {
    const terminal = onTerminal(['sh', '-c', 'test -t 0 && test -t 1 && test -t 2 && tty && echo "TERM is $TERM"']);
    expect(await terminal.ended()).toBe(0);
    expect(terminal.screen).toMatch(/\/dev\/pts\/0\r\nTERM is \S+/);
  });

  test('it has the size of the terminal outside, also when that changes', async () => {
    const script = 'stty size; until [ "$(stty size)" = "12 34" ]; do sleep 0.05; done; echo resized';
    const terminal = onTerminal(['sh', '-c', script], { rows: 31, columns: 97 });
    await terminal.shows('31 97');
    terminal.resize(12, 34);
    await terminal.shows('resized');
    expect(await terminal.ended()).toBe(0);
  });

  test('Ctrl-C reaches the command once, as SIGINT', async () => {
    const terminal = onTerminal([
      'sh',
      '-c',
      'trap "echo got it; exit 5" INT; echo ready; while :; do sleep 0.05; done',
    ]);
    await terminal.shows('ready');
    terminal.type('\u0003');
    expect(await terminal.ended()).toBe(5);
    expect(terminal.screen.match(/got it/g)).toHaveLength(1);
  });

  test('Ctrl-C ends a command that does not care, with status 130', async () => {
    const terminal = onTerminal(['sh', '-c', 'echo ready; exec cat']);
    await terminal.shows('ready');
    terminal.type('\u0003');
    expect(await terminal.ended()).toBe(130);
  });

  test('Ctrl-C without -t reaches the command once too, and what it makes of that counts', async () => {
    const script = 'trap "echo got it; exit 5" INT; echo ready; while :; do sleep 0.05; done';
    const terminal = new Terminal(commandOf(['sh', '-c', script]));
    open.push(terminal);
    await terminal.shows('ready');
    terminal.type('\u0003');
    expect(await terminal.ended()).toBe(5);
    expect(terminal.screen.match(/got it/g)).toHaveLength(1);
  });

  test('Ctrl-D is the end of input', async () => {
    const terminal = onTerminal(['sh', '-c', 'echo ready; cat; echo over']);
    await terminal.shows('ready');
    terminal.type('line\n\u0004');
    await terminal.shows('over');
    expect(await terminal.ended()).toBe(0);
  });

  test('a shell has job control', async () => {
    requires('command:bash');
    const terminal = onTerminal(['--env', 'PS1=prompt> ', 'bash', '--norc', '--noprofile', '-i']);
    await terminal.shows('prompt> ');
    expect(terminal.screen).not.toContain('no job control');
    // A number that no other process of this host sleeps for.
    const seconds = String(1_000_000 + process.pid);
    terminal.type(`sleep ${seconds}\n`);
    await untilJobRuns(seconds);
    let seen = terminal.screen.length;
    terminal.type('\u001a');
    await terminal.shows(/Stopped.*prompt> /s, seen);
    seen = terminal.screen.length;
    terminal.type('fg\n');
    await terminal.shows(`sleep ${seconds}`, seen);
    await until(
      () => runningSleeps(seconds).some((state) => state === 'S'),
      () => 'the job does not go on',
    );
    seen = terminal.screen.length;
    terminal.type('\u0003');
    await terminal.shows('prompt> ', seen);
    terminal.type('exit 9\n');
    expect(await terminal.ended()).toBe(9);
  });

  describe('the terminal outside is as it was', () => {
    test('after an ordinary end', async () => {
      const terminal = underShell(['sh', '-c', 'echo ready; read -r x']);
      await terminal.shows('ready');
      expect(await terminal.modes()).toBe('raw');
      terminal.type('\n');
      await terminal.shows('status 0');
      expect(await terminal.modes()).toBe('cooked');
      terminal.type('\n');
      expect(await terminal.ended()).toBe(0);
    });

    test.each(isCompiled ? ['plan'] : ['launcher', 'node'])('after SIGKILL of %s', async (victim) => {
      const mark = `8${process.pid}${victim.length}`;
      const terminal = underShell(['sh', '-c', `echo ready; exec sleep ${mark}`]);
      await terminal.shows('ready');
      await until(
        async () => (await terminal.modes()) === 'raw',
        () => 'the terminal was never taken over',
      );
      process.kill(isCompiled ? planOf(mark) : victimOf(mark, victim), 'SIGKILL');
      await terminal.shows(/status \d+/);
      await until(
        async () => (await terminal.modes()) === 'cooked',
        () => 'the terminal stays raw',
      );
      await until(
        () => pidsOf((words) => words[0] === 'sleep' && words[1] === mark).length === 0,
        () => 'the command lives on',
      );
      terminal.type('\n');
      expect(await terminal.ended()).toBe(0);
    });
  });
});

/** Keys that come before a job has the terminal would go to the shell. */
async function untilJobRuns(seconds: string): Promise<void> {
  await until(
    () => runningSleeps(seconds).length > 0,
    () => 'the job does not start',
  );
}

/** States of the processes that sleep for so long, as in proc_pid_stat(5): `S`, or `T` when stopped. */
function runningSleeps(seconds: string): (string | undefined)[] {
  return pidsOf((words) => words[0] === 'sleep' && words[1] === seconds).map(
    (pid) => readOrNothing(`/proc/${pid}/stat`).replace(/^.*\) /s, '')[0],
  );
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // it ended meanwhile
  }
}

/** Pids of processes of this host, by their command line. */
function pidsOf(test: (words: string[]) => boolean): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => test(readOrNothing(`/proc/${pid}/cmdline`).split('\u0000')))
    .map(Number);
}

/** The supervisor: of the two processes of a plan the one that has the other as its child. */
function planOf(mark: string): number {
  const [command = 0] = pidsOf((words) => words[0] === 'sleep' && words[1] === mark);
  const [plan] = pidsOf((words) => words[0]?.startsWith(work) === true).filter((pid) =>
    childrenOf(pid).some((init) => childrenOf(init).includes(command)),
  );
  if (plan === undefined) throw new Error('the plan is not to be found');
  return plan;
}

function victimOf(mark: string, victim: string): number {
  const [node] = pidsOf(
    (words) => words[0] === process.execPath && words[1] === cliPath && words.some((word) => word.includes(mark)),
  );
  if (node === undefined) throw new Error('run-sandbox is not to be found');
  const [launcher] = childrenOf(node).filter((pid) => readOrNothing(`/proc/${pid}/comm`).trim() === 'launcher');
  if (launcher === undefined) throw new Error('the launcher is not to be found');
  return victim === 'node' ? node : launcher;
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter(
      (pid) =>
        readOrNothing(`/proc/${pid}/stat`)
          .replace(/^.*\) /s, '')
          .split(' ')[1] === String(parent),
    )
    .map(Number);
}
