// The words of a spec. Everything here is plain data: it can be written as JSON, kept in a file, sent over a wire.
// Names come from the OCI runtime spec and the kernel's manual pages first; units are part of the name.
import type { Architecture } from './architectures.ts';
import type { RootLayer } from './layered-root.ts';

/** A number of bytes; as a string with a unit where a person writes it: `'512MiB'`, `'10kB'`. */
export type Bytes = number | string;

/** A number of milliseconds; as a string with a unit where a person writes it: `'30s'`, `'1.5min'`, `'250ms'`. */
export type Milliseconds = number | string;

/** The root file system that the command sees as `/`. */
export interface RootSpec {
  /** A directory of this host. Excludes `image`. */
  readonly path?: string;
  /**
   * An image, as `openImage` takes it: an App Container image, an OCI layout or an archive of one, an archive of `docker save`, a tar archive, or a
   * name at a registry. What it says about its command, environment, user and directory holds where the rest of the spec does not say otherwise. Excludes `path`.
   *
   * Its layers are unpacked once, below `$XDG_CACHE_HOME/sandboxlib`, by default `~/.cache`; every run starts from a clean view of them.
   */
  readonly image?: string;
  /** With `image`: takes the place of the image's own entry point, to which the command is appended. Empty: the command is all of it. */
  readonly entrypoint?: readonly string[];
  /**
   * Whether the root is mounted read-only; mounts inside it keep their own setting.
   *
   * @defaultValue `true`, but `false` where `changes` says what becomes of them, and of an image
   */
  readonly readonly?: boolean;
  /** Absolute paths inside a read-only root that stay writable, or all, or none of them. Excludes `readonly: false`, except as `'all'`. */
  readonly writablePaths?: 'all' | 'none' | readonly string[];
  /**
   * What becomes of changes. `keep`: they are written to `path` itself where that is writable. With the others nothing is: the command writes to a layer
   * above it (overlayfs), which is thrown away, or captured as `result.changes`.
   *
   * What is thrown away is in memory, at most 512 MiB of it, or `limits.diskBytes`. What is captured is below `$XDG_STATE_HOME/sandboxlib`, by
   * default `~/.local/state`, until somebody discards it.
   *
   * @defaultValue `'keep'`; of an image, which stays as it is, `'discard'`
   */
  readonly changes?: 'discard' | 'keep' | 'capture';
}

/** One mount, made in the order of the list, over the root. */
export interface MountSpec {
  /**
   * `sysfs`: what the kernel tells of itself and of the sandbox's own network namespace, without which there is none. Always read-only; firmware, power
   * meters and devices are not to be seen, but for processors, memory nodes and the loopback.
   */
  readonly type: 'bind' | 'tmpfs' | 'overlay' | 'proc' | 'dev' | 'sysfs' | 'image';
  /**
   * For `bind`: an existing file, directory or character device of this host; a relative path starts at the current directory. A symlink is
   * followed. What a device lets a program do is between the two: read-only mounts do not bear on it.
   *
   * For `overlay`: a directory, which the command sees as if it could write to it. What is mounted below it is not shown.
   *
   * For `image`: an image, as of a root, of which only the files count.
   */
  readonly source?: string;
  /** Absolute path inside the sandbox. Missing mount points are made where that leaves nothing on the host. */
  readonly destination: string;
  /**
   * Submounts of a bind's source come along and get the same setting.
   *
   * @defaultValue `true` for `bind` and `image`, and for `sysfs`, which is never anything else; `false` for `tmpfs`
   */
  readonly readonly?: boolean;
  /**
   * For `tmpfs`: how much it may hold. For `overlay`, and an `image` that is not read-only: how much the changes may take, which are in memory unless they are captured.
   *
   * @defaultValue 64 MiB, of an overlay 512 MiB. The kernel's own default would be half of the machine's memory.
   */
  readonly sizeBytes?: Bytes;
  /**
   * For `tmpfs`: permission bits of its root, as in chmod(2).
   *
   * @defaultValue `0o755`, and `0o1777` for `/tmp` and `/dev/shm`
   */
  readonly mode?: number;
  /** For `bind`: skip this mount when the source does not exist. For `sysfs`: where it cannot be had. What was skipped is in the plan's notes. */
  readonly optional?: boolean;
  /**
   * For `overlay`: what becomes of changes, as for a root.
   *
   * @defaultValue `'discard'`
   */
  readonly changes?: 'discard' | 'capture';
}

