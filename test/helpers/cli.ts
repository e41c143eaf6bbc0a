// The command line as people run it: dist/cli/main.cjs under Node, in a process of its own.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const project = new URL('../../', import.meta.url);
export const cliPath: string = fileURLToPath(new URL('dist/cli/main.cjs', project));

/** Brings dist/ up to date with the sources; does nothing when it is. */
export function buildCli(): void {
  const script = fileURLToPath(new URL('scripts/build.mjs', project));
  execFileSync(process.execPath, [script], { stdio: ['ignore', 'ignore', 'inherit'] });
}

export interface CliResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What came on descriptor 3. */
  readonly statusLines: readonly Record<string, unknown>[];
}

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
}

/** Runs it to its end. Descriptor 3 is open. */
export function runCli(args: readonly string[], { cwd = '/', env = {}, input = '' }: CliOptions = {}): CliResult {
  const { status, signal, output } = spawnSync(process.execPath, [cliPath, ...args], {
    cwd,
    env: { ...process.env, ...env },
    input,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    maxBuffer: 64 * 1024 * 1024,
  });
  const [, stdout, stderr, lines] = output as (string | null)[];
  return { status, signal, stdout: stdout ?? '', stderr: stderr ?? '', statusLines: parseLines(lines ?? '') };
}

export function parseLines(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Starts it, for tests that do something to it meanwhile. */
export function spawnCli(args: readonly string[], options: CliOptions = {}): ChildProcess {
  const { cwd = '/', env = {} } = options;
  return spawn(process.execPath, [cliPath, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

/** Waits until `stream` has said `text`; what it said so far. */
export async function waitForText(stream: Readable, text: string): Promise<string> {
  let said = '';
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    said += String(chunk);
    if (said.includes(text)) return said;
  }
  throw new Error(`the stream ended before it said ${JSON.stringify(text)}: ${JSON.stringify(said)}`);
}

/** A terminal with a command on it. */
export class Terminal {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #screen = '';
  #answers = '';
  #over = false;

  constructor(
    command: readonly string[],
    { rows = 24, columns = 80, cwd = '/' }: { rows?: number; columns?: number; cwd?: string } = {},
  ) {
    const script = fileURLToPath(new URL('on-terminal.py', import.meta.url));
    this.#child = spawn('python3', [script, String(rows), String(columns), ...command], {
      cwd,
      stdio: ['pipe', 'pipe', 'inherit', 'pipe', 'pipe'],
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      this.#screen += chunk.toString('latin1');
    });
    (this.#child.stdio[4] as Readable).on('data', (chunk: Buffer) => {
      this.#answers += chunk.toString('latin1');
    });
    this.#ended = once(this.#child, 'close').then(([code]) => {
      this.#over = true;
      return code as number | null;
    });
  }

  get screen(): string {
    return this.#screen;
  }

  type(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  resize(rows: number, columns: number): void {
    (this.#child.stdio[3] as Writable).write(`resize ${rows} ${columns}\n`);
  }

  /** Waits until the screen shows `text`, looked for after the first `after` characters. */
  async shows(text: string | RegExp, after = 0): Promise<void> {
    const found = (): boolean => {
      const part = this.#screen.slice(after);
      return typeof text === 'string' ? part.includes(text) : text.test(part);
    };
    const problem = (): string => `the screen does not show ${text}: ${JSON.stringify(this.#screen)}`;
    await until(() => found() || this.#over, problem);
    if (!found()) throw new Error(problem());
  }

  /** How the terminal takes keys: `cooked` is what a shell leaves to programs. */
  async modes(): Promise<string> {
    const before = this.#answers.length;
    (this.#child.stdio[3] as Writable).write('modes\n');
    await until(
      () => this.#answers.slice(before).includes('\n'),
      () => 'the terminal does not answer',
    );
    return this.#answers.slice(before).trim();
  }

  /** The exit status of the command. */
  async ended(): Promise<number | null> {
    return this.#ended;
  }

  /** For the end of a test that failed. */
  end(): void {
    this.#child.kill('SIGKILL');
  }
}

/** Waits for `condition`; the machine may be slow, so this bound measures nothing. */
export async function until(condition: () => boolean | Promise<boolean>, problem: () => string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(problem());
    await delay(20);
  }
}
