// The steps of a plan, as data that survives JSON. `native/README.md` has them byte by byte; `native/plan.h` has the same names and numbers, and
// a test compares the three. TypeScript decides, the launcher only performs.
import type { CapabilityName } from '../../spec/capabilities.ts';
import type { NormalizedLandlock } from '../../spec/types.ts';

export const PROTOCOL = 1;

/** Records of a plan, with their numbers, in the order of the phases in which they may appear. */
export const recordTypes = {
  // performed by the launcher before and while it makes init
  namespaces: 1,
  'map-ids': 2,
  'limit-wall': 3,
  'limit-output': 4,
  termination: 5,
  terminal: 6,
  descriptor: 7,
  cgroup: 8,
  'limit-cpu': 9,
  pipes: 10,
  sampling: 11,
  collect: 12,
  hold: 13,
  join: 14,
  // performed by init, in the order given
  hostname: 20,
  loopback: 21,
  root: 22,
  mount: 23,
  readonly: 24,
  mask: 25,
  mkdir: 26,
  symlink: 27,
  file: 28,
  sysctl: 29,
  pivot: 30,
  disk: 31,
  binfmt: 32,
  source: 33,
  content: 34,
  tree: 35,
  'user-namespace': 36,
  domain: 37,
  layer: 38,
  tool: 39,
  // performed by the command's process, in the order given
  rlimit: 40,
  umask: 41,
  user: 42,
  capabilities: 43,
  cwd: 44,
  seccomp: 45,
  exec: 46,
  landlock: 47,
} as const;

export type RecordType = keyof typeof recordTypes;

/** Steps that are no records: what the launcher does in every run. */
export const fixedSteps = [
  'plan',
  'clone',
  'session',
  'signals',
  'scheduling',
  'descriptors',
  'keyring',
  'no-new-privileges',
  'relay',
  'fork',
  'init',
  'lost',
  'capture',
] as const;
export type LaunchStep = RecordType | (typeof fixedSteps)[number];

export const namespaceFlags = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: 0x10000000,
  pid: 0x20000000,
  network: 0x40000000,
} as const;
export type NamespaceName = keyof typeof namespaceFlags;

export const mountKinds = {
  bind: 0,
  tmpfs: 1,
  proc: 2,
  devpts: 3,
  mqueue: 4,
  sysfs: 5,
  tree: 6,
  disk: 7,
  overlay: 8,
} as const;
export type MountKind = keyof typeof mountKinds;

export const mountFlags = {
  readonly: 1,
  recursive: 2,
  nosuid: 4,
  nodev: 8,
  noexec: 16,
  /** Make a missing mount point. */
  create: 32,
  /** Skip when the source or the destination does not exist. */
  ifExists: 64,
  /** `source` is a path inside the new root. */
  sourceInRoot: 128,
  /** `source` is a path inside the directory that the root shows, writable as that is. */
  sourceOfRoot: 256,
  /** `source` was resolved already: a symlink in it is somebody's trick, and refused. */
  sourceWithoutLinks: 512,
  /** Not a new mount, but new options for a tmpfs that a tool made. */
  remount: 1024,
  /** Of an overlay: `options` is a directory of the host that holds the layer above, and keeps it. */
  captures: 2048,
} as const;
export type MountFlag = keyof typeof mountFlags;

/** What a control group bounds, or counts. */
export const cgroupContents = { memory: 1, pids: 2, 'processor-time': 4 } as const;
export type CgroupContent = keyof typeof cgroupContents;

/**
 * `host`: the host's own root, to mount over, before a tool; `chroot`: only entered, without a mount. Overlays: `overlay` is read-only, `scratch` has a layer
 * above in memory, `capture` one in a directory of the host.
 */
export const rootKinds = { tmpfs: 0, bind: 1, overlay: 2, host: 3, chroot: 4, scratch: 5, capture: 6 } as const;
export type RootKind = keyof typeof rootKinds;

/** Of a tool: its way to the supervisor, and the launcher itself; sources follow from 10 on. */
export const toolDescriptors = { socket: 3, launcher: 4, firstSource: 10 } as const;

/** What a tool is to run in the sandbox that it makes, where the descriptors arrive there and /proc is mounted. */
export const INIT_INSIDE: readonly string[] = [
  `/proc/self/fd/${toolDescriptors.launcher}`,
  'inside',
  '--socket-fd',
  String(toolDescriptors.socket),
];

/** What the apps of a pod have in common, in the order of `join`. */
export const podNamespaces: readonly NamespaceName[] = ['user', 'pid', 'network', 'ipc', 'uts', 'cgroup'];

