// A command as a child of this process in a process group of its own, with nothing between it and the host, or with no more than chroot(8).
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { type ExecReason, LaunchError, type LaunchFailure } from '../../errors/errors.ts';
import { nodeSpecHost } from '../../spec/host.ts';
import { resolveInRoot } from '../../spec/in-root.ts';
import type { BackendPlan, LaunchEnd, LaunchedProcess, LaunchRequest } from '../backend.ts';
import { findProgram, type Whereabouts } from './program.ts';

export interface PlainDetail {
  readonly env: Readonly<Record<string, string>>;
  /** `undefined`: that of this process; with `into`: its top. */
  readonly cwd: string | undefined;
  readonly wallMs: number | undefined;
  /** The directory that chroot(8), an absolute path, makes the root. */
  readonly into?: { readonly program: string; readonly root: string };
}

export class PlainProcess implements LaunchedProcess {
  readonly #child: ChildProcess | undefined;
  readonly #request: LaunchRequest;
  readonly #startedAt: number = performance.now();
  #cause: LaunchEnd['cause'] = { kind: 'command' };
  #over = false;
  #wallTimer: NodeJS.Timeout | undefined;
  #killTimer: NodeJS.Timeout | undefined;

  readonly stdin: Writable | undefined;
  readonly stdout: Readable | undefined;
  readonly stderr: Readable | undefined;
  readonly extra: ReadonlyMap<number, Readable & Writable>;
  readonly started: Promise<void>;
  readonly ended: Promise<LaunchEnd>;

  constructor(plan: BackendPlan<PlainDetail>, request: LaunchRequest) {
    this.#request = request;
    const spawned = spawnPlainly(plan.detail, request);
    if (spawned instanceof LaunchError) {
      this.extra = new Map();
      this.started = handled(Promise.reject(spawned));
      this.ended = handled(Promise.reject(spawned));
      return;
    }
    const child = spawned;
    this.#child = child;
    this.stdin = child.stdin ?? undefined;
    this.stdout = child.stdout ?? undefined;
    this.stderr = child.stderr ?? undefined;
    this.extra = extraStreams(child, request);
    const failed = handled(
      new Promise<never>((_, reject) => {
        child.once('error', (error) => reject(failureOf(error, request.command[0], plan.detail)));
      }),
    );
    const spawnedAt = new Promise<void>((resolve) => child.once('spawn', resolve));
    this.started = handled(Promise.race([spawnedAt, failed]));
    const exited = new Promise<LaunchEnd>((resolve) => {
      child.once('exit', (code, signal) => resolve(this.#exited(code, signal)));
    });
    this.ended = handled(Promise.race([exited, failed]));
    const { wallMs } = plan.detail;
    if (wallMs !== undefined) this.#watchWall(wallMs);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  terminate(
    signal: NodeJS.Signals = this.#request.killSignal,
    gracePeriodMs: number = this.#request.gracePeriodMs,
  ): void {
    this.#end({ kind: 'terminated' }, signal, gracePeriodMs);
  }

  kill(): void {
    this.#end({ kind: 'terminated' }, 'SIGKILL', 0);
  }

  forward(signal: NodeJS.Signals): void {
    this.#end({ kind: 'signalled', signal }, signal, this.#request.gracePeriodMs);
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.#over) this.#child?.kill(signal);
  }

  /** There is no terminal. */
  resize(): void {}

  unref(): void {
    this.#child?.unref();
  }

  ref(): void {
    this.#child?.ref();
  }

  #watchWall(wallMs: number): void {
    const { killSignal, gracePeriodMs } = this.#request;
    // A timer holds about 24.8 days at most; beyond that the bound is as good as none.
    const delayMs = Math.min(wallMs, 0x7fff_ffff);
    this.#wallTimer = setTimeout(
      () => this.#end({ kind: 'limit', limit: 'wallMs' }, killSignal, gracePeriodMs),
      delayMs,
    );
    this.#child?.once('error', () => this.#stopTimers());
    this.#child?.once('close', () => this.#stopTimers());
  }

  #end(cause: LaunchEnd['cause'], signal: NodeJS.Signals, gracePeriodMs: number): void {
    if (this.#over) {
      this.#letGo();
      return;
    }
    if (this.#cause.kind === 'command') this.#cause = cause;
    this.#signalGroup(signal);
    if (signal === 'SIGKILL') return;
    // The earlier deadline stays.
    this.#killTimer ??= setTimeout(() => this.#signalGroup('SIGKILL'), gracePeriodMs);
  }

