// The words of one call and of what came of it.
import type { Readable, Writable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import type { AppliedFeature, BackendName, BackendPlan, Usage } from '../backends/backend.ts';
import type { Changes } from '../changes/types.ts';
import type { Feature } from '../features/feature.ts';
import type { ImageOptions } from '../image/open/open.ts';
import type { ImageSummary } from '../image/prepare.ts';
import type { DeniedCall } from '../seccomp/denied.ts';
import type { Limits, Milliseconds, SyscallAction } from '../spec/types.ts';
import type { HandlerResults } from './around.ts';
import type { ToolName } from './as/tools.ts';

/** Where an output goes: Node's vocabulary. `'pipe'`: collected, and a stream on the handle. An array tees. */
export type OutputTarget = 'pipe' | 'ignore' | 'inherit' | number | URL | Writable;
/** Where input comes from. */
export type InputSource = 'pipe' | 'ignore' | 'inherit' | number | URL | Readable;
/** Everything that can be fed to stdin. */
export type InputData = string | Uint8Array | Readable | ReadableStream | AsyncIterable<string | Uint8Array>;

/** About this call, not about the sandbox. */
export interface RunOptions {
  /** @defaultValue `'ignore'`, or what `input` needs */
  readonly stdin?: InputSource;
  /** @defaultValue `'pipe'` */
  readonly stdout?: OutputTarget | readonly OutputTarget[];
  /** @defaultValue `'pipe'`. `'stdout'` sends it where stdout goes, in order (2>&1). */
  readonly stderr?: OutputTarget | readonly OutputTarget[] | 'stdout';
  /** Written to stdin, which is then closed. Excludes `stdin`. */
  readonly input?: InputData;
  /** Extra descriptors of the command, by number from 3: a descriptor of this process, or `'pipe'` for a stream on the handle. */
  readonly descriptors?: Readonly<Record<number, number | 'pipe'>>;
  /** `'buffer'` gives Uint8Array; text is decoded as a whole, never by chunk, and never throws. @defaultValue `'utf8'` */
  readonly encoding?: 'utf8' | 'buffer';
  /** Drop one final newline of collected text. @defaultValue `false` */
  readonly stripFinalNewline?: boolean;
  /** Ends the sandbox in an orderly way (`killSignal`, grace, SIGKILL); `outcome` is `cancelled`. */
  readonly signal?: AbortSignal;
  /** @defaultValue the `StopSignal` of an image of OCI, else `'SIGTERM'` */
  readonly killSignal?: NodeJS.Signals;
  /** @defaultValue 2000 */
  readonly gracePeriodMs?: Milliseconds;
  /** This backend and no other. @defaultValue the environment variable `SANDBOXLIB_BACKEND`, else negotiation */
  readonly backend?: BackendName;
  /** Features that may be missing, one by one, or `'all'`. What was skipped is in `enforcement.skipped`. */
  readonly optional?: readonly Feature[] | 'all';
  /**
   * Decides about each call for which a rule of the spec's `onSyscall` says `ask`; the thread that made it waits. What it throws ends the run, and is what the
   * run rejects with.
   *
   * @example onSyscall: ({ name }) => (name === 'connect' ? { errno: 'ENETUNREACH' } : 'allow')
   */
  readonly onSyscall?: (call: SyscallCall) => SyscallAnswer | Promise<SyscallAnswer>;
  /** Where the root is an image: how it is had. */
  readonly image?: ImageOptions;
  /** Called for each step of the run; an exception from it is the caller's. */
  readonly onEvent?: (event: RunEvent) => void;
}

export type RunEvent =
  | { readonly kind: 'planned'; readonly backend: BackendName }
  | { readonly kind: 'started'; readonly pid: number | undefined }
  /** A rule of the spec's `onSyscall` that is not `allow` fitted a call. */
  | { readonly kind: 'syscall'; readonly call: SyscallCall }
  | { readonly kind: 'ended'; readonly outcome: Outcome };

/** A system call that a rule of `onSyscall` fitted. */
export interface SyscallCall extends DeniedCall {
  /** The six registers, in hexadecimal: `'0x1b6'`. What the call does not use is whatever was there. */
  readonly args: readonly string[];
  /** Number of the thread inside the sandbox; absent where it cannot be known. */
  readonly pid?: number;
  /** Of the rule. */
  readonly action: Exclude<SyscallAction, 'allow'>;
}

/** `errno`: the name of an error, `'EPERM'`. */
export type SyscallAnswer = 'allow' | 'kill' | { readonly errno: string };

export interface SyscallReport {
  readonly total: number;
  /** At most 1000. */
  readonly first: readonly SyscallCall[];
}

/** What the command did, or what ended it. Never a failure of the sandbox: that is an error. */
export type Outcome =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: NodeJS.Signals }
  | { readonly kind: 'limit'; readonly limit: keyof Limits }
  /** The seccomp filter of `seccomp` ended the command (SECCOMP_RET_KILL_PROCESS) for this call. Where that is not known: `signalled`, SIGSYS. */
  | { readonly kind: 'denied'; readonly rule: 'seccomp'; readonly syscall: DeniedCall }
  /** `reason`: that of the AbortSignal, or the name of the signal that the launcher got. */
  | { readonly kind: 'cancelled'; readonly reason: unknown };

export interface Enforcement {
  readonly backend: BackendName;
  readonly applied: readonly AppliedFeature[];
  readonly skipped: readonly { readonly feature: Feature; readonly because: string }[];
  /** Where the root is an image. */
  readonly image?: ImageSummary;
}

