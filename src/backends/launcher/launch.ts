// One run of the launcher: spawn it, hand it the plan, follow its status lines. The channel is a socket; when this process dies, however it
// dies, the kernel closes it, and the launcher ends the sandbox.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex, Readable, Writable } from 'node:stream';
import { LaunchError } from '../../errors/errors.ts';
import { openDescriptorsOf } from '../../host/held.ts';
import type { BackendPlan, LaunchEnd, LaunchedProcess, LaunchRequest } from '../backend.ts';
import { callSteps } from './call.ts';
import { withCaptures } from './captures.ts';
import { encodePlan } from './encode.ts';
import { launchEnd } from './ending.ts';
import { launchError } from './failure.ts';
import { remedyForLauncher } from './locate.ts';
import { OrderedRun } from './ordered.ts';
import { withNamespaces } from './pod.ts';
import {
  type DeliveredLine,
  type EndedLine,
  type FailedLine,
  type StartedLine,
  type SyscallLine,
  statusReader,
} from './status.ts';
import type { LauncherPlan } from './steps.ts';

const CHANNEL_FD = 3;
const FIRST_EXTRA_FD = 4;
/** A launcher that has said its last word, or closed the channel, has only to end. */
const LINGER_MS = 2000;

export function launchPlan(launcher: string, plan: BackendPlan<LauncherPlan>, request: LaunchRequest): LaunchedProcess {
  const extra = extraDescriptors(request);
  const merged = request.stdio[2] === 'stdout' ? [{ from: 1, to: 2 }] : [];
  // By streams.
  const { captures = [], joins = [], collect: _, ...call } = request;
  const namespaces = joins.map((_descriptor, index) => FIRST_EXTRA_FD + extra.length + index);
  const steps = callSteps(plan.detail, call, [...merged, ...extra]).map((step) =>
    withNamespaces(withCaptures(step, captures), namespaces),
  );
  const bytes = encodePlan(steps);
  const child = spawnLauncher(launcher, [
    ...[0, 1, 2].map((fd) => standardEntry(request, fd)),
    'pipe',
    ...extra.map(({ entry }) => entry),
    ...joins,
  ]);
  const confined = steps.some((step) => step.step === 'landlock' && step.paths !== undefined);
  return new LauncherProcess(child, launcher, bytes, request, extra, confined);
}

/** Some errors of spawn are thrown, others are events. */
function spawnLauncher(launcher: string, stdio: SpawnEntry[]): ChildProcess {
  // The launcher needs nothing of the caller's environment, and init's memory must not hold it.
  try {
    return spawn(launcher, ['run', '--channel-fd', String(CHANNEL_FD)], { stdio, env: {}, cwd: '/' });
  } catch (error) {
    throw spawnError(launcher, error as NodeJS.ErrnoException);
  }
}

const FULL = 'run fewer at once, or raise the number of descriptors: ulimit -n';

const spawnRemedies: Readonly<Record<string, string>> = {
  EMFILE: FULL,
  ENFILE: FULL,
  EACCES:
    'this user may not execute it: see the modes of the file and of the directories above it, and whether it is on a mount with noexec',
  // execve(2): of an interpreter, for the file itself was there a moment ago.
  ENOENT:
    'it is a script whose interpreter does not exist, or it is gone: reinstall the package, or unset SANDBOXLIB_LAUNCHER',
};

function spawnError(launcher: string, cause: NodeJS.ErrnoException): LaunchError {
  return new LaunchError(
    `cannot start the launcher ${launcher}: ${cause.code ?? cause.message}`,
    { step: 'spawn', syscall: 'spawn', errno: cause.code, path: launcher },
    { cause, remedy: spawnRemedies[cause.code ?? ''] },
  );
}

type SpawnEntry = 'pipe' | 'ignore' | 'inherit' | number;

interface ExtraDescriptor {
  readonly from: number;
  readonly to: number;
  readonly entry: SpawnEntry;
}