/** What the launcher is to do: everything but `termination`, `descriptor` and `exec`, which belong to the single call. */
export interface LauncherPlan {
  readonly steps: readonly Step[];
  readonly env: Readonly<Record<string, string>>;
}

export interface PlanIdMapping {
  readonly inside: number;
  readonly outside: number;
  readonly size: number;
}

/** `flags`, `magic` and `mask`, the latter in base64, are those of Documentation/admin-guide/binfmt-misc.rst; the offset is 0. */
export interface PlanFormat {
  readonly name: string;
  readonly interpreter: string;
  readonly flags: string;
  readonly magic: string;
  readonly mask: string;
}

export type SkeletonEntry =
  | { readonly kind: 'directory' | 'file'; readonly path: string }
  /** With the owner and mode that it has in that layer: 0 is the source, the others are the `layer` steps. */
  | { readonly kind: 'like'; readonly path: string; readonly layer: number }
  /** `content`: base64. */
  | { readonly kind: 'content'; readonly path: string; readonly content: string };

export const skeletonKinds = { directory: 0, file: 1, like: 2, content: 3 } as const;

export type Step =
  | { readonly step: 'namespaces'; readonly namespaces: readonly NamespaceName[] }
  /** `helper`: path of newuidmap or newgidmap; `undefined`: the launcher writes the file itself. */
  | {
      readonly step: 'map-ids';
      readonly kind: 'uid' | 'gid';
      readonly denySetgroups: boolean;
      readonly mappings: readonly PlanIdMapping[];
      readonly helper: string | undefined;
    }
  | { readonly step: 'limit-wall'; readonly milliseconds: number }
  | { readonly step: 'limit-output'; readonly bytes: number }
  | { readonly step: 'termination'; readonly signal: number; readonly gracePeriodMs: number }
  /** 0 columns and rows: as the launcher's own terminal. */
  | { readonly step: 'terminal'; readonly columns: number; readonly rows: number }
  /** The launcher's descriptor `from` becomes the command's `to`: both from 3 on, or 1 and 2 for stderr into stdout. */
  | { readonly step: 'descriptor'; readonly from: number; readonly to: number }
  /** A control group below `parent`, a directory of a mounted tree, with these values in its files; `own`: how many processes in it are not the command's. */
  | {
      readonly step: 'cgroup';
      readonly holds: readonly CgroupContent[];
      readonly unified: boolean;
      /** Move the processes of `parent` to a group below it, and let it hand on its controllers. */
      readonly vacate: boolean;
      readonly own: number;
      readonly parent: string;
      readonly files: readonly { readonly name: string; readonly value: string; readonly optional: boolean }[];
    }
  /** Of all that the group that counts it ever held. */
  | { readonly step: 'limit-cpu'; readonly milliseconds: number }
  /** Without control groups: of all processes of the sandbox, as they are seen from time to time. `undefined`: no bound; one there is. */
  | {
      readonly step: 'sampling';
      readonly milliseconds: number | undefined;
      readonly bytes: number | undefined;
      readonly processes: number | undefined;
    }
  /** Between these of the launcher's descriptors and the command is a pipe, which the launcher fills and empties; not on a terminal. */
  | { readonly step: 'pipes'; readonly streams: readonly (0 | 1 | 2)[] }
  /**
   * What comes by the pipes of stdout and stderr goes to the caller between the status lines, and the caller hears of nothing else but the end. `input`: what
   * the pipe of stdin holds, at most 64 KiB; absent where there is no such pipe. `waits`: for the
   * arguments of the exec, which has none, and which an order brings.
   */
  | {
      readonly step: 'collect';
      readonly input: string | Uint8Array | undefined;
      readonly waits?: 'before the filter' | 'behind the filter';
    }
  /** The launcher holds the namespaces open for others, which name them by `join`. */
  | { readonly step: 'hold' }
  /** In place of namespaces of its own, all but that of mounts: descriptors of the launcher's, in the order of `podNamespaces`. */
  | { readonly step: 'join'; readonly namespaces: readonly number[]; readonly uid: number; readonly gid: number }
  | { readonly step: 'hostname'; readonly hostname: string }
  | { readonly step: 'loopback' }
  /** A file system of which the mounts of kind `disk` are parts, bounded together. `options`: tmpfs mount data. Before the root. */
  | { readonly step: 'disk'; readonly options: string }
  /** A directory below the source of the overlay that comes next, a root or a mount; the uppermost first. Such a mount may be read-only. */
  | { readonly step: 'layer'; readonly path: string }
  /**
   * `skeleton`: only for overlays: mount points that the source lacks, and what else lies above it. `options`: tmpfs mount data, for `scratch` empty where it is a part of the disk; for
   * `capture` the directory of the layer above.
   */
  | {
      readonly step: 'root';
      readonly kind: RootKind;
      readonly readonly: boolean;
      readonly source: string;
      readonly options: string;
      readonly skeleton: readonly SkeletonEntry[];
    }
  /** `options`: for `tmpfs` mount data, for `disk` ownership, for `overlay` as for a root that is one. */
  | {
      readonly step: 'mount';
      readonly kind: MountKind;
      readonly flags: readonly MountFlag[];
      readonly sourceKind: 'any' | 'directory' | 'file';
      readonly source: string;
      readonly destination: string;
      readonly options: string;
    }
  | { readonly step: 'readonly'; readonly path: string }
  | { readonly step: 'mask'; readonly path: string }
  | { readonly step: 'mkdir'; readonly mode: number; readonly path: string }
  | { readonly step: 'symlink'; readonly target: string; readonly path: string }
  /** `content` is base64. */
  | { readonly step: 'file'; readonly mode: number; readonly path: string; readonly content: string }
  /** Writes `value` to `/proc/sys/NAME` through the launcher's own descriptor of the fresh proc. */
  | { readonly step: 'sysctl'; readonly name: string; readonly value: string }
  | { readonly step: 'pivot' }
  /** What a tool finds open as descriptor `number`: a file of the host, opened without following links. */
  | {
      readonly step: 'source';
      readonly number: number;
      readonly sourceKind: 'any' | 'directory' | 'file';
      readonly path: string;
    }
  /** The same with a file in memory; `content` is base64. */
  | { readonly step: 'content'; readonly number: number; readonly content: string }
  /** A directory or file of the host with what is mounted below it by then, to be mounted by its number: trees count from 0 in their order. */
  | { readonly step: 'tree'; readonly sourceKind: 'any' | 'directory' | 'file'; readonly path: string }
  /** Inside of a tool: a user namespace in which the one id that init has is `uid`, and `gid`. */
  | { readonly step: 'user-namespace'; readonly uid: number; readonly gid: number }
  /**
   * No namespace and no root: the command runs in the view of the caller. With `closesSignals` in a domain of Landlock, out of which no signal goes and
   * in which init ends all that is in it at once (Linux 6.12); the command needs one more of its own, or it could signal init.
   */
  | { readonly step: 'domain'; readonly closesSignals: boolean }
  /** Another program makes the sandbox, and starts init inside of it as `INIT_INSIDE`; what follows is performed there. */
  | {
      readonly step: 'tool';
      /** The signal by which it is ended at once; 0: none, it ends by itself when init does. After some seconds SIGKILL all the same. */
      readonly endSignal: number;
      /** By ptrace(2), so that it must be able to read the memory of init too. */
      readonly traces: boolean;
      readonly argv: readonly string[];
      readonly env: Readonly<Record<string, string>>;
    }
  /**
   * A table of formats of programs for the sandbox alone. `around`: in a user namespace around the sandbox's, in which the caller is uid 0 and
   * gid 0, so that the `outside` of `map-ids` is 0; else in that of the sandbox, which must map both.
   */
  | {
      readonly step: 'binfmt';
      readonly around: boolean;
      /** Do without where user namespaces have no tables. Only for one that is empty, which hides the host's. */
      readonly ifPossible: boolean;
      readonly formats: readonly PlanFormat[];
    }
  /** `undefined`: no bound (RLIM_INFINITY), lowered to the hard limit of the caller. */
  | {
      readonly step: 'rlimit';
      readonly resource: number;
      readonly soft: number | undefined;
      readonly hard: number | undefined;
    }
  | { readonly step: 'umask'; readonly umask: number }
  | {
      readonly step: 'user';
      readonly uid: number;
      readonly gid: number;
      readonly setgroups: boolean;
      readonly additionalGids: readonly number[];
    }
  | { readonly step: 'capabilities'; readonly keep: readonly CapabilityName[] }
  | { readonly step: 'cwd'; readonly path: string }
  /** `struct sock_filter`, 8 bytes each, in the byte order of the machine; all of them in base64. */
  | {
      readonly step: 'seccomp';
      readonly filter: string;
      /** It refuses every call that reaches keyrings, so that the command may do without a fresh one. */
      readonly deniesKeyrings: boolean;
      /** Where it kills, init does it, and tells which call it was, if it can be (native/notify.h). */
      readonly tells: boolean;
      /** It has questions, which init answers (native/notify.h). */
      readonly asks: boolean;
      /** Instructions that take half of the launcher's pass each, the high half and the low half by turns. */
      readonly pass: readonly number[];
    }
  | ({ readonly step: 'landlock' } & Omit<NormalizedLandlock, 'portsFilter'>)
  | { readonly step: 'exec'; readonly argv: readonly string[]; readonly env: Readonly<Record<string, string>> };
