// A spec whose root is an image, as one that says everything: what the image says about its command, and what the caller says, which counts where both do.
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { ImageError } from '../errors/errors.ts';
import { isEnvSpec } from '../spec/environment.ts';
import { nodeSpecHost } from '../spec/host.ts';
import { resolveInRoot } from '../spec/in-root.ts';
import { LAYERED_ROOT, LayeredHost, type LayeredRoot } from '../spec/layered-root.ts';
import { parseMountString } from '../spec/mount-string.ts';
import type { ImageRoot, SpecImages } from '../spec/normalize.ts';
import { cleanPath, isWithin } from '../spec/paths.ts';
import type { EnvSpec, MountSpec, RootSpec, SandboxSpec, UserSpec } from '../spec/types.ts';
import type { IsolatorAccount } from './aci/isolation.ts';
import { type AciApp, type AciManifest, parseAciManifest } from './aci/manifest.ts';
import { type AciPod, type AciPodApp, contextOfPodApp } from './aci/pod.ts';
import { aciToSpec } from './aci/spec.ts';
import { hashBytes } from './digest.ts';
import { parseBundle } from './oci/bundle.ts';
import { parseImageConfig } from './oci/config.ts';
import { ociToSpec } from './oci/spec.ts';
import { type ImageOptions, type OpenedImage, openReference } from './open/open.ts';
import { type ImageSignature, refuseSignature } from './open/signatures.ts';
import type { Owners } from './owners.ts';
import { rootAccounts } from './root-accounts.ts';
import { kindOfDirectory } from './sniff.ts';
import type { RecordedKind } from './store/records.ts';

/** What a result says of the image that it ran. */
export interface ImageSummary {
  readonly reference: string;
  readonly kind: RecordedKind | 'bundle';
  /** `sha256:...` of the manifest of OCI, of Docker's archives and of bundles of the configuration; the image ID of App Container; the hash of a tar archive, uncompressed. */
  readonly id: string;
  readonly layers: number;
  /** How the root was made of them: `copy` where that cannot be mounted, and the caller can do without. */
  readonly root: 'overlay' | 'copy' | 'directory';
  /** Of an App Container image: what became of each isolator. */
  readonly isolators: readonly IsolatorAccount[];
  /** Of one that had to be signed: by whom it was, and each image that it depends on. */
  readonly signatures?: readonly ImageSignature[];
}

/** What a spec with images in it becomes. */
export interface PreparedImages {
  readonly spec: SandboxSpec;
  readonly images: SpecImages;
  /** Of the one that is the root. */
  readonly summary: ImageSummary | undefined;
  /** The whole command, where `words` were given for it, if the root is an image. @throws {ImageError} where there is none. */
  readonly command: ((words: readonly string[]) => readonly [string, ...string[]]) | undefined;
  /** What ends it, where the root is an image that says so. */
  readonly stopSignal?: NodeJS.Signals | undefined;
  /** Programs to run before and after it. */
  readonly handlers?: AciApp['eventHandlers'] | undefined;
}

/** An app's place in a pod: what that says of it, in place of its image. */
export interface PodPlace {
  readonly pod: Pick<AciPod, 'volumes' | 'isolators'>;
  readonly app: AciPodApp;
  readonly uuid: string;
}

/** @throws {ImageError} where an image cannot be had, or cannot be run as it wants to be. */
export async function prepareImages(
  given: SandboxSpec,
  options: ImageOptions = {},
  pod?: PodPlace,
): Promise<PreparedImages> {
  const mounts = new Map<string, LayeredRoot>();
  for (const { type, source } of mountsOf(given)) {
    if (type !== 'image' || source === undefined || mounts.has(source)) continue;
    mounts.set(source, layeredRoot(await openReference(source, options)));
  }
  if (hasImageRoot(given) && isBundle(given.root.image)) {
    if (options.keyring !== undefined) refuseSignature(given.root.image, 'the bundle of a runtime');
    return { ...prepareBundle(given), images: { root: undefined, mounts } };
  }
  if (!hasImageRoot(given))
    return { spec: given, images: { root: undefined, mounts }, summary: undefined, command: undefined };
  const { root, ...prepared } = await prepareRoot(given, options, pod);
  return { ...prepared, images: { root, mounts } };
}

