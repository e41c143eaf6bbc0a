// A run in progress. It exists before the command does, and its streams may be used at once.
import { Duplex, PassThrough, type Readable, type Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { LaunchEnd, LaunchedProcess, LaunchRequest } from '../backends/backend.ts';
import type { Capture } from '../changes/store.ts';
import type { Changes } from '../changes/types.ts';
import { SandboxError, SpecError } from '../errors/errors.ts';
import type { DeniedCall } from '../seccomp/denied.ts';
import { capturedViews } from '../spec/captures.ts';
import { followAbort } from './abort.ts';
import type { AroundRun, HandlerResults } from './around.ts';
import { type CheckedCall, commandFor, killSignalOf, requestFor } from './call.ts';
import { Budget, decodeOutput } from './collect.ts';
import { feed, tolerateClosedReader } from './input.ts';
import { linesOf } from './lines.ts';
import type { Keeper, Prepared } from './plan.ts';
import { InputPort, OutputPort, Sinks } from './ports.ts';
import { formatCommand, makeResult, outcomeOf } from './result.ts';
import type { Soon } from './soon.ts';
import { routeStdio, type StdioRoutes } from './stdio.ts';
import { checkHandler, Syscalls } from './syscalls.ts';
import { Termination } from './terminate.ts';
import type { Output, RunEvent, RunResult, SandboxProcess, SyscallReport } from './types.ts';

/** `run` collects from the first byte and answers for its result; a handle's streams may be taken, and nobody has to look at its result. */
export type Purpose = 'run' | 'handle';

/** Of what the command did. */
interface Seen {
  readonly changes?: Changes | undefined;
  readonly syscall?: DeniedCall | undefined;
  readonly syscalls?: SyscallReport | undefined;
  readonly handlers?: HandlerResults | undefined;
}

const unlaunched: LaunchEnd = {
  code: undefined,
  signal: undefined,
  cause: { kind: 'terminated' },
  stdoutTruncated: false,
  stderrTruncated: false,
  usage: { wallMs: 0 },
};

export class Process implements SandboxProcess {
  readonly #call: CheckedCall;
  /** What is executed, where an image has a say in it. */
  #command: readonly string[];
  readonly #purpose: Purpose;
  readonly #termination: Termination = new Termination();
  #killSignal: NodeJS.Signals;
  readonly #budget: Budget;
  readonly #stdin: InputPort = new InputPort();
  readonly #stdout: OutputPort;
  readonly #stderr: OutputPort;
  readonly #sinks: Sinks = new Sinks();
  readonly #extra = new Map<number, Readable & Writable>();
  readonly #lateExtra = new Map<number, LateDuplex>();
  readonly #forgetAbort: () => void;
  #stopFeeding: () => void = () => {};
  #launched: LaunchedProcess | undefined;
  #syscalls: Syscalls | undefined;
  #around: AroundRun | undefined;
  /** What this run leaves on the disk, until its result has it. */
  #kept: { readonly keeper: Keeper; readonly capture: Capture } | undefined;
  #hasStarted = false;
  #whenLaunched: ((launched: LaunchedProcess) => void)[] = [];
  readonly #settle: Settle<RunResult>;
  readonly #settleStarted: Settle<void>;

  readonly result: Promise<RunResult>;
  readonly started: Promise<void>;

  /**
   * `prepare` throws or rejects where nothing can be launched: that is this run's result. `ordered` resolves when somebody ends the run, which what it
   * gives is not to outlast.
   */
  constructor(call: CheckedCall, purpose: Purpose, prepare: (ordered: Promise<void>) => Soon<Prepared>) {
    const { options } = call;
    this.#call = call;
    this.#command = call.command;
    this.#purpose = purpose;
    this.#killSignal = killSignalOf(undefined, options);
    this.#budget = new Budget(() => this.#termination.end({ kind: 'overflow' }, true));
    this.#stdout = new OutputPort(options.stdout.includes('pipe'), this.#budget, this.#failing('read stdout'));
    const stderrKept = options.stderr !== 'stdout' && options.stderr.includes('pipe');
    this.#stderr = new OutputPort(stderrKept, this.#budget, this.#failing('read stderr'));
    [this.result, this.#settle] = deferred();
    [this.started, this.#settleStarted] = deferred();
    this.started.catch(() => {});
    if (purpose === 'handle') this.result.catch(() => {});
    this.#forgetAbort = followAbort(options.signal, (reason) => this.#cancel(reason));
    try {
      const prepared = prepare(this.#termination.ordered);
      if (prepared instanceof Promise) {
        this.#makeLateExtra();
        prepared.then((ready) => this.#start(ready)).catch((error: unknown) => this.#fail(error));
      } else if (prepared.begin !== undefined) {
        this.#makeLateExtra();
        this.#start(prepared).catch((error: unknown) => this.#fail(error));
      } else this.#launch(prepared);
    } catch (error) {
      this.#fail(error);
    }
  }

  get pid(): number | undefined {
    return this.#launched?.pid;
  }

  get stdin(): Writable {
    if (this.#call.options.stdin !== 'pipe' || this.#call.options.input !== undefined) throw noStream('stdin');
    return this.#stdin.stream;
  }

  get stdout(): Readable {
    if (!this.#stdout.kept) throw noStream('stdout');
    return this.#stdout.take();
  }

  get stderr(): Readable {
    if (!this.#stderr.kept) throw noStream('stderr');
    return this.#stderr.take();
  }

  get extra(): ReadonlyMap<number, Readable & Writable> {
    return this.#extra;
  }

  // biome-ignore lint/suspicious/noThenProperty: a run is awaited for its result
  then<T = RunResult, E = never>(
    onFulfilled?: ((result: RunResult) => T | PromiseLike<T>) | null,
    onRejected?: ((reason: unknown) => E | PromiseLike<E>) | null,
  ): Promise<T | E> {
    return this.result.then(onFulfilled, onRejected);
  }

  catch<T>(onRejected: (reason: unknown) => T): Promise<RunResult | T> {
    return this.result.catch(onRejected);
  }

  finally(onFinally: () => void): Promise<RunResult> {
    return this.result.finally(onFinally);
  }

  terminate(reason: unknown = this.#killSignal): void {
    this.#cancel(reason);
  }

  kill(): void {
    this.#termination.end({ kind: 'cancelled', reason: 'SIGKILL' }, true);
  }

  sendSignal(signal: NodeJS.Signals): void {
    this.#tell((launched) => launched.signal(signal));
  }

  forward(signal: NodeJS.Signals): void {
    this.#tell((launched) => launched.forward(signal));
  }

  resize(columns: number, rows: number): void {
    this.#tell((launched) => launched.resize(columns, rows));
  }

  /** Rejects the loop, after the last line, when the sandbox failed; what the command itself came to is in the result. */
  async *lines(stream: 'stdout' | 'stderr' = 'stdout'): AsyncGenerator<string, void, undefined> {
    yield* linesOf(this[stream]);
    await this.result;
  }

  [Symbol.asyncIterator](): AsyncIterator<string> {
    return this.lines();
  }

  /** Ends what still runs, and waits until it is gone. Whether the run succeeded is in the result. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.result.catch(() => {});
    this.#launched?.kill();
    this.#stdout.drop();
    this.#stderr.drop();
  }

  /** With what runs before the command, where something does. */
  async #start(prepared: Prepared): Promise<void> {
    this.#command = commandFor(prepared, this.#call);
    const { captures = [] } = this.#capturing(prepared);
    this.#around = prepared.begin?.(
      this.#call,
      (call, stage) => new Process(call, 'run', () => stage).result,
      captures,
    );
    const ready =
      this.#around === undefined ? prepared : { ...(await this.#around.start()), commandOf: prepared.commandOf };
    // Ended meanwhile: then there is nothing to come after it either.
    if (this.#termination.order !== undefined) await Promise.all([this.#releaseAround(), this.#discardKept()]);
    this.#launch(ready);
  }

  async #releaseAround(): Promise<void> {
    const around = this.#around;
    this.#around = undefined;
    await around?.release();
  }

  #launch(prepared: Prepared): void {
    checkHandler(prepared.spec, this.#call.options.onSyscall);
    const command = commandFor(prepared, this.#call);
    this.#command = command;
    this.#killSignal = killSignalOf(prepared, this.#call.options);
    if (this.#termination.order === undefined) this.#emit({ kind: 'planned', backend: prepared.backend.name });
    if (this.#termination.order !== undefined) {
      this.#conclude(prepared, unlaunched, { ...prepared.enforcement, applied: [] });
      return;
    }
    if (prepared.plan.applied.some(({ feature }) => feature === 'limits.outputBytes')) this.#budget.leaveToBackend();
    const routes = routeStdio(this.#call.options);
    this.#sinks.add(routes.stdout, this.#stdout, this.#failing('write a copy of stdout'));
    this.#sinks.add(routes.stderr, this.#stderr, this.#failing('write a copy of stderr'));
    let launched: LaunchedProcess;
    try {
      launched = prepared.backend.launch(prepared.plan, {
        ...requestFor(command, this.#call, routes.entries, this.#killSignal),
        ...this.#hearing(prepared),
        ...this.#capturing(prepared),
        ...this.#collecting(prepared, routes),
      });
    } finally {
      routes.close();
    }
    this.#launched = launched;
    try {
      this.#connect(launched, routes);
    } catch (error) {
      launched.kill();
      launched.ended.then(
        () => this.#fail(error),
        () => this.#fail(error),
      );
      return;
    }
    for (const action of this.#whenLaunched.splice(0)) action(launched);
    launched.started.then(
      () => {
        this.#hasStarted = true;
        this.#settleStarted.resolve();
        this.#emit({ kind: 'started', pid: launched.pid });
      },
      // `ended` rejects with the same.
      () => {},
    );
    launched.ended
      .then((end) => this.#finish(prepared, end))
      .catch(async (error: unknown) => this.#fail(await explained(prepared, error)));
    // An order given by a listener of 'planned' or of the AbortSignal in the meantime.
    this.#termination.attach(launched);
  }

  #connect(launched: LaunchedProcess, routes: StdioRoutes): void {
    const collect = this.#purpose === 'run' ? 'now' : 'soon';
    if (launched.stdout === undefined) this.#stdout.end();
    else this.#stdout.connect(launched.stdout, routes.stdout, collect, () => launched.rest?.(1));
    if (launched.stderr === undefined) this.#stderr.end();
    else this.#stderr.connect(launched.stderr, routes.stderr, collect, () => launched.rest?.(2));
    if (launched.stdin !== undefined) {
      if (routes.input === undefined) this.#stdin.connect(launched.stdin, this.#failing('write stdin'));
      else {
        tolerateClosedReader(launched.stdin, this.#failing('write stdin'));
        this.#stopFeeding = feed(launched.stdin, routes.input, this.#failing('read the input'));
      }
    }
    for (const [number, stream] of launched.extra) {
      tolerateClosedReader(stream, this.#failing(`use descriptor ${number}`));
      const late = this.#lateExtra.get(number);
      if (late === undefined) this.#extra.set(number, stream);
      else late.connect(stream);
    }
  }

  async #finish(prepared: Prepared, end: LaunchEnd): Promise<void> {
    this.#stopFeeding();
    const syscall = end.denied && (await import('../seccomp/denied.ts')).deniedCall(end.denied);
    await this.#deliver();
    const syscalls = await this.#syscalls?.report();
    const handlers = await this.#around?.finish();
    await this.#releaseAround();
    const changes = await this.#listChanges();
    if (changes !== undefined && this.#termination.order?.kind === 'failed') await changes.discard();
    this.#conclude(prepared, end, prepared.enforcement, { syscall, syscalls, changes, handlers });
  }

  #capturing({ spec, keeper, captures, enforcement }: Prepared): Pick<LaunchRequest, 'captures'> {
    if (captures !== undefined) return { captures };
    if (keeper === undefined) return {};
    const views = capturedViews(spec);
    if (views.length === 0) return {};
    if (this.#kept !== undefined) return { captures: keeper.viewDirectories(this.#kept.capture.directory, views) };
    const { uid, gid, needsHelper: ranges } = spec.idMappings;
    const of = { views, command: this.#command, ids: { uid, gid, ranges } };
    const { image } = enforcement;
    const capture = keeper.createCapture(image === undefined ? of : { ...of, image });
    this.#kept = { keeper, capture };
    return { captures: keeper.viewDirectories(capture.directory, views) };
  }

  /** Where they cannot be listed they stay, and the error says where. */
  async #listChanges(): Promise<Changes | undefined> {
    if (this.#kept === undefined) return undefined;
    const { keeper, capture } = this.#kept;
    this.#kept = undefined;
    return keeper.changesOf(keeper.markEnded(capture));
  }

  /** Waits until all output is where it belongs; who ended the run waits for a stuck destination no longer than for a stuck command. */
  async #deliver(): Promise<void> {
    const atEnd = Promise.all([this.#stdout.finished, this.#stderr.finished]);
    const delivered = atEnd.then(() => this.#sinks.finish());
    if (this.#sinks.size > 0) {
      const patience = new AbortController();
      const stuck = this.#termination.ordered.then(() =>
        delay(this.#call.options.gracePeriodMs, undefined, { signal: patience.signal }),
      );
      // `delay` rejects when it is not needed any more.
      stuck.then(() => this.#sinks.abandon()).catch(() => {});
      await Promise.race([delivered, stuck]).finally(() => patience.abort());
    }
    await delivered;
  }

  /** Where only the result counts, the backend may spare itself the streams. */
  #collecting({ plan }: Prepared, { entries, input, stdout, stderr }: StdioRoutes): Pick<LaunchRequest, 'collect'> {
    const collects =
      this.#purpose === 'run' &&
      this.#call.options.onEvent === undefined &&
      stdout.length + stderr.length === 0 &&
      entries.length === 3 &&
      entries.every((entry) => entry === 'pipe' || entry === 'ignore' || entry === 'stdout') &&
      !plan.applied.some(({ feature }) => feature === 'seccomp.notify');
    if (!collects || !isShort(input) || (input === undefined) !== (entries[0] === 'ignore')) return {};
    const ports = { 1: this.#stdout, 2: this.#stderr };
    return { collect: { input, onOutput: (stream, bytes) => ports[stream].push(bytes) } };
  }

  #hearing({ plan }: Prepared): Pick<LaunchRequest, 'onSyscall'> {
    if (!plan.applied.some(({ feature }) => feature === 'seccomp.notify')) return {};
    const syscalls = new Syscalls(
      this.#call.options.onSyscall,
      (call) => this.#emit({ kind: 'syscall', call }),
      (error) => this.#termination.end({ kind: 'failed', error }),
    );
    this.#syscalls = syscalls;
    return { onSyscall: (call) => syscalls.hear(call) };
  }

  #conclude(prepared: Prepared, end: LaunchEnd, enforcement: RunResult['enforcement'], seen: Seen = {}): void {
    const { order } = this.#termination;
    if (order?.kind === 'failed') {
      this.#fail(order.error);
      return;
    }
    const outcome = outcomeOf(end, prepared.spec.limits, order, seen.syscall);
    const stdout = this.#stdout.collected();
    const stderr = this.#stderr.collected();
    const result = makeResult({
      command: this.#command,
      outcome,
      exitCode: end.code,
      signal: end.signal,
      stdout: this.#decode(stdout.bytes),
      stderr: this.#decode(stderr.bytes),
      stdoutTruncated: end.stdoutTruncated || stdout.truncated,
      stderrTruncated: end.stderrTruncated || stderr.truncated,
      usage: end.usage,
      enforcement,
      ...(seen.syscalls === undefined ? {} : { syscalls: seen.syscalls }),
      ...(seen.changes === undefined ? {} : { changes: seen.changes }),
      ...(seen.handlers === undefined ? {} : { handlers: seen.handlers }),
    });
    this.#call.options.onEvent?.({ kind: 'ended', outcome });
    if (!this.#hasStarted)
      this.#settleStarted.reject(new SandboxError('SBX_CANCELLED', 'the run was cancelled before its command started'));
    this.#release();
    this.#settle.resolve(result);
  }

  #fail(error: unknown): void {
    this.#release();
    Promise.all([this.#sinks.finish(), this.#releaseAround(), this.#discardKept()]).then(
      () => {
        this.#settleStarted.reject(error);
        this.#settle.reject(error);
      },
      (sinkError: unknown) => this.#settle.reject(sinkError),
    );
  }

  async #discardKept(): Promise<void> {
    const kept = this.#kept;
    this.#kept = undefined;
    await kept?.keeper.discardCapture(kept.capture);
  }

  /** Nothing of this run listens or is listened to any more. */
  #release(): void {
    this.#termination.over();
    this.#forgetAbort();
    this.#stopFeeding();
    this.#whenLaunched = [];
    this.#stdout.abandon();
    this.#stderr.abandon();
    this.#stdin.abandon();
    for (const late of this.#lateExtra.values()) late.abandon();
  }

  #cancel(reason: unknown): void {
    this.#termination.end({ kind: 'cancelled', reason });
  }

  #tell(action: (launched: LaunchedProcess) => void): void {
    if (this.#launched === undefined) this.#whenLaunched.push(action);
    else action(this.#launched);
  }

  #emit(event: RunEvent): void {
    try {
      this.#call.options.onEvent?.(event);
    } catch (error) {
      this.#termination.end({ kind: 'failed', error });
    }
  }

  #decode(bytes: Uint8Array | undefined): Output {
    const { encoding, stripFinalNewline } = this.#call.options;
    return bytes === undefined ? undefined : decodeOutput(bytes, encoding, stripFinalNewline);
  }

  #failing(act: string): (error: unknown) => void {
    return (cause) => {
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `cannot ${act} of ${formatCommand(this.#command)}: ${why}`;
      this.#termination.end({ kind: 'failed', error: new SandboxError('SBX_STREAM_FAILED', message, { cause }) });
    };
  }

  #makeLateExtra(): void {
    for (const [number, source] of this.#call.options.descriptors) {
      if (source !== 'pipe') continue;
      const late = new LateDuplex();
      this.#lateExtra.set(number, late);
      this.#extra.set(number, late.stream);
    }
  }
}

const SHORT_INPUT_BYTES = 64 * 1024;

function isShort(input: StdioRoutes['input']): input is string | Uint8Array | undefined {
  if (typeof input === 'string') return Buffer.byteLength(input) <= SHORT_INPUT_BYTES;
  return input === undefined || (input instanceof Uint8Array && input.length <= SHORT_INPUT_BYTES);
}

/** A stream of an extra descriptor, before there is one. */
class LateDuplex {
  readonly #toCommand = new PassThrough();
  readonly #fromCommand = new PassThrough();
  readonly stream: Duplex = Duplex.from({ writable: this.#toCommand, readable: this.#fromCommand });

  constructor() {
    this.stream.on('error', () => {});
  }

  connect(real: Readable & Writable): void {
    this.#toCommand.pipe(real);
    real.pipe(this.#fromCommand);
    real.once('close', () => this.abandon());
  }

  abandon(): void {
    this.#toCommand.destroy();
    this.#fromCommand.end();
  }
}

interface Settle<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

function deferred<T>(): [Promise<T>, Settle<T>] {
  let settle: Settle<T> | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return [promise, settle as unknown as Settle<T>];
}

function noStream(name: 'stdin' | 'stdout' | 'stderr'): SpecError {
  return new SpecError([{ path: ['options', name], message: `there is no stream to use unless it is 'pipe'` }]);
}

async function explained(prepared: Prepared, error: unknown): Promise<unknown> {
  return (await import('./failure.ts')).explainFailure(prepared, error);
}