/** What spawn gets for 0, 1 and 2; that 2 shall be 1 is a step of the plan. */
function standardEntry(request: LaunchRequest, fd: number): SpawnEntry {
  const entry = request.stdio[fd] ?? 'ignore';
  return entry === 'stdout' ? 'ignore' : entry;
}

function extraDescriptors(request: LaunchRequest): ExtraDescriptor[] {
  const extra: ExtraDescriptor[] = [];
  request.stdio.forEach((entry, to) => {
    // 'inherit' is the caller's descriptor of the same number, which spawn would take for the launcher's.
    if (to >= 3 && entry !== undefined && entry !== 'stdout') {
      extra.push({ from: FIRST_EXTRA_FD + extra.length, to, entry: entry === 'inherit' ? to : entry });
    }
  });
  return extra;
}

class LauncherProcess extends OrderedRun implements LaunchedProcess {
  readonly pid: number | undefined;
  readonly stdin: Writable | undefined;
  readonly stdout: Readable | undefined;
  readonly stderr: Readable | undefined;
  readonly extra: ReadonlyMap<number, Readable & Writable>;
  readonly started: Promise<void>;
  readonly ended: Promise<LaunchEnd>;
  readonly #child: ChildProcess;
  /** None where there were no descriptors left for it: then there is no launcher either. */
  readonly #channel: (Duplex & { ref?(): unknown; unref?(): unknown }) | undefined;
  #over = false;
  /** The launcher's descriptors of them. */
  #held: readonly number[] = [];