function hasImageRoot(spec: SandboxSpec): spec is ImageSpec {
  return typeof spec.root === 'object' && spec.root.image !== undefined;
}

const BUNDLE = 'bundle:';

/** Only where somebody says so: unlike an image, a bundle says which directories of this host are shown, and is as trusted as a spec. */
function isBundle(reference: string): boolean {
  return reference.startsWith(BUNDLE);
}

/** The bundle of an OCI runtime: its root is a directory like others, and keeps what is written to it unless it is read-only. */
function prepareBundle(given: ImageSpec): Pick<PreparedImages, 'spec' | 'summary' | 'command'> {
  const path = given.root.image.slice(BUNDLE.length);
  if (!existsSync(path) || kindOfDirectory(path) !== 'bundle')
    throw new ImageError('SBX_IMAGE_REFERENCE', `${path} is no bundle: a directory with config.json and rootfs`, {
      archive: path,
    });
  const directory = realpathSync(path);
  const file = join(directory, 'config.json');
  const document = readFileSync(file);
  const said = parseBundle(document, { directory });
  const { image: _image, entrypoint, ...ours } = given.root;
  const root: RootSpec = {
    ...(typeof said.spec.root === 'string' ? { path: said.spec.root } : said.spec.root),
    ...ours,
  };
  return {
    spec: {
      ...said.spec,
      ...given,
      root,
      mounts: [...(said.spec.mounts ?? []), ...(given.mounts ?? [])],
      env: mergeEnv(said.spec.env, given.env),
      limits: { ...said.spec.limits, ...given.limits },
    },
    summary: {
      reference: directory,
      kind: 'bundle',
      id: hashBytes(document),
      layers: 0,
      root: 'directory',
      isolators: [],
    },
    command: (words) => {
      const own = entrypoint === undefined ? said.command : [];
      const [first, ...rest] = [...(entrypoint ?? []), ...(words.length > 0 ? words : own)];
      if (first !== undefined && first !== '') return [first, ...rest];
      throw noCommand(directory);
    },
  };
}

function noCommand(reference: string): ImageError {
  return new ImageError(
    'SBX_IMAGE_UNSUPPORTED',
    `the image ${reference} names no command`,
    {},
    { remedy: 'name one to run in it' },
  );
}

interface PreparedRoot extends Pick<PreparedImages, 'spec' | 'summary' | 'command' | 'handlers' | 'stopSignal'> {
  readonly root: ImageRoot;
}

/** What an image says, in our words; `spec` without a root. */
interface Said {
  readonly spec: SandboxSpec;
  readonly entry: readonly string[];
  /** In place of what the caller does not say. */
  readonly words: readonly string[];
  readonly handlers?: AciApp['eventHandlers'] | undefined;
  readonly stopSignal?: NodeJS.Signals | undefined;
  /** Where the image lets nobody write to what is mounted. */
  readonly readonlyAt: readonly string[];
  readonly isolators: readonly IsolatorAccount[];
  readonly notes: readonly string[];
}

type ImageSpec = Omit<SandboxSpec, 'root'> & { readonly root: RootSpec & { readonly image: string } };

async function prepareRoot(given: ImageSpec, options: ImageOptions, pod: PodPlace | undefined): Promise<PreparedRoot> {
  const notes: string[] = [];
  const image = await openReference(given.root.image, { onNote: (note) => notes.push(note), ...options });
  const layers = layeredRoot(image);
  const host = new LayeredHost(nodeSpecHost(), layers);
  const said = whatItSays(image, given, host, pod);
  const { entrypoint = said.entry } = given.root;
  const words = given.root.entrypoint === undefined ? said.words : [];
  const spec = merge(said, given, image.owners, host, notes);
  return {
    spec,
    root: {
      ...layers,
      reference: image.record.reference,
      home: homeOf(spec.user, host),
      notes: [...said.notes, ...notes],
    },
    summary: {
      reference: image.record.reference,
      kind: image.record.kind,
      id: image.record.id,
      layers: image.layers.length,
      root: 'overlay',
      isolators: said.isolators,
      ...(image.signatures.length === 0 ? {} : { signatures: image.signatures }),
    },
    handlers: said.handlers,
    stopSignal: said.stopSignal,
    command: (more) => {
      const [first, ...rest] = [...entrypoint, ...(more.length > 0 ? more : words)];
      if (first !== undefined && first !== '') return [first, ...rest];
      throw noCommand(image.record.reference);
    },
  };
}