/** A directory of the host that the command works in, at its own path. */
export interface WorkspaceSpec {
  /** A directory of this host; a relative path starts at the current directory. */
  readonly path: string;
  /**
   * `overlay`: the command sees the directory and may change what it sees; the directory itself stays as it is.
   *
   * @defaultValue `'rw'`
   */
  readonly access?: 'ro' | 'rw' | 'overlay';
  /**
   * With `overlay`: what becomes of changes, as for a root.
   *
   * @defaultValue `'discard'`
   */
  readonly changes?: 'discard' | 'capture';
}

/** Environment: exactly `set`, plus those of `inherit` that the caller has. */
export interface EnvSpec {
  /**
   * Names of variables of the caller. One with a final `*` stands for all that begin so, `'*'` alone for all; neither brings in the caller's
   * `HOME`, `USER`, `LOGNAME`, `TMPDIR`, `PWD` and `OLDPWD`, which only their full names do.
   */
  readonly inherit?: readonly string[];
  /** Variables and their values; they win over what is inherited. */
  readonly set?: Readonly<Record<string, string>>;
}

/** Who the command is, in ids of the sandbox. */
export interface UserSpec {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids?: readonly number[];
}

/** A range of ids: `size` ids from `containerID` inside stand for those from `hostID` outside (user_namespaces(7)). */
export interface IdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

/** Which names and ports the command may reach. Not served yet: refused as features `network.allow` and `network.publish`. */
export interface NetworkPolicy {
  readonly allow?: readonly string[];
  readonly publish?: readonly string[];
}

