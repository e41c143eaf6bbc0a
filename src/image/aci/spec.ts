// From an app of an App Container image to a sandbox and a command in it (App Container specification 0.8.11, ace.md). Pure: what it must know of
// the host and of the rendered root it asks its context.
import { ImageError, printable, type SpecIssue } from '../../errors/errors.ts';
import type { Architecture } from '../../spec/architectures.ts';
import { isWithin } from '../../spec/paths.ts';
import type { MountSpec, RootSpec, SandboxSpec } from '../../spec/types.ts';
import { type RootAccounts, resolveAccounts } from './accounts.ts';
import { type IsolatorAccount, isolate } from './isolation.ts';
import type { AciIsolator } from './isolators.ts';
import type { AciApp, AciManifest } from './manifest.ts';
import { appNameOf } from './names.ts';
import { mountsOf, type VolumeContext } from './volumes.ts';

export interface AciContext extends VolumeContext {
  /** The rendered root, on this host. */
  readonly root: string;
  readonly accounts: RootAccounts;
  /** What the programs of this host are made for. */
  readonly architecture: string;
  readonly readOnlyRootFS?: boolean;
  /** AC Name of the app in a pod; else it is made of the image's name. */
  readonly appName?: string;
  /** Takes the place of the app's own `exec`. */
  readonly command?: readonly string[];
  /** Follow the app's `exec`, or the command. */
  readonly args?: readonly string[];
  /** Over those of the app. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Where a metadata service answers; it has its token in it. Without one the variable is left out. */
  readonly metadataUrl?: string;
  /** In place of the app's own, where a pod bounds them. */
  readonly isolators?: readonly AciIsolator[];
  /** An isolator that is not held to exactly is refused. */
  readonly strictIsolators?: boolean;
  /** What the caller lets the app have at most. None by default. */
  readonly capabilities?: readonly string[];
  readonly network?: 'none' | 'host';
  readonly hasAppArmor?: boolean;
  /** What becomes of changes to the root. Every run starts from a clean copy, so they are given up unless the caller made one. */
  readonly changes?: 'discard' | 'keep' | 'capture';
}

export interface AciRun {
  readonly spec: SandboxSpec;
  readonly command: readonly [string, ...string[]];
  /** Runs, and must end well, before the command: same sandbox, same root. */
  readonly preStart: readonly string[] | undefined;
  /** Runs when the command has ended or was ended; not where it never ran. */
  readonly postStop: readonly string[] | undefined;
  readonly appName: string;
  /** What became of each isolator; the specification obliges to show it. */
  readonly isolators: readonly IsolatorAccount[];
  /** What else the caller should see. */
  readonly notes: readonly string[];
}

const SYSFS = '/sys';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const architectures: Readonly<Record<string, Architecture>> = {
  amd64: 'x64',
  i386: 'ia32',
  aarch64: 'arm64',
  armv6l: 'arm',
  armv7l: 'arm',
};

/**
 * `app`: that of a pod in place of the image's own.
 *
 * @throws {ImageError} `SBX_IMAGE_UNSUPPORTED` with every reason why it cannot be run so.
 */
export function aciToSpec(manifest: AciManifest, context: AciContext, app: AciApp | undefined = manifest.app): AciRun {
  const issues: SpecIssue[] = [];
  const notes: string[] = manifest.notes.map(({ path, message }) => `${path.join('.')}: ${message}`);
  const appName = context.appName ?? appNameOf(manifest.name);

  const command = commandOf(app, context, issues);
  const accounts = resolveAccounts(app ?? { user: '0', group: '0' }, context.accounts);
  issues.push(...accounts.issues);
  notes.push(...accounts.notes);
  issues.push(...socketIssues(app));
  const isolation = isolate(context.isolators ?? app?.isolators ?? [], {
    capabilities: context.capabilities ?? [],
    network: context.network ?? 'none',
  });
  issues.push(...isolatorIssues(app, isolation.account, context));
  const platform = platformOf(manifest, context, issues);
  const mounts = withSysfs(mountsOf(app?.mountPoints ?? [], context, issues, notes));
  if (context.metadataUrl === undefined) notes.push('there is no metadata service, so AC_METADATA_URL is left out');

  if (issues.length > 0)
    throw new ImageError('SBX_IMAGE_UNSUPPORTED', `${manifest.name} cannot be run as asked`, { issues });
  return {
    spec: {
      root: rootOf(context),
      mounts,
      cwd: app?.workingDirectory ?? '/',
      env: { set: environmentOf(app, appName, context) },
      user: { uid: accounts.uid, gid: accounts.gid, additionalGids: [...new Set(app?.supplementaryGIDs)] },
      network: context.network ?? 'none',
      ...isolation.spec,
      ...(platform === undefined ? {} : { architecture: platform }),
    },
    command: command as [string, ...string[]],
    preStart: app?.eventHandlers.preStart,
    postStop: app?.eventHandlers.postStop,
    appName,
    isolators: isolation.account.map(printableAccount),
    notes: notes.map(printable),
  };
}

