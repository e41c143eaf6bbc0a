// The shape of the option table, and what its entries write into. The table itself is in options.ts.

import type { BuildCompression } from '../archive/compressions.ts';
import type { BackendName } from '../backends/backend.ts';
import type { Feature } from '../features/feature.ts';
import type { ArchiveLimits } from '../image/archive/limits.ts';
import type { ImageOptions } from '../image/open/open.ts';
import type { ToolName } from '../run/as/tools.ts';
import type {
  IdMapping,
  LandlockAccess,
  LandlockSpec,
  Limits,
  MountSpec,
  RootSpec,
  SandboxSpec,
  SyscallRule,
  WorkspaceSpec,
} from '../spec/types.ts';

/** Where options count: a run, or a word that is the very first argument. */
export const subcommands = [
  'explain',
  'compile',
  'pod',
  'changes',
  'doctor',
  'backends',
  'image',
  'completion',
  'help',
] as const;
export type Subcommand = (typeof subcommands)[number];
export type Mode = 'run' | Subcommand;

export const groups = [
  'Files',
  'Process',
  'Identity',
  'Network',
  'Limits',
  'Isolation',
  'Images',
  'This run',
  'Output',
] as const;
export type Group = (typeof groups)[number];

export interface Option {
  /** Without the dashes. */
  readonly name: string;
  readonly short?: string;
  /** What the value is called; absent for a flag. */
  readonly value?: string;
  /** The value may be left out, so it has to be attached: `--name=VALUE`. */
  readonly valueOptional?: true;
  readonly repeatable?: true;
  /** Options of one key exclude each other. By default each has its own. */
  readonly key?: string;
  readonly group: Group;
  /** By default `run`, `explain` and `compile`. */
  readonly modes?: readonly Mode[];
  /** Where in the spec it ends up: `limits.memoryBytes`. */
  readonly sets?: string;
  /** One line, for `--help`. */
  readonly help: string;
  /** Further sentences, for the manual. */
  readonly details?: string;
  /** What a shell can offer for the value. */
  readonly completes?: 'directory' | 'file' | readonly string[];
  /** Writes `value` into the draft (an empty string where there is none); returns the reason why not. */
  readonly apply: (draft: Draft, value: string) => string | undefined;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** A mount and the words that asked for it. */
export interface DraftMount {
  readonly mount: MountSpec;
  readonly origin: string;
}

/** What the options said, before a profile and the operands are added. */
export interface Draft {
  root: Mutable<Pick<RootSpec, 'path' | 'image' | 'entrypoint' | 'readonly'>> & {
    host?: true;
    writablePaths?: 'all' | 'none' | string[];
  };
  mounts: DraftMount[];
  workspace?: WorkspaceSpec;
  /** Of every overlay of which nothing else is said. */
  changes?: 'discard' | 'capture';
  env: { inherit: string[]; set: Record<string, string> };
  /** Of a pod. */
  volumes: Record<string, { source: string; readOnly: boolean }>;
  network?: 'none' | 'host';
  allow: string[];
  publish: string[];
  limits: Mutable<Limits>;
  uidMappings?: IdMapping[] | 'subordinate';
  gidMappings?: IdMapping[] | 'subordinate';
  onSyscall: SyscallRule[];
  capabilities: string[];
  landlock: { paths?: Record<string, LandlockAccess> } & Mutable<Omit<LandlockSpec, 'paths'>>;
  /** Parts of the spec that an option says as a whole. */
  rest: Mutable<
    Pick<
      SandboxSpec,
      'cwd' | 'user' | 'hostname' | 'umask' | 'seccomp' | 'seccompUnknownSyscalls' | 'terminal' | 'architecture'
    >
  >;
  profile?: string;
  image: DraftImage;
  settings: Settings;
}

/** Of the command `image`; `out` and `force` of `compile` too. */
export interface DraftImage {
  limits: Partial<Mutable<ArchiveLimits>>;
  whiteouts?: 'keep' | 'apply' | 'overlay';
  setid?: 'keep' | 'drop';
  duplicates?: 'refuse' | 'last';
  out?: string;
  compress?: BuildCompression;
  owner?: { uid: number; gid: number };
  force?: true;
  keyring?: string;
}

/** About this call, not about the sandbox. */
export interface Settings {
  backend?: BackendName;
  optional: Feature[] | 'all';
  killSignal?: NodeJS.Signals;
  gracePeriodMs?: string;
  statusFd?: number;
  json: boolean;
  quiet: boolean;
  verbose: boolean;
  help: boolean;
  version: boolean;
  as?: ToolName;
  image: Mutable<Omit<ImageOptions, 'dependencies' | 'plainHttp'>> & { dependencies?: string[]; plainHttp?: string[] };
}

export function newDraft(): Draft {
  return {
    root: {},
    mounts: [],
    // A variable may be called __proto__.
    env: { inherit: [], set: Object.create(null) as Record<string, string> },
    volumes: Object.create(null) as Draft['volumes'],
    allow: [],
    publish: [],
    limits: {},
    onSyscall: [],
    capabilities: [],
    landlock: {},
    rest: {},
    image: { limits: {} },
    settings: { optional: [], json: false, quiet: false, verbose: false, help: false, version: false, image: {} },
  };
}

const whereverRun: readonly Mode[] = ['run', 'explain', 'compile'];

export function servesMode(option: Option, mode: Mode): boolean {
  return (option.modes ?? whereverRun).includes(mode);
}

/** `--name`, with the short form first where there is one: `-w, --workspace`. */
export function spelling(option: Option): string {
  return option.short === undefined ? `--${option.name}` : `-${option.short}, --${option.name}`;
}

/** The value as help shows it: ` PATH`, `[=PATH]`, or nothing. */
export function valueSpelling(option: Option): string {
  if (option.value === undefined) return '';
  return option.valueOptional ? `[=${option.value}]` : ` ${option.value}`;
}