/** Upper bounds. A bound and its measured usage share a name. */
export interface Limits {
  /**
   * Wall-clock time from the start of the command, in milliseconds, on a monotonic clock.
   *
   * At the bound the launcher sends `options.killSignal` to everything in the sandbox, waits `options.gracePeriodMs`, then ends it with
   * SIGKILL; `outcome` is `{ kind: 'limit', limit: 'wallMs' }`. It holds while Node's event loop is blocked.
   */
  readonly wallMs?: Milliseconds;
  /**
   * Processor time of the whole sandbox, in milliseconds: all processes together, those that have ended too, set-up included. The kernel's own account of
   * a control group (cpuacct of v1, cpu.stat of v2).
   *
   * At the bound everything in the sandbox gets SIGXCPU, and SIGKILL after `options.gracePeriodMs`; `outcome` is `{ kind: 'limit', limit: 'cpuMs' }`, also
   * where the command ended by itself beyond it.
   *
   * Named optional, and without a control group: `limits.cpuMs.approximate`, of what the launcher sees every 2 to 10 ms, set-up not included. Of a process
   * whose parent ignores SIGCHLD it misses what it did since it was last seen.
   */
  readonly cpuMs?: Milliseconds;
  /**
   * Processor time of each process by itself, in milliseconds, rounded up to whole seconds: `RLIMIT_CPU` (setrlimit(2)). It needs no control group.
   *
   * At the bound the kernel sends SIGXCPU, one second later SIGKILL; `outcome` is `{ kind: 'limit', limit: 'processCpuMs' }` where the command itself
   * met it. A command that starts children escapes it: `cpuMs` counts them together.
   */
  readonly processCpuMs?: Milliseconds;
  /** Processors' worth of time, such as `1.5`, for the whole sandbox: a quota of its control group. Beyond it processes wait; nothing is ended. At least 0.01. */
  readonly cpus?: number;
  /**
   * Memory of the whole sandbox, in bytes: of all processes, of its tmpfs mounts, and of the kernel on their behalf, in a control group without swap.
   *
   * Beyond it the kernel kills a process of the sandbox, and the launcher the rest; `outcome` is `{ kind: 'limit', limit: 'memoryBytes' }`, by the kernel's
   * own counts.
   *
   * Named optional, and without a control group: `limits.memoryBytes.approximate`. Memory of the processes alone, without files, page by page, of what the
   * launcher sees every 2 to 20 ms; beyond it the launcher ends the sandbox. It misses what is given back before it is seen, files in tmpfs mounts and memfd_create(2)
   * unless they are mapped from there without a name, and what the kernel needs; `usage.memoryBytes` is absent.
   */
  readonly memoryBytes?: Bytes;
  /**
   * Processes and threads of the command at one time: a control group's.
   *
   * Beyond it a fork(2) fails with EAGAIN, and the launcher ends the sandbox with SIGKILL; `outcome` is `{ kind: 'limit', limit: 'pids' }`.
   *
   * Named optional, and without a control group: `limits.pids.approximate`, on Linux 5.14 for an ordinary user. One more can be there: the launcher ends the
   * sandbox when it sees that, every 2 to 50 ms. Beyond that fork(2) fails with EAGAIN (`RLIMIT_NPROC` of the user namespace), which is no verdict if nobody saw it.
   */
  readonly pids?: number;
  /** One more than the highest descriptor number that a process may open: `RLIMIT_NOFILE`. Beyond it open(2) fails with EMFILE. */
  readonly openFiles?: number;
  /** Size of any file that a process writes, in bytes: `RLIMIT_FSIZE`. Beyond it the process gets SIGXFSZ, or EFBIG where it ignores that. */
  readonly fileBytes?: Bytes;
  /** Stack of a process's first thread, in bytes: `RLIMIT_STACK`. Beyond it the process gets SIGSEGV. */
  readonly stackBytes?: Bytes;
  /**
   * Size of a core file, in bytes: `RLIMIT_CORE`.
   *
   * @defaultValue 0: a crash writes no core file. A host whose core_pattern is a pipe ignores this bound (core(5)).
   */
  readonly coreBytes?: Bytes;
  /**
   * Bytes that the command may write to stdout and stderr together.
   *
   * The launcher passes on exactly that many, then ends the sandbox with SIGKILL; `outcome` is `{ kind: 'limit', limit: 'outputBytes' }`.
   */
  readonly outputBytes?: Bytes;
  /**
   * Bytes that the command may keep in all directories together that are the sandbox's own: `/tmp`, `$HOME`, `/dev/shm`, and the tmpfs mounts of the spec, of which those with
   * `sizeBytes` have that much of it for themselves. They are in memory; what is mounted from the host has no bound here. Files and directories count 4096 bytes each at
   * least.
   *
   * Changes of views count too, thrown away or captured: the latter come to the disk when the command has ended.
   *
   * Beyond it write(2) fails with ENOSPC; nothing is ended.
   */
  readonly diskBytes?: Bytes;
}

/**
 * Which system calls the command may make: the `linux.seccomp` object of an OCI config, or the profile file of a container engine (Docker, podman),
 * whose own keys are resolved as the engine does. `docs/seccomp.md` says what it means where those documents leave it open.
 *
 * @see config-linux.md of the OCI runtime spec, "Seccomp"; seccomp(2).
 */
export interface OciSeccomp {
  /**
   * What happens to a call that no rule fits: `SCMP_ACT_ALLOW`, `SCMP_ACT_ERRNO`, `SCMP_ACT_KILL_PROCESS`, `SCMP_ACT_KILL_THREAD` (also
   * `SCMP_ACT_KILL`), `SCMP_ACT_TRAP`, `SCMP_ACT_LOG`. `SCMP_ACT_NOTIFY` and `SCMP_ACT_TRACE` are refused: nobody would answer.
   */
  readonly defaultAction: string;
  /**
   * For `SCMP_ACT_ERRNO`, 0 to 4095.
   *
   * @defaultValue 1, EPERM
   */
  readonly defaultErrnoRet?: number;
  /** The same by its name, `'ENOSYS'`; podman's word, which goes before the number. */
  readonly defaultErrno?: string;
  /**
   * ABIs that programs may use beside the machine's own, such as `SCMP_ARCH_X86`; those of other machines are passed over. A program that uses any
   * other is killed.
   */
  readonly architectures?: readonly string[];
  /** An engine's word for `architectures`: the entry of this machine counts. */
  readonly archMap?: readonly OciSeccompArchitecture[] | null;
  /** Flags of seccomp(2): none is served, so that only an empty list is taken. */
  readonly flags?: readonly string[];
  /** In order: the first whose tests all hold decides. */
  readonly syscalls?: readonly OciSeccompRule[] | null;
}