  constructor(
    child: ChildProcess,
    launcher: string,
    plan: Uint8Array,
    request: LaunchRequest,
    extra: readonly ExtraDescriptor[],
    confined: boolean,
  ) {
    super(request);
    this.#child = child;
    this.pid = child.pid;
    this.stdin = child.stdin ?? undefined;
    this.stdout = child.stdout ?? undefined;
    this.stderr = child.stderr ?? undefined;
    const streams = (child.stdio as readonly unknown[] | undefined) ?? [];
    this.extra = new Map(
      extra
        .filter(({ entry, from }) => entry === 'pipe' && streams[from] !== undefined)
        .map(({ from, to }) => [to, streams[from] as Duplex]),
    );
    this.#channel = streams[CHANNEL_FD] as Duplex | undefined;
    const outcome = follow(child, this.#channel, launcher, confined, {
      started: ({ namespaces = [] }) => {
        this.#held = namespaces;
      },
      syscall: (line) => this.decide(line),
      pending: (outputs) => this.leaveRest(outputs),
      delivered: ({ stream }) => void this.deliver(stream),
      lost: (error) => this.loseRest(error),
    });
    this.started = outcome.started;
    this.ended = outcome.ended.finally(() => {
      this.#over = true;
    });
    // Whoever awaits them sees the rejection; nobody has to.
    this.started.catch(ignore);
    this.ended.catch(ignore);
    this.#channel?.write(plan);
  }

  override kill(): void {
    // All that may still be there is output that nobody took.
    if (this.#over) this.#channel?.destroy();
    else super.kill();
  }

  /**
   * The number is the launcher's: nothing is waited for between the question whether it has ended and the last open(2), and before Node has waited for it
   * nobody else gets it.
   */
  openNamespaces(): number[] {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null || this.#held.length === 0)
      throw new LaunchError('the pod has ended before something could join it', { step: 'join' });
    try {
      return openDescriptorsOf(pid, this.#held);
    } catch (error) {
      const { code, path } = error as NodeJS.ErrnoException;
      const failure = { step: 'join', syscall: 'open', errno: code, path } as const;
      throw new LaunchError(`cannot open the namespaces of the pod: ${code}`, failure, { cause: error });
    }
  }

  ref(): void {
    this.#child.ref();
    this.#channel?.ref?.();
  }

  unref(): void {
    this.#child.unref();
    this.#channel?.unref?.();
  }

  protected send(order: Buffer): void {
    if (this.#over || this.#channel?.writable !== true) return;
    this.#channel.write(order);
  }
}

function ignore(): void {}

/** What becomes known of a run on the way. */
interface Followed {
  started(line: StartedLine): void;
  syscall(line: SyscallLine): void;
  /** Settles when the end may be told. */
  pending(outputs: readonly (1 | 2)[]): Promise<void>;
  delivered(line: DeliveredLine): void;
  /** What was pending, and has not been delivered. */
  lost(error: Error): void;
}

/** Two promises out of three sources: status lines, the end of the launcher, a spawn that failed. */
function follow(
  child: ChildProcess,
  channel: Duplex | undefined,
  launcher: string,
  confined: boolean,
  run: Followed,
): { started: Promise<void>; ended: Promise<LaunchEnd> } {
  const started = withResolvers<void>();
  const ended = withResolvers<LaunchEnd>();
  let last: EndedLine | FailedLine | undefined;
  let waitingFor = 2; // the launcher's own end, and that of the channel
  let patience: NodeJS.Timeout | undefined;
  const fail = (error: Error): void => {
    started.reject(error);
    ended.reject(error);
  };
  const finish = (line: EndedLine): void => {
    started.resolve();
    ended.resolve(launchEnd(line));
  };
  // SANDBOXLIB_LAUNCHER may name any program: one that lives on, or whose children hold the channel, would keep the run for ever.
  const expectEnd = (): void => {
    patience ??= setTimeout(() => {
      child.kill('SIGKILL');
      channel?.destroy();
    }, LINGER_MS).unref();
  };
  const settle = (): void => {
    expectEnd();
    if (waitingFor === 1) {
      clearTimeout(patience);
      run.lost(lostLauncher(child, launcher));
    }
    // After its last line the launcher only waits for us to close the channel: everything in the sandbox is gone.
    if (--waitingFor > 0 && last === undefined) return;
    if (last?.event === 'ended') {
      // What is pending settles that itself.
      if (last.outputPending === undefined) finish(last);
    } else if (last?.event === 'failed') {
      fail(launchError(last, confined));
    } else {
      fail(lostLauncher(child, launcher));
    }
  };
  // The sandbox is gone, and what it wrote is more than sockets hold: whoever reads it gets it all, and nobody waits for that.
  const leaveOutput = (line: EndedLine, outputs: readonly (1 | 2)[]): void => {
    child.unref();
    (channel as { unref?(): unknown } | undefined)?.unref?.();
    run.pending(outputs).then(() => finish(line), fail);
  };
  const read = statusReader((line) => {
    if (line.event === 'started') {
      run.started(line);
      started.resolve();
    } else if (line.event === 'syscall') {
      run.syscall(line);
    } else if (line.event === 'delivered') {
      run.delivered(line);
    } else if (line.event === 'ended' || line.event === 'failed') {
      last = line;
      if (line.event === 'ended' && line.outputPending !== undefined) leaveOutput(line, line.outputPending);
      else expectEnd();
    }
  });
  channel?.on('data', (chunk: Buffer) => {
    try {
      read(chunk);
    } catch (error) {
      fail(error as Error);
      channel.destroy();
    }
  });
  channel?.on('close', settle);
  // ECONNRESET, EPIPE: the launcher is gone, which its exit tells better.
  channel?.on('error', ignore);
  child.on('exit', settle);
  child.on('error', (cause: NodeJS.ErrnoException) => {
    channel?.destroy();
    fail(spawnError(launcher, cause));
  });
  return { started: started.promise, ended: ended.promise };
}

function lostLauncher(child: ChildProcess, launcher: string): LaunchError {
  const how = child.signalCode === null ? `ended with status ${child.exitCode}` : `was ended by ${child.signalCode}`;
  const remedy = process.env['SANDBOXLIB_LAUNCHER'] === launcher ? remedyForLauncher(launcher) : undefined;
  return new LaunchError(
    `the launcher ${launcher} ${how} without a word; everything in the sandbox ended with it`,
    { step: 'lost' },
    { remedy },
  );
}

interface Resolvers<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
}

/** `Promise.withResolvers` came with Node 22. */
function withResolvers<T>(): Resolvers<T> {
  let resolve: (value: T) => void = ignore;
  let reject: (error: Error) => void = ignore;
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve, reject };
}