function layeredRoot({ layers, directories, record, empty }: OpenedImage): LayeredRoot {
  const [top, ...below] = directories === undefined ? layers : [directories, ...layers];
  // A layer that is alone is mounted as it is, and the marks in it would be seen.
  const rest = top?.hides === true && below.length === 0 ? [{ directory: empty, opaque: [] }] : below;
  if (top === undefined) throw new ImageError('SBX_IMAGE_INVALID', `${record.reference} has no layers`);
  return { layers: [top, ...rest] };
}

function whatItSays(
  { record, owners }: OpenedImage,
  given: ImageSpec,
  host: LayeredHost,
  pod: PodPlace | undefined,
): Said {
  // As chroot(8) does.
  const nothing: Said = { spec: { cwd: '/' }, entry: [], words: ['/bin/sh'], readonlyAt: [], isolators: [], notes: [] };
  if (record.document === undefined) return nothing;
  return record.kind === 'aci'
    ? sayAci(parseAciManifest(record.document), given, host, owners, pod)
    : sayOci(record.document, given, host);
}

/** Neither of the two readers is asked for the command, which is put together above; this one stands for it. */
const someCommand = ['true'];

function sayOci(document: string, given: ImageSpec, host: LayeredHost): Said {
  const config = parseImageConfig(document);
  const { spec, notes, stopSignal } = ociToSpec(config, {
    root: '/',
    accounts: rootAccounts(host, LAYERED_ROOT).read,
    architecture: process.arch,
    entrypoint: someCommand,
    // Where the caller names a user, that of the image need not exist.
    ...(given.user === undefined ? {} : { user: '0' }),
    readonly: isReadonly(given.root),
  });
  const { root: _root, ...rest } = spec;
  const volumes = isReadonly(given.root) ? config.volumes.map((path) => cleanPath(`/${path}`)) : [];
  const mounts = volumes.map((destination): MountSpec => ({ type: 'tmpfs', destination }));
  return {
    spec: mounts.length === 0 ? rest : { ...rest, mounts },
    entry: config.entrypoint,
    words: config.cmd,
    stopSignal,
    readonlyAt: [],
    isolators: [],
    notes,
  };
}

function sayAci(
  manifest: AciManifest,
  given: ImageSpec,
  host: LayeredHost,
  owners: Owners,
  pod: PodPlace | undefined,
): Said {
  // What the caller mounts on a mount point is its volume.
  const destinations = new Set(mountsOf(given).map(({ destination }) => cleanPath(destination)));
  const place = pod === undefined ? undefined : contextOfPodApp(pod.pod, pod.app, manifest);
  const app = place === undefined ? manifest.app : place.app;
  const unmet = app?.mountPoints.filter(({ path }) => !destinations.has(cleanPath(path))) ?? [];
  const { spec, isolators, notes } = aciToSpec(
    manifest,
    {
      root: '/',
      accounts: rootAccounts(host, LAYERED_ROOT, owners),
      architecture: process.arch,
      command: someCommand,
      capabilities: given.capabilities ?? [],
      network: given.network === 'host' ? 'host' : 'none',
      realpath: (path) => host.realpath(path),
      ...place?.context,
      readOnlyRootFS: isReadonly(given.root),
      ...(pod === undefined ? {} : { environment: { AC_POD_UUID: pod.uuid } }),
    },
    app === undefined ? undefined : { ...app, mountPoints: unmet },
  );
  const { root: _root, network: _network, ...rest } = spec;
  const readonlyAt = app?.mountPoints.filter(({ readOnly }) => readOnly).map(({ path }) => cleanPath(path)) ?? [];
  return { spec: rest, entry: app?.exec ?? [], words: [], handlers: app?.eventHandlers, readonlyAt, isolators, notes };
}

function isReadonly({ readonly, writablePaths }: RootSpec): boolean {
  return readonly === true || writablePaths === 'none';
}

function mountsOf({ mounts = [] }: SandboxSpec): MountSpec[] {
  return mounts.flatMap((mount): MountSpec[] => {
    if (typeof mount !== 'string') return [mount];
    const parsed = parseMountString(mount);
    return 'problem' in parsed ? [] : [{ type: 'bind', ...parsed }];
  });
}

