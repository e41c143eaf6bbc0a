// What every backend is: a name, what its code knows, what this host lets it do, a pure plan, and a launch.
import type { Readable, Writable } from 'node:stream';
import type { Availability, Feature } from '../features/feature.ts';
import type { EmulationFacts } from '../host/emulation.ts';
import type { Architecture } from '../spec/architectures.ts';
import type { Limits, NormalizedSpec, SyscallAction } from '../spec/types.ts';

export const backendNames = [
  'native',
  'bubblewrap',
  'oci',
  'linux-user-chroot',
  'systemd-nspawn',
  'podman',
  'docker',
  'firejail',
  'proot',
  'chroot',
  'none',
] as const;
export type BackendName = (typeof backendNames)[number];

/** What one backend can do on this host, feature by feature, found by doing it. */
export interface BackendReport {
  readonly backend: BackendName;
  /** Whether it can run anything at all here. */
  readonly usable: Availability;
  /** Only recognized features; the others are refused as not known to the backend. */
  readonly features: ReadonlyMap<Feature, Availability>;
  /** The answer for `architecture`, one by one; absent where the backend does not know that feature. */
  readonly architectures?: ReadonlyMap<Architecture, Availability>;
}

export interface AppliedFeature {
  readonly feature: Feature;
  /** What enforces it, in the kernel's words: `user namespace`, `RLIMIT_NOFILE`, ... */
  readonly mechanism: string;
}

/** What will be done: plain data, made by a pure function. `detail` is the backend's own part. */
export interface BackendPlan<Detail = unknown> {
  readonly backend: BackendName;
  readonly applied: readonly AppliedFeature[];
  /** Consequences worth a sentence to a person; printed by `explain`. */
  readonly notes: readonly string[];
  readonly detail: Detail;
}

/** Facts of the caller that plans may depend on; gathered once, so that a plan stays a pure function. */
export interface CallerFacts {
  readonly uid: number;
  readonly gid: number;
  readonly architecture: 'x64' | 'arm64';
  /** Absolute paths of newuidmap(1) and newgidmap(1) where installed. */
  readonly newuidmap: string | undefined;
  readonly newgidmap: string | undefined;
  /** System directories and symlinks at the top of this host, for the host view: `/usr`, `/bin -> usr/bin`, ... */
  readonly topLevel: readonly TopLevelEntry[];
  /** Names in /etc that the host view shows, each existing and readable by every user. */
  readonly etcEntries: readonly TopLevelEntry[];
  /** Absolute path of a program on the caller's PATH; `undefined` where there is none. */
  program(name: string): string | undefined;
  /** Names in this host's /proc that are no processes: a fresh proc has the same. */
  readonly procEntries: ReadonlySet<string>;
  /** Names of the processors of this host in its /sys: `cpu0`. */
  readonly processors: readonly string[];
  /** How far a process of the caller may raise its own limits (setrlimit(2)), and how many processes there can be; `undefined`: no bound. */
  readonly hardLimits: { readonly openFiles: number | undefined; readonly processes: number | undefined };
  /** Which control groups this host has mounted. `hybrid`: v1 trees, and a v2 tree with what they leave. */
  readonly cgroups: CgroupLayout;
  /** Whether formats of programs can be registered on this host as it is now: its kernel has binfmt_misc, built in or loaded. */
  readonly hasFormats: boolean;
  /** What could run programs of another architecture. */
  readonly emulation: EmulationFacts;
}

export interface CgroupLayout {
  readonly version: 'v1' | 'v2' | 'hybrid' | 'none';
  /** Of the v2 tree. */
  readonly mountPoint: string | undefined;
  /** Where a control group of a sandbox's own can be made: a directory for each controller. */
  readonly parents: CgroupParents;
}

export type CgroupParents = Readonly<Partial<Record<CgroupController, CgroupParent>>>;

/** `cpuacct`: of v1, or the `cpu.stat` that every group of v2 has. */
export type CgroupController = 'memory' | 'pids' | 'cpu' | 'cpuacct';

export interface CgroupParent {
  readonly directory: string;
  /** Version 2. */
  readonly unified: boolean;
  /** Version 2, and its processes must be moved to a group below it before it can hand its controllers on. */
  readonly occupied: boolean;
}