export interface OciSeccompArchitecture {
  readonly architecture: string;
  readonly subArchitectures?: readonly string[] | null;
}

export interface OciSeccompRule {
  /** By the names of Linux. One that no machine has is an error, unless `seccompUnknownSyscalls` is `'ignore'`. */
  readonly names?: readonly string[];
  /** An engine's older word for one name. */
  readonly name?: string;
  readonly action: string;
  readonly errnoRet?: number;
  /** The same by its name; podman's word, which goes before the number. */
  readonly errno?: string;
  /** All must hold; no argument may be tested twice in one rule, because runtimes disagree about what that means. */
  readonly args?: readonly OciSeccompArg[] | null;
  /** An engine's word: the rule counts only where all of this holds. */
  readonly includes?: OciSeccompCondition | null;
  /** An engine's word: the rule does not count where any of this holds. */
  readonly excludes?: OciSeccompCondition | null;
  readonly comment?: string;
}

/** Arguments are unsigned 64-bit numbers. For `SCMP_CMP_MASKED_EQ`: `(argument & value) === (valueTwo & value)`. */
export interface OciSeccompArg {
  /** 0 to 5. */
  readonly index: number;
  /** From 2^53 on as a bigint or as text, `'0xffffffffffffffff'`: a JavaScript number would be another one. */
  readonly value: number | bigint | string;
  readonly valueTwo?: number | bigint | string;
  readonly op: string;
}

export interface OciSeccompCondition {
  /** As Go calls them: `amd64`, `arm64`. */
  readonly arches?: readonly string[] | null;
  /** Of those that the command keeps. */
  readonly caps?: readonly string[] | null;
  /** The kernel has this release, or a later one: `'4.8'`. */
  readonly minKernel?: string | null;
}

/**
 * What becomes of a system call that the profile lets through: `log`: it goes on, and the caller is told of it; `errno`: it fails; `kill`: its process is
 * ended, and where that is the command itself `outcome` is `denied`; `ask`: the caller's `onSyscall` decides; `allow`: it goes on, and nobody is told.
 */
export type SyscallAction = 'allow' | 'log' | 'errno' | 'kill' | 'ask';

/**
 * A rule for single system calls, by seccomp user notification (seccomp_unotify(2), Linux 5.5).
 *
 * It sees numbers and registers. What a pointer leads to may be changed by another thread after it was looked at, so that a decision on it, on a path or
 * an address, observes and is no boundary; a decision on the registers is as good as that of a filter.
 */
export interface SyscallRule {
  /** By the names of Linux; one that no machine has is an error. */
  readonly names: readonly string[];
  readonly action: SyscallAction;
  /**
   * Of the action `errno`: the name of an error.
   *
   * @defaultValue `'EPERM'`
   */
  readonly errno?: string;
  /** All must hold; no argument may be tested twice in one rule. */
  readonly args?: readonly OciSeccompArg[];
}

/**
 * What the command may do below a path: read (`ro`), also execute (`rox`), also write, create, remove, rename and use devices (`rw`), all of it (`rwx`).
 * A file of its own may be named too.
 */
export type LandlockAccess = 'ro' | 'rox' | 'rw' | 'rwx';

/** What a command is kept from reaching outside of itself: abstract unix sockets, and processes by signals. */
export type LandlockScope = 'abstract-unix-socket' | 'signal';

/**
 * What Landlock leaves to the command: a second wall behind the mounts, put on after all else but the filter, and never taken off. What is not
 * mentioned here is not restricted by it; descriptors that are open already keep working.
 *
 * @see landlock(7), the kernel's Documentation/userspace-api/landlock.rst
 */