/** What is a list is added to; everything else of the caller's takes the place of the image's. */
function merge(
  { spec: image, readonlyAt }: Said,
  given: ImageSpec,
  owners: Owners,
  host: LayeredHost,
  notes: string[],
): SandboxSpec {
  if (given.uidMappings !== undefined || given.gidMappings !== undefined)
    throw new ImageError(
      'SBX_IMAGE_UNSUPPORTED',
      'uidMappings and gidMappings exclude an image, whose files belong to the ids that they were unpacked with',
    );
  const own = mountsOf(given).map((mount) =>
    readonlyAt.includes(cleanPath(mount.destination)) ? { ...mount, readonly: true } : mount,
  );
  const placeOf = ({ destination }: MountSpec): string => resolveInRoot(host, LAYERED_ROOT, destination).path;
  const inside = own.map(placeOf);
  // Behind those of the caller, whose numbers stay what they are in messages; and not over any of them, also where a symlink of the image leads there.
  const more = [...mountsOf(image), ...temporaryFiles(given, host), ...networkFiles(given)].filter(
    (mount) => !inside.some((path) => isWithin(path, placeOf(mount))),
  );
  const mounts = [...own, ...more];
  const limits = { ...image.limits, ...given.limits };
  const user = given.user ?? image.user ?? { uid: 0, gid: 0 };
  // Who names a workspace wants to start in it.
  const { cwd, ...rest } = image;
  return {
    ...rest,
    ...(given.workspace === undefined && cwd !== undefined ? { cwd } : {}),
    ...given,
    ...(mounts.length === 0 ? {} : { mounts }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    env: mergeEnv(image.env, given.env),
    user: typeof user === 'string' ? user : withoutForeignGroups(user, owners, notes),
    ...(owners.kind === 'ranges' ? { uidMappings: owners.uid, gidMappings: owners.gid } : {}),
  };
}

function mergeEnv(image: SandboxSpec['env'], given: SandboxSpec['env']): EnvSpec {
  const [below, above] = [image, given].map((env): EnvSpec => {
    if (env === undefined) return {};
    return isEnvSpec(env) ? env : { set: env };
  });
  const inherit = above?.inherit ?? [];
  const kept = Object.entries(below?.set ?? {}).filter(([name]) => !inherit.includes(name));
  return { inherit, set: { ...Object.fromEntries(kept), ...above?.set } };
}

/** Groups of other ids than the caller's need ranges. The specification of App Container lets them go with a word on it. */
function withoutForeignGroups(user: UserSpec, { kind, words }: Owners, notes: string[]): UserSpec {
  const { additionalGids = [] } = user;
  if (kind !== 'one' || additionalGids.length === 0) return user;
  notes.push(`groups ${additionalGids.join(', ')} of the image's user are left out: files belong to ${words}`);
  return { ...user, additionalGids: [] };
}

/** Programs count on it, and images that were made of one program lack it. Where the root is read-only it is there anyway. */
function temporaryFiles(given: ImageSpec, host: LayeredHost): MountSpec[] {
  const isThere =
    isReadonly(given.root) || mountsOf(given).some(({ destination }) => cleanPath(destination) === '/tmp');
  const lacks = !isThere && resolveInRoot(host, LAYERED_ROOT, '/tmp').kind === 'absent';
  return lacks ? [{ type: 'tmpfs', destination: '/tmp' }] : [];
}

/** How the host's network is reached is for the host to say. */
function networkFiles({ network }: SandboxSpec): MountSpec[] {
  if (network !== 'host') return [];
  return ['/etc/resolv.conf', '/etc/hosts'].map((path) => ({
    type: 'bind',
    source: path,
    destination: path,
    optional: true,
  }));
}

/** Of passwd(5) of the image; `/` where it does not say. */
function homeOf(user: SandboxSpec['user'], host: LayeredHost): string {
  const wanted = typeof user === 'string' ? user.split(':')[0] : String(user?.uid ?? 0);
  for (const line of (rootAccounts(host, LAYERED_ROOT).read('/etc/passwd') ?? '').split('\n')) {
    const [name, , uid, , , home = ''] = line.split(':');
    if (name !== wanted && uid !== wanted) continue;
    return home.startsWith('/') && !home.split('/').includes('..') ? cleanPath(home) : '/';
  }
  return '/';
}