/** Names of system calls and kernel parameters are whatever the image has for them. */
function printableAccount({ name, state, because }: IsolatorAccount): IsolatorAccount {
  return { name: printable(name), state, because: printable(because) };
}

/** ace.md, "Operating system": where the kernel gives none the plan says so. */
function withSysfs(mounts: readonly MountSpec[]): MountSpec[] {
  if (mounts.some(({ destination }) => isWithin(destination, SYSFS))) return [...mounts];
  return [...mounts, { type: 'sysfs', destination: SYSFS, optional: true }];
}

/** Nothing in it is evaluated. A first word without a slash is looked for on PATH inside the root, by the launcher. */
function commandOf(
  app: AciApp | undefined,
  { command, args = [] }: AciContext,
  issues: SpecIssue[],
): readonly string[] {
  const words = [...(command ?? app?.exec ?? []), ...args];
  if ((command ?? app?.exec ?? []).length > 0) return words;
  const why = app === undefined ? 'the image has no app' : 'the app of the image has no exec';
  issues.push({ path: app === undefined ? ['app'] : ['app', 'exec'], message: `${why}; name a command to run in it` });
  return words;
}

function rootOf({ root, readOnlyRootFS = false, changes = 'discard' }: AciContext): RootSpec {
  return readOnlyRootFS ? { path: root, readonly: true } : { path: root, readonly: false, changes };
}

function environmentOf(app: AciApp | undefined, appName: string, context: AciContext): Record<string, string> {
  return Object.fromEntries([
    ['PATH', PATH],
    ...(app?.environment ?? []),
    ...Object.entries(context.environment ?? {}),
    // About the sandbox, so that neither the image nor the caller says otherwise.
    ['AC_APP_NAME', appName],
    ...(context.metadataUrl === undefined ? [] : [['AC_METADATA_URL', context.metadataUrl] as const]),
    ['container', 'sandboxlib'],
  ]);
}

function socketIssues(app: AciApp | undefined): SpecIssue[] {
  return (app?.ports ?? []).flatMap(({ name, socketActivated }, index) =>
    socketActivated
      ? [
          {
            path: ['app', 'ports', index, 'socketActivated'],
            message: `no socket is handed to an app, and '${name}' counts on one`,
          },
        ]
      : [],
  );
}

function isolatorIssues(
  app: AciApp | undefined,
  account: readonly IsolatorAccount[],
  { strictIsolators = false, hasAppArmor = false }: AciContext,
): SpecIssue[] {
  const index = app?.isolators.findIndex(({ name }) => name === 'os/linux/apparmor-profile') ?? -1;
  const profile: SpecIssue[] =
    index >= 0 && hasAppArmor
      ? [{ path: ['app', 'isolators', index], message: 'this host has AppArmor, and its profiles are not served here' }]
      : [];
  if (!strictIsolators) return profile;
  const inexact = account.filter(({ state }) => state !== 'enforced');
  return [
    ...profile,
    ...inexact.map(({ name, state, because }) => ({
      path: ['app', 'isolators'],
      message: `${name} is ${state}: ${because}`,
    })),
  ];
}

/** What to emulate; `undefined` for the host's own, and where the image does not say. */
function platformOf(
  { labels }: AciManifest,
  { architecture }: AciContext,
  issues: SpecIssue[],
): Architecture | undefined {
  const os = labels.get('os');
  const arch = labels.get('arch');
  if (os !== undefined && os !== 'linux') {
    issues.push({ path: ['labels'], message: `the image is for ${os}, and this is linux` });
    return undefined;
  }
  if (arch === undefined) return undefined;
  const known = architectures[arch];
  if (known === undefined)
    issues.push({
      path: ['labels'],
      message: `the image is for ${arch}, and neither this host (${architecture}) nor an emulator here runs that`,
    });
  return known === architecture ? undefined : known;
}