export interface LandlockSpec {
  /**
   * Absolute paths inside the sandbox, and what may be done below each; a symlink in one is refused, for an earlier run may have left it. With this member everything else is denied (EACCES): also to
   * execute the command itself, its loader, and to read its libraries, unless a path covers them. What covers more than one allows what either does.
   *
   * The kernel does not restrict what belongs to no right of Landlock: stat(2), chdir(2), chmod(2), chown(2), setxattr(2), utime(2), fcntl(2), access(2); nor a
   * connection to a unix socket by its path. A program that may be read can be run by its loader (`ld.so PROGRAM`) where that may be executed.
   *
   * Needs Linux 6.2 (ABI 3): before it truncate(2) passes. ioctl(2) on devices is denied beside `rw` and `rwx` from Linux 6.10 (ABI 5) on.
   */
  readonly paths?: Readonly<Record<string, LandlockAccess>>;
  /**
   * TCP ports that may be bound; an empty list: none; 0: one that the kernel chooses. Needs Linux 6.7 (ABI 4).
   *
   * A socket that is never bound may still listen, at a port that the kernel chooses (listen(2)): Landlock does not see that.
   */
  readonly bindTcp?: readonly number[];
  /**
   * TCP ports that may be connected to, at whatever address; an empty list: none. Needs Linux 6.7 (ABI 4).
   *
   * With this or `bindTcp`, MPTCP, SMC, RDS, TCP Fast Open, io_uring and TCP_ULP are refused by a filter: Landlock does not see them. UDP is not restricted.
   */
  readonly connectTcp?: readonly number[];
  /** What of outside is out of reach. Needs Linux 6.12 (ABI 6). */
  readonly scopes?: readonly LandlockScope[];
}