  #exited(code: number | null, signal: NodeJS.Signals | null): LaunchEnd {
    this.#over = true;
    clearTimeout(this.#killTimer);
    this.#signalGroup('SIGKILL');
    if (this.#cause.kind !== 'command') this.#letGo();
    return {
      code: code ?? undefined,
      signal: signal ?? undefined,
      cause: this.#cause,
      stdoutTruncated: false,
      stderrTruncated: false,
      usage: { wallMs: performance.now() - this.#startedAt },
    };
  }

  /** A daemon that left the process group may hold the pipes open for ever: who was told to end does not wait for it. */
  #letGo(): void {
    setImmediate(() => {
      for (const stream of this.#child?.stdio ?? []) {
        if (stream !== null && stream !== undefined && !stream.destroyed) drainThenDestroy(stream);
      }
    });
  }

  #signalGroup(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch (error) {
      // ESRCH: all of it is gone. EPERM: what is left took on another user; none promises nothing about it.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ESRCH' && code !== 'EPERM') throw error;
    }
  }

  #stopTimers(): void {
    clearTimeout(this.#wallTimer);
    clearTimeout(this.#killTimer);
  }
}

function spawnPlainly(detail: PlainDetail, request: LaunchRequest): ChildProcess | LaunchError {
  const [name, ...args] = request.command;
  const found = findProgram(name, whereabouts(detail));
  if ('failure' in found) return new LaunchError(found.message, found.failure);
  const merged = request.stdio[2] === 'stdout' && request.stdio[1] === 'pipe';
  const { into } = detail;
  const plain: Spawned =
    into === undefined ? [found.file, name, args] : [into.program, 'chroot', [into.root, found.file, ...args]];
  try {
    const [file, argv0, argv] = merged ? throughShell(plain) : plain;
    return spawn(file, argv, {
      argv0,
      env: detail.env,
      cwd: detail.cwd,
      stdio: nodeStdio(request, merged),
      detached: true,
    });
  } catch (error) {
    // Some errors of execve(2) are thrown, others are events.
    return failureOf(error as NodeJS.ErrnoException, name, detail);
  }
}

type Spawned = readonly [file: string, argv0: string, args: readonly string[]];

/** Node has no way to give one pipe to two descriptors; a shell has, and leaves no process behind. */
function throughShell([file, , args]: Spawned): Spawned {
  return ['/bin/sh', 'sh', ['-c', 'exec "$0" "$@" 2>&1', file, ...args]];
}

/** chroot(8) says of a program that it cannot run no more than status 126 or 127, which a command may end with too: so that is found out before. */
function whereabouts({ env, cwd, into }: PlainDetail): Whereabouts {
  const path = env['PATH'];
  if (into === undefined) return { path, cwd: cwd ?? process.cwd() };
  const host = nodeSpecHost();
  return { path, cwd: '/', locate: (inside) => resolveInRoot(host, into.root, inside).hostPath };
}

function nodeStdio(request: LaunchRequest, merged: boolean): StdioOptions {
  const [, stdout] = request.stdio;
  return request.stdio.map((entry, number) => {
    if (entry === undefined) return 'ignore';
    if (entry !== 'stdout') return entry;
    if (merged) return 'ignore';
    return stdout === 'inherit' ? 1 : number === 2 && stdout !== undefined && stdout !== 'stdout' ? stdout : 'ignore';
  });
}

function extraStreams(child: ChildProcess, request: LaunchRequest): ReadonlyMap<number, Readable & Writable> {
  const streams = new Map<number, Readable & Writable>();
  // There are none where the descriptors of this process did not suffice for them.
  const all = (child.stdio as readonly unknown[] | undefined) ?? [];
  request.stdio.forEach((entry, number) => {
    if (number > 2 && entry === 'pipe' && all[number] !== undefined)
      streams.set(number, all[number] as Readable & Writable);
  });
  return streams;
}

const reasons: Readonly<Record<string, ExecReason>> = {
  E2BIG: 'too-long',
  ETXTBSY: 'text-busy',
  ELOOP: 'interpreter-loop',
};

function failureOf(error: NodeJS.ErrnoException, name: string, detail: PlainDetail): LaunchError {
  const failure: LaunchFailure = {
    step: 'exec',
    syscall: 'execve',
    errno: error.code,
    path: name,
    reason: reasons[error.code ?? ''] ?? 'other',
  };
  const where = detail.cwd === undefined ? '' : ` in ${detail.cwd}`;
  return new LaunchError(`cannot run ${name}${where}: ${error.code ?? error.message}`, failure, { cause: error });
}

/** What a killed command wrote before its end is still read; nothing more is waited for. */
function drainThenDestroy(stream: Readable | Writable): void {
  const { bytesRead } = stream as { readonly bytesRead?: number };
  setImmediate(() => {
    if (stream.destroyed) return;
    if ((stream as { readonly bytesRead?: number }).bytesRead === bytesRead) stream.destroy();
    else drainThenDestroy(stream);
  });
}

/** Whoever asks gets the rejection; who does not is left in peace. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