/** What a run took, as far as it could be measured; never 0 for unknown. */
export interface Usage {
  readonly wallMs: number;
  /** Processor time of the whole sandbox, in milliseconds, set-up included; absent where it cannot be known. */
  readonly cpuUserMs?: number;
  readonly cpuSystemMs?: number;
  /** Most memory that the sandbox had at one time, in bytes; where `limits.memoryBytes` was set, and on Linux 5.19 or later, or cgroup v1. */
  readonly memoryBytes?: number;
  /** Most processes and threads that the command had at one time; where `limits.pids` was set, and the kernel counts it (pids.peak). */
  readonly pids?: number;
  /**
   * Bytes that the command wrote to stdout and stderr, as far as these were `'pipe'`, bounded or a terminal; what was cut off counts as far as it was read.
   * Absent for what went past us, to a descriptor of the caller's, and without a launcher.
   */
  readonly outputBytes?: number;
  /**
   * Most memory that one process of the sandbox had resident, in bytes (`ru_maxrss` of getrusage(2)): how much the sandbox had is `memoryBytes`. This and what
   * follows is of all processes of the sandbox, but not of a tool that makes it; absent where they had to be killed without being waited for, and without a
   * launcher.
   */
  readonly maxResidentBytes?: number;
  /** Bytes that storage was read for, and that it will be written for sooner or later; not what caches and tmpfs answered (getrusage(2)). */
  readonly readBytes?: number;
  readonly writtenBytes?: number;
  /** How often a process waited for something, and how often one had to give way to another. */
  readonly voluntaryContextSwitches?: number;
  readonly involuntaryContextSwitches?: number;
}

export interface TopLevelEntry {
  readonly name: string;
  readonly kind: 'directory' | 'file' | 'symlink';
  /** For a symlink: what it holds. */
  readonly target: string | undefined;
}

/** What the launcher gets to know beside the plan: this one call. */
export interface LaunchRequest {
  readonly command: readonly [string, ...string[]];
  /**
   * One entry per descriptor of the command, from 0: `'pipe'` makes a stream, `'ignore'` is /dev/null, `'inherit'` and numbers are
   * descriptors of this process. Entries from 3 on are extra descriptors; `undefined` leaves a gap. `'stdout'`, only for entry 2: the very
   * same open file as entry 1, so that the order of what is written is kept; there is no stderr stream then.
   */
  readonly stdio: readonly ('pipe' | 'ignore' | 'inherit' | 'stdout' | number | undefined)[];
  /** First signal of an orderly end, by name. */
  readonly killSignal: NodeJS.Signals;
  /** How long after it SIGKILL follows, in milliseconds. */
  readonly gracePeriodMs: number;
  /** For each view whose changes are captured, in the order of spec/captures.ts: a directory with empty directories `upper` and `work` of the caller's. */
  readonly captures?: readonly string[];
  /** Of a plan that joins the namespaces of a pod: descriptors of this process, in their order; the caller closes them when it has started. */
  readonly joins?: readonly number[];
  /**
   * Nobody wants streams, or to hear of anything but the end. A backend that serves it has none: it is given `input`, of at most 64 KiB, for a stdin that
   * is `'pipe'`, and hands out what comes by a stdout and stderr that are. One that does not has streams, as without it.
   */
  readonly collect?: {
    readonly input: string | Uint8Array | undefined;
    readonly onOutput: (stream: 1 | 2, bytes: Uint8Array) => void;
  };
  /** Hears of each call that the plan's filter asks about; those that `ask` wait for what it decides. Never rejects. */
  readonly onSyscall?: (call: AskedCall) => Promise<SyscallDecision>;
}

/** A system call that a filter asks about. */
export interface AskedCall {
  readonly number: number;
  /** AUDIT_ARCH_* of its ABI. */
  readonly audit: number;
  /** The six registers, in hexadecimal. */
  readonly args: readonly string[];
  /** Of the thread, as the sandbox numbers it; absent where init does not see it. */
  readonly pid?: number;
  /** What becomes of it. */
  readonly action: Exclude<SyscallAction, 'allow'>;
}

/** `errno`: its number. */
export type SyscallDecision = 'allow' | 'kill' | { readonly errno: number };

/** How a command ended, as the backend saw it. */
export interface LaunchEnd {
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  /** Who brought the end about. */
  readonly cause:
    | { readonly kind: 'command' }
    | { readonly kind: 'limit'; readonly limit: keyof Limits }
    /** `terminate()` or `kill()` of this handle. */
    | { readonly kind: 'terminated' }
    /** A signal that the launcher itself got from outside. */
    | { readonly kind: 'signalled'; readonly signal: NodeJS.Signals };
  /** The call for which the seccomp filter ended the command, where that is known: its number, and AUDIT_ARCH_* of its ABI. */
  readonly denied?: { readonly number: number; readonly audit: number };
  readonly stdoutTruncated: boolean;
  readonly stderrTruncated: boolean;
  readonly usage: Usage;
}