/** What is wanted. Everything left out has the safe default of `docs/getting-started.md`. */
export interface SandboxSpec {
  /**
   * The root: a directory, or more in detail. A string with a slash is a path.
   *
   * @defaultValue the host view: the system directories of this host, read-only, and nothing of `/home`, `/root`, `/var`, `/run`, `/mnt`
   */
  readonly root?: string | RootSpec;
  /**
   * Mounts over the root, in order; a string is `SOURCE:DESTINATION[:ro|:rw]`, a bind mount, in which `\\:` stands for a colon of a path. The
   * workspace comes before those that lie in it, and after all others.
   */
  readonly mounts?: readonly (MountSpec | string)[];
  /** A directory that the command sees at its own path and starts in. A string is a path with access `rw`. */
  readonly workspace?: string | WorkspaceSpec;
  /**
   * Absolute directory inside the sandbox in which the command starts.
   *
   * @defaultValue the workspace, else `$HOME` of the sandbox
   */
  readonly cwd?: string;
  /**
   * Environment of the command: only what is named here, over a small clean default (`PATH`, `HOME`, `USER`, `LOGNAME`, `LANG`, `TMPDIR`, and
   * `TERM` on a terminal). A plain record is `set`.
   */
  readonly env?: Readonly<Record<string, string>> | EnvSpec;
  /** @defaultValue `'sandbox'` */
  readonly hostname?: string;
  /** @defaultValue `0o022` */
  readonly umask?: number;
  /**
   * Who the command is inside: ids, or `'name'`, `'name:group'`, `'1000:1000'`; names are looked up inside the root. A name alone also has the
   * groups that list it, as far as they are mapped.
   *
   * @defaultValue the caller's own uid and gid
   */
  readonly user?: UserSpec | string;
  /**
   * How uids inside stand for uids outside; `'subordinate'`: 0 or `user` is the caller, the rest the caller's ranges of `/etc/subuid`.
   *
   * @defaultValue for root every id as itself; for an ordinary user the one id that it has
   */
  readonly uidMappings?: readonly IdMapping[] | 'subordinate';
  /** How gids inside stand for gids outside; as `uidMappings`, with `/etc/subgid`. */
  readonly gidMappings?: readonly IdMapping[] | 'subordinate';
  /**
   * `none`: a network namespace with only its own loopback. `host`: the host's network, all of it.
   *
   * @defaultValue `'none'`
   */
  readonly network?: 'none' | 'host' | NetworkPolicy;
  /** Upper bounds; what is left out has none, but for `coreBytes`. */
  readonly limits?: Limits;
  /**
   * Which system calls the command may make, from its first instruction on. Nothing inside takes the filter off again.
   *
   * `'strict'`: read, write, exit, exit_group and the return from a signal handler; any other call ends the process with SIGSYS, and so does the
   * start of a dynamic program or of a C library. An object: a profile of your own.
   *
   * @defaultValue `'default'`: the profile of `docs/seccomp.md`
   * @throws {SpecError} `SBX_SPEC_INVALID` with every issue and its path, also where the filter would be longer than the kernel takes (4096 instructions).
   * @see seccomp(2), `docs/seccomp.md`
   * @example seccomp: { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['execve', 'execveat'], action: 'SCMP_ACT_ERRNO' }] }
   */
  readonly seccomp?: 'default' | 'strict' | 'unconfined' | OciSeccomp;
  /**
   * What a profile's names of system calls are that no machine has: an error, since a misspelt name would leave a hole, or nothing, for profiles that
   * know a newer kernel than this library. Only for a profile of your own.
   *
   * @defaultValue `'error'`
   */
  readonly seccompUnknownSyscalls?: 'error' | 'ignore';
  /**
   * What becomes of single calls beyond the profile: the first rule whose tests all hold decides; without one the call goes on. A profile that refuses a call
   * goes before. Each call but those that are allowed costs a round trip to init (some 10 us), and those that are told one to this process, which they wait for when
   * 64 were not heard yet.
   *
   * @defaultValue nothing is asked
   * @example onSyscall: [{ names: ['connect'], action: 'ask' }, { names: ['mkdir', 'mkdirat'], action: 'log' }]
   */
  readonly onSyscall?: readonly SyscallRule[];
  /**
   * Capabilities that the command keeps, within its own user namespace: `'CAP_CHOWN'`, ... (capabilities(7)).
   *
   * @defaultValue none
   */
  readonly capabilities?: readonly string[];
  /**
   * Paths, ports and scopes that Landlock leaves to the command.
   *
   * @defaultValue nothing is restricted by it
   * @example { landlock: { paths: { '/usr': 'rox', '/dev/null': 'rw' }, connectTcp: [443] } }
   */
  readonly landlock?: LandlockSpec;
  /** Not served yet. */
  readonly selinux?: string;
  /** Run on a pseudo-terminal of the sandbox's own; stdin, stdout and stderr are that one terminal. */
  readonly terminal?: boolean | TerminalSize;
  /**
   * What the programs of the root are made for, where that is not this host's own.
   *
   * The kernel hands them to a static user-mode QEMU of this host, by a table of formats (binfmt_misc) that belongs to the sandbox; without
   * one, the kernel of an x64 host may run i386 programs itself. Programs of the host's own architecture run as ever. A dynamic program finds its loader and libraries in the root.
   *
   * @defaultValue that of this host
   * @throws {FeatureError} `SBX_FEATURE_UNAVAILABLE` without such a QEMU, or before Linux 6.7 unless the host has registered the format.
   * @example { root: './arm64-root', architecture: 'arm64' }
   */
  readonly architecture?: Architecture;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

// What normalization makes of a spec: every default filled in, every path absolute and checked, every unit resolved.

export interface NormalizedMount {
  readonly type: 'bind' | 'tmpfs' | 'overlay' | 'proc' | 'dev' | 'sysfs';
  /** Absolute; only for `bind` and `overlay`. */
  readonly source: string | undefined;
  readonly sourceKind: 'directory' | 'file' | 'device' | undefined;
  readonly destination: string;
  readonly readonly: boolean;
  /** Of a `tmpfs`, and of the changes of an `overlay`; `undefined` where it has its share of `limits.diskBytes`, or they are captured. */
  readonly sizeBytes: number | undefined;
  readonly mode: number | undefined;
  /** Of an `overlay`; absent where it is read-only, which only images are. */
  readonly changes?: 'discard' | 'capture' | undefined;
  /** Of an image: the layers below `source`, the uppermost first. */
  readonly layers?: readonly string[] | undefined;
  /** Where in the spec it came from, for messages: `mounts[2]`. */
  readonly origin: string;
}

export interface NormalizedRoot {
  readonly kind: 'host' | 'directory' | 'image';
  /** Absolute, symlinks resolved; `undefined` for the host view; of an image its uppermost layer. */
  readonly path: string | undefined;
  /** Of an image: all of them, the uppermost first. */
  readonly layers: readonly RootLayer[];
  /** What it was named by. */
  readonly image: string | undefined;
  readonly readonly: boolean;
  /** `keep` for the host view, which is made from nothing each time, and where the root is read-only. */
  readonly changes: 'discard' | 'keep' | 'capture';
  /** Absolute paths inside the root; empty where `readonly` is false. */
  readonly writablePaths: readonly string[];
  /** Mount points that the root does not have (directory roots; always empty for the host view, which is made from nothing). */
  readonly missingMountPoints: readonly { readonly path: string; readonly kind: 'directory' | 'file' }[];
  /** Directories on the way to those that the root does have, and which of the layers shows what each is like, 0 where there is one; those inside of others first. */
  readonly coveredDirectories: readonly { readonly path: string; readonly layer: number }[];
  /** Of an image that has no /etc/hosts, without a network: its place. */
  readonly hostsFile: string | undefined;
}

/** A filter that was compiled for this spec. */
export interface NormalizedSeccomp {
  readonly kind: 'strict' | 'custom';
  /** The rules that count here, without an engine's words. */
  readonly profile: OciSeccomp;
  /** `struct sock_filter`, 8 bytes each, in base64. */
  readonly filter: string;
  /** Instructions that take the launcher's pass, the high half and the low half by turns (native/README.md). */
  readonly pass: readonly number[];
  /** Whether it refuses keyctl, add_key and request_key whatever their arguments. */
  readonly deniesKeyrings: boolean;
}

/** The profile and the rules, as one filter that asks. */
export interface NormalizedOnSyscall extends Pick<NormalizedSeccomp, 'filter' | 'pass' | 'deniesKeyrings'> {
  readonly rules: readonly SyscallRule[];
}

/** Of paths and ports: `undefined`: not restricted; an empty list: nothing is left. */
export interface NormalizedLandlock {
  readonly paths: readonly { readonly path: string; readonly access: LandlockAccess }[] | undefined;
  readonly bindTcp: readonly number[] | undefined;
  readonly connectTcp: readonly number[] | undefined;
  readonly scopes: readonly LandlockScope[];
  /** Beside ports, a seccomp filter for the ways to them that Landlock does not see: `struct sock_filter`, 8 bytes each, in base64. */
  readonly portsFilter: string | undefined;
}

export interface NormalizedSpec {
  readonly root: NormalizedRoot;
  readonly mounts: readonly NormalizedMount[];
  /** A mount of `mounts` that is the workspace, by its absolute path. */
  readonly workspace: { readonly path: string; readonly access: 'ro' | 'rw' | 'overlay' } | undefined;
  readonly cwd: string;
  /** Whether the caller named `cwd` or a workspace: a default directory may be made, a named one must exist. */
  readonly cwdGiven: boolean;
  readonly env: Readonly<Record<string, string>>;
  readonly home: string;
  readonly hostname: string;
  readonly umask: number;
  readonly user: {
    readonly uid: number;
    readonly gid: number;
    readonly additionalGids: readonly number[];
    readonly name: string;
  };
  readonly idMappings: {
    readonly uid: readonly IdMapping[];
    readonly gid: readonly IdMapping[];
    /** The caller is root and may map any id of its own user namespace, and set groups there: it has CAP_SETUID and CAP_SETGID. */
    readonly privileged: boolean;
    /** Ranges that only the set-user-ID helpers newuidmap(1) and newgidmap(1) may write for this caller. */
    readonly needsHelper: boolean;
  };
  readonly network: 'none' | 'host';
  readonly limits: {
    readonly wallMs?: number;
    readonly cpuMs?: number;
    readonly processCpuMs?: number;
    readonly cpus?: number;
    readonly memoryBytes?: number;
    readonly pids?: number;
    readonly openFiles?: number;
    readonly fileBytes?: number;
    readonly stackBytes?: number;
    readonly coreBytes: number;
    readonly outputBytes?: number;
    /** Less what tmpfs mounts have for themselves. */
    readonly diskBytes?: number | undefined;
  };
  readonly seccomp: 'default' | 'unconfined' | NormalizedSeccomp;
  readonly onSyscall: NormalizedOnSyscall | undefined;
  readonly capabilities: readonly string[];
  readonly landlock: NormalizedLandlock | undefined;
  readonly terminal: TerminalSize | true | undefined;
  /** As the spec names it, this host's own too. */
  readonly architecture: Architecture | undefined;
  /** Things skipped because the spec allowed it (optional mounts), in words. */
  readonly notes: readonly string[];
}
