// From options, and a profile where there is one, to a spec. Options replace what has one value and add to what is a list.
import { formatPath, type SpecIssue } from '../errors/errors.ts';
import { isEnvSpec } from '../spec/environment.ts';
import type { EnvSpec, LandlockSpec, NetworkPolicy, RootSpec, SandboxSpec } from '../spec/types.ts';
import type { Draft } from './option.ts';
import { options } from './options.ts';

/** Preconditions: `profile` was checked against the schema. */
export function specOf(draft: Draft, profile: SandboxSpec = {}): SandboxSpec {
  const { limits, uidMappings, gidMappings, onSyscall, capabilities, landlock, rest } = draft;
  const mounts = draft.mounts.map(({ mount }) => withChanges(mount, mount.type === 'overlay', draft));
  const { workspace } = draft;
  return {
    ...profile,
    ...rest,
    ...given('root', mergeRoot(draft, profile.root)),
    ...given('mounts', joined(profile.mounts, mounts)),
    ...given('workspace', workspace && withChanges(workspace, workspace.access === 'overlay', draft)),
    ...given('env', mergeEnv(draft, profile.env)),
    ...given('network', mergeNetwork(draft, profile.network)),
    ...given('limits', Object.keys(limits).length === 0 ? undefined : { ...profile.limits, ...limits }),
    ...given('uidMappings', uidMappings),
    ...given('gidMappings', gidMappings),
    ...given('onSyscall', joined(profile.onSyscall, onSyscall)),
    ...given('capabilities', joined(profile.capabilities, capabilities)),
    ...given('landlock', Object.keys(landlock).length === 0 ? undefined : mergeLandlock(draft, profile.landlock)),
  };
}

/** Why `--changes` says nothing here. */
export function changesProblem({ changes }: Draft, { root, workspace, mounts = [] }: SandboxSpec): string[] {
  const isOverlay = typeof workspace === 'object' && workspace.access === 'overlay';
  const views = [root, ...mounts].some((place) => typeof place === 'object' && place.changes !== undefined);
  if (changes === undefined || isOverlay || views) return [];
  return [
    '--changes: there is nothing here of which changes could be kept or discarded; name an overlay, as in -w=:overlay, or a root directory',
  ];
}

/** What `--changes` says, of an overlay that says nothing itself. */
function withChanges<Where extends { readonly changes?: 'discard' | 'capture' }>(
  where: Where,
  isOverlay: boolean,
  { changes }: Draft,
): Where {
  return !isOverlay || changes === undefined || where.changes !== undefined ? where : { ...where, changes };
}

function given<Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } {
  return (value === undefined ? {} : { [key]: value }) as { [K in Key]?: Value };
}

function joined<Item>(before: readonly Item[] | undefined, added: readonly Item[]): readonly Item[] | undefined {
  return added.length === 0 ? undefined : [...(before ?? []), ...added];
}

function mergeRoot({ root, changes }: Draft, profile: SandboxSpec['root']): SandboxSpec['root'] | undefined {
  const { host, path, image, entrypoint, readonly, writablePaths } = root;
  const before = rootOf(profile);
  if (Object.keys(root).length === 0) return undefined;
  const {
    path: pathBefore,
    image: imageBefore,
    entrypoint: entryBefore,
    writablePaths: writableBefore,
    ...kept
  } = before;
  const named = host === true || path !== undefined || image !== undefined;
  const where = named
    ? { ...given('path', path), ...given('image', image), ...given('entrypoint', entrypoint) }
    : {
        ...given('path', pathBefore),
        ...given('image', imageBefore),
        ...given('entrypoint', entrypoint ?? entryBefore),
      };
  const writable =
    Array.isArray(writablePaths) && Array.isArray(writableBefore)
      ? [...writableBefore, ...writablePaths]
      : (writablePaths ?? writableBefore);
  const open =
    (where.path !== undefined || where.image !== undefined) && readonly === undefined && writable === undefined;
  return {
    ...kept,
    ...where,
    ...given('readonly', readonly),
    ...given('writablePaths', writable),
    ...given('changes', open ? changes : undefined),
  };
}

function rootOf(root: SandboxSpec['root']): RootSpec {
  if (typeof root !== 'string') return root ?? {};
  return root === 'host' ? {} : { path: root };
}

function mergeEnv({ env }: Draft, profile: SandboxSpec['env']): EnvSpec | undefined {
  if (env.inherit.length === 0 && Object.keys(env.set).length === 0) return undefined;
  const before = envOf(profile);
  // A name that an option sets is no longer inherited, and the other way round: the option is the later word.
  const set = Object.entries({ ...before.set }).filter(([name]) => !env.inherit.includes(name));
  return {
    inherit: [...(before.inherit ?? []), ...env.inherit].filter((name) => !Object.hasOwn(env.set, name)),
    set: Object.fromEntries([...set, ...Object.entries(env.set)]),
  };
}

function envOf(env: SandboxSpec['env']): EnvSpec {
  if (env === undefined) return {};
  return isEnvSpec(env) ? env : { set: env };
}

function mergeNetwork(draft: Draft, profile: SandboxSpec['network']): SandboxSpec['network'] | undefined {
  const { network, allow, publish } = draft;
  if (allow.length === 0 && publish.length === 0) return network;
  const before: NetworkPolicy = typeof profile === 'object' ? profile : {};
  return {
    ...before,
    ...given('allow', joined(before.allow, allow)),
    ...given('publish', joined(before.publish, publish)),
  };
}

function mergeLandlock({ landlock }: Draft, profile: LandlockSpec = {}): LandlockSpec {
  const { paths, ...rest } = landlock;
  return {
    ...profile,
    ...rest,
    ...given('paths', paths === undefined ? profile.paths : { ...profile.paths, ...paths }),
  };
}

/** Messages that need the name of what they speak of. */
const predicate = /^(?:must|is|has|excludes|means)\b/;

/** An issue in the words of the command line, where an option is behind it: `--bind /x:/y: does not exist`. */
export function describeIssue({ path, message }: SpecIssue, draft: Draft, mountsOfProfile: number): string {
  const [head, index] = path;
  if (head === 'mounts' && typeof index === 'number') {
    const mount = draft.mounts[index - mountsOfProfile];
    if (mount !== undefined)
      return `${mount.origin}: ${predicate.test(message) ? [...path.slice(2), ''].join(' ') : ''}${message}`;
  }
  if (head === 'command') return `command: ${message}`;
  if (draft.profile !== undefined || (head === 'mounts' && typeof index === 'number'))
    return `${formatPath(path)}: ${message}`;
  const dotted = formatPath(path);
  const listed = typeof path.at(-1) === 'number' ? formatPath(path.slice(0, -1)) : undefined;
  const option =
    options.find(({ sets }) => sets === dotted || (listed !== undefined && sets === listed)) ??
    options.find(({ sets }) => sets !== undefined && /^\w+$/.test(sets) && sets === head);
  return `${option === undefined ? dotted : `--${option.name}`}: ${message}`;
}