/** What would be done for a spec, before anything is. */
export interface Explanation {
  readonly backend: BackendName;
  /** The spec in words, one promise each. */
  readonly sentences: readonly string[];
  readonly plan: BackendPlan;
  readonly enforcement: Enforcement;
  /** Where `as` named a tool. */
  readonly equivalent?: Equivalent;
}

/** The same sandbox in the words of another tool. */
export interface Equivalent {
  readonly tool: ToolName;
  /** Lines for a shell that make, in the current directory, the root that `argv` or `config` names; empty where there is one. */
  readonly before: readonly string[];
  /** A whole command line up to the command itself; `undefined` where there is no near thing. */
  readonly argv: readonly string[] | undefined;
  /** For an OCI runtime: its config.json, in which `process.args` is for the command. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** What it leaves out, in words. */
  readonly lacks: readonly string[];
}

export type { Usage };

export type Output = string | Uint8Array | undefined;

export interface RunResult {
  readonly command: readonly string[];
  readonly outcome: Outcome;
  /** The command's own exit status; `undefined` when a signal ended it. */
  readonly exitCode: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  /** What was collected: `undefined` when the output went elsewhere only, or was read as a stream. */
  readonly stdout: Output;
  readonly stderr: Output;
  readonly stdoutTruncated: boolean;
  readonly stderrTruncated: boolean;
  readonly usage: Usage;
  readonly enforcement: Enforcement;
  /** Calls that rules of `onSyscall` fitted, but for those that are allowed; only where the spec has such rules and they were in force. */
  readonly syscalls?: SyscallReport;
  /** What the command changed, where the spec captures it; also where the command failed. On a disk until somebody discards or applies it. */
  readonly changes?: Changes;
  /** What ran before and after the command, where the image has programs for that (App Container). */
  readonly handlers?: HandlerResults;
  /** This result, or CommandError with it when the outcome is anything but exit status 0. */
  assertSuccess(): RunResult;
}

/** A run in progress: await it for the result, iterate it for lines of stdout, or use its streams. */
export interface SandboxProcess extends PromiseLike<RunResult>, AsyncIterable<string>, AsyncDisposable {
  /** Process id of the launcher on this host, once there is one: at the latest when `started` has resolved. */
  readonly pid: number | undefined;
  /** Only where `stdin` is `'pipe'`; asking for it otherwise throws a SpecError. */
  readonly stdin: Writable;
  /**
   * Only where `stdout` has a `'pipe'`; so for `stderr`. Who takes the stream has the output alone, and the command waits for a slow
   * reader: the result's `stdout` is then `undefined`. To have both, tee: `stdout: ['pipe', file]`.
   */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Streams of `descriptors` that were `'pipe'`. */
  readonly extra: ReadonlyMap<number, Readable & Writable>;
  readonly started: Promise<void>;
  readonly result: Promise<RunResult>;
  catch<T>(onRejected: (reason: unknown) => T): Promise<RunResult | T>;
  finally(onFinally: () => void): Promise<RunResult>;
  /** `killSignal`, grace period, SIGKILL, for everything in the sandbox. Idempotent; a signal that an outcome then shows as `cancelled`. */
  terminate(reason?: unknown): void;
  kill(): void;
  /** One signal to the command alone. */
  sendSignal(signal: NodeJS.Signals): void;
  /** A signal that this process itself got, passed on: as `terminate`, unless the terminal sent it to both already. */
  forward(signal: NodeJS.Signals): void;
  resize(columns: number, rows: number): void;
  lines(stream?: 'stdout' | 'stderr'): AsyncIterable<string>;
}

/** About a sandbox and all of its runs. */
export interface SandboxOptions extends Pick<RunOptions, 'backend' | 'optional' | 'image'> {
  /**
   * How many sandboxes are kept ready, made up to the point where only the command is missing; each is used once. A run that only collects output, and
   * whose `input` is at hand and at most 64 KiB, takes one where one is ready; any other begins anew. What they show of the host is what it was when they
   * were made: a directory or file that was exchanged since (rename(2)) is the old one. What they had mounted is unmounted a moment after their run has
   * ended. Only backend `native` keeps any. At most 256. @defaultValue 0
   */
  readonly warm?: number;
  /** How many runs may be in progress at a time; more wait, in the order in which they came. @defaultValue no bound */
  readonly concurrency?: number;
  /**
   * How many runs may wait for their turn under `concurrency`, which it needs; 0: none. One more is refused at once, with `SBX_QUEUE_FULL`, and nothing of
   * it was begun. Whoever passes on runs that others ask for bounds with it how long they wait, and what their input takes of memory meanwhile.
   *
   * @defaultValue no bound: a run that waits has no process, and who starts all of its runs at once knows how many there are
   */
  readonly maxQueue?: number;
}

/** Validated and negotiated once, used many times; every run has fresh namespaces. */
export interface Sandbox extends AsyncDisposable {
  readonly enforcement: Enforcement;
  readonly plan: BackendPlan;
  run(command: readonly string[], options?: Omit<RunOptions, 'backend' | 'optional'>): Promise<RunResult>;
  spawn(command: readonly string[], options?: Omit<RunOptions, 'backend' | 'optional'>): SandboxProcess;
  /** Ends what still runs and refuses more. Idempotent. */
  dispose(): Promise<void>;
}

/** For any other spawner: start `file` with `args` and `env` and the stdio of your choice. */
export interface WrappedCommand extends Disposable {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly enforcement: Enforcement;
}