/** A sandbox that is being set up or runs. Streams exist at once; nothing is thrown later than through `ended`. */
export interface LaunchedProcess {
  /** The launcher's (or, on `none`, the command's) process id on the host; `undefined` when it could not even be spawned. */
  readonly pid: number | undefined;
  readonly stdin: Writable | undefined;
  readonly stdout: Readable | undefined;
  readonly stderr: Readable | undefined;
  /** Streams of extra descriptors that were `'pipe'`, by descriptor number: duplex. */
  readonly extra: ReadonlyMap<number, Readable & Writable>;
  /** Resolves when the command has been started; rejects as `ended` does when that fails. Handled inside: ignoring it is no unhandled rejection. */
  readonly started: Promise<void>;
  /** Resolves when every process of the sandbox is gone, whether all of the output has been read or not. Rejects with a LaunchError when the sandbox failed. */
  readonly ended: Promise<LaunchEnd>;
  /** Of an output at its end, once `ended` has resolved: `undefined` where that was all, else resolves when it was all, and rejects where some is lost. */
  rest?(output: 1 | 2): Promise<void> | undefined;
  /** Asks everything in the sandbox to end with `signal`; SIGKILL after the grace period. Idempotent. */
  terminate(signal?: NodeJS.Signals, gracePeriodMs?: number): void;
  /** Ends everything at once, and once it has ended what is left of its output. Idempotent. */
  kill(): void;
  /** Sends one signal to the command alone, with no further consequence. */
  signal(signal: NodeJS.Signals): void;
  /** A signal that this process itself got: as `terminate`, unless the launcher got the same one from the terminal a moment ago. */
  forward(signal: NodeJS.Signals): void;
  resize(columns: number, rows: number): void;
  /** Of a plan that holds its namespaces, once it has started: descriptors of this process, for `joins`, which the caller closes. @throws {LaunchError} when it has ended. */
  openNamespaces?(): readonly number[];
  /** For a helper process that must not keep Node alive. */
  unref(): void;
  ref(): void;
}

/** How another spawner starts the same thing. */
export interface WrappedLaunch {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What is compiled beside the plan. */
export interface CompileRequest extends Pick<LaunchRequest, 'killSignal' | 'gracePeriodMs'> {
  /** Empty: the words of each call are the command. Else they follow it. */
  readonly command: readonly string[];
  readonly facts: CompiledFacts;
}

export interface CompiledGroupPlace {
  /** Empty: version 2. */
  readonly controller: string;
  readonly mountPoint: string;
  /** What of the tree is mounted there. */
  readonly root: string;
  /** By the caller's own group. */
  readonly which: 'own' | 'above' | 'top';
}

/** What a plan was made against and no step of it would miss, and what only a library knows that is beside it. */
export interface CompiledFacts {
  readonly uid: number;
  readonly gid: number;
  /** The series: `6.1`. */
  readonly kernel: string;
  /** Whether the kernel has binfmt_misc. */
  readonly knowsFormats: boolean;
  /** Who starts it there, or below, has the command start there too. */
  readonly workspace: string | undefined;
  /** Variables to take from the caller of each call: names, or beginnings of names with a final `*`. */
  readonly inherit: readonly string[];
  /** Names that no beginning means. */
  readonly own: readonly string[];
  /** Names that were given a value, which nothing replaces. */
  readonly set: readonly string[];
  /** Of a directory in which control groups are made: how it is found again from the groups of another caller. */
  groupPlace(directory: string): CompiledGroupPlace;
  readonly processCpuMs: number | undefined;
  /** Whether `limits.fileBytes` holds. */
  readonly boundsFiles: boolean;
  /** To be said before the command starts; `style` as in ECMA-48, 0: none. */
  readonly notices: readonly { readonly style: number; readonly text: string }[];
  /** Names of system calls: `AUDIT NUMBER words`, `AUDIT any ABI`, `AUDIT x32 ABI`. */
  calls(): readonly string[];
}

export interface Backend<Detail = unknown> {
  readonly name: BackendName;
  /** What this code knows how to give, on some host. */
  readonly recognized: ReadonlySet<Feature>;
  /** Tries each recognized feature on this host, in throwaway processes; leaves nothing behind. */
  probe(): Promise<BackendReport>;
  /**
   * What will be done for `spec`. Pure. `granted` are the features to apply: those that the spec requires, less what was optional and is missing.
   */
  plan(spec: NormalizedSpec, granted: ReadonlySet<Feature>, caller: CallerFacts): BackendPlan<Detail>;
  launch(plan: BackendPlan<Detail>, request: LaunchRequest): LaunchedProcess;
  /**
   * Keeps `count` sandboxes of this plan ready for launches that `collect`, until it is closed; absent where a backend prepares nothing. Each is used once.
   */
  keepWarm?(plan: BackendPlan<Detail>, count: number): { close(): void };
  /** For `wrap()`; absent where a backend needs a running library. */
  wrap?(
    plan: BackendPlan<Detail>,
    request: Pick<LaunchRequest, 'command' | 'killSignal' | 'gracePeriodMs'>,
  ): WrappedLaunch;
  /** The content of a program that does the same by itself; absent where that needs more than our launcher and the kernel. */
  compile?(plan: BackendPlan<Detail>, request: CompileRequest): Promise<Uint8Array>;
}
