// From a reference to layers that can be mounted and a document that says how: from the store, where it is there already.
import { existsSync, realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { tryIsolationWhereDoubtful } from '../../backends/own-sandbox.ts';
import { ImageError } from '../../errors/errors.ts';
import { callerFacts } from '../../host/facts.ts';
import { nodeSpecHost } from '../../spec/host.ts';
import { type ArchiveLimits, defaultArchiveLimits } from '../archive/limits.ts';
import { formatPlatform, type Platform, parsePlatform, platformOf } from '../oci/platform.ts';
import { keyOfOwners, type Owners, ownersFor } from '../owners.ts';
import { formatReference, type ImageReference, parseImageReference, type RegistryReference } from '../reference.ts';
import type { RegistryOptions } from '../registry/client.ts';
import { storedCredentials } from '../registry/credentials.ts';
import { type FileSystemKind, fileSystemOf, type ImageKind, sniffImage } from '../sniff.ts';
import { hashOf } from '../store/place.ts';
import { type ImageRecord, identify } from '../store/records.ts';
import { ImageStore, type StoredImage } from '../store/store.ts';
import { recordAci } from './aci.ts';
import { type PullProgress, recordArchive, recordLayout, recordPulled } from './oci.ts';
import { type ImageSignature, refuseSignature, SignatureCheck } from './signatures.ts';
import { recordTar } from './tar.ts';

/** About how an image is had, not about the sandbox. */
export interface ImageOptions {
  /**
   * Whether the registry is asked for an image that has a name there.
   *
   * @defaultValue `'missing'`: where the store does not have it
   */
  readonly pull?: 'always' | 'missing' | 'never';
  /**
   * Which of the images of an index, `os/architecture[/variant]` in Go's words: `'linux/arm64'`.
   *
   * @defaultValue this host's
   */
  readonly platform?: string;
  /** Archives of App Container images that the image may depend on; those that the store knows need not be named. */
  readonly dependencies?: readonly string[];
  /**
   * A file of OpenPGP keys, as `gpg --export` writes it: the image, and each that it depends on, must be signed by one of them. The signature is
   * `app.aci.asc` beside `app.aci`, and is checked each time. Images of other kinds are refused. It takes gpgv (Debian: gpgv).
   */
  readonly keyring?: string;
  /** Registries, with their port where they have one, that are spoken to without TLS. Those of this machine are. */
  readonly plainHttp?: readonly string[];
  /** How much of an archive is believed. */
  readonly limits?: Partial<ArchiveLimits>;
  /** Hears of layers as they are pulled. */
  readonly onProgress?: (progress: PullProgress) => void;
  /** Ends it; nothing that is not whole stays. */
  readonly signal?: AbortSignal;
}

/** For who opens one. */
export interface OpenOptions extends ImageOptions {
  /** Hears of what an archive has and its layer does not. */
  readonly onNote?: (note: string) => void;
  readonly registry?: RegistryOptions;
}

export interface OpenedImage extends StoredImage {
  readonly owners: Owners;
  /** A directory of the store with nothing in it. */
  readonly empty: string;
  /** Where a keyring was given: of all that it is rendered from, its own first. */
  readonly signatures: readonly ImageSignature[];
}

/** The store of this caller, and whose the files in it are. @throws {ImageError} `SBX_IMAGE_STORE` */
export async function findStore(): Promise<ReturnType<typeof openStore>> {
  await tryIsolationWhereDoubtful();
  return openStore();
}

/** The same, for who comes after that. */
export function openStore(): { readonly store: ImageStore; readonly owners: Owners } {
  const owners = ownersFor(nodeSpecHost(), callerFacts());
  return { store: new ImageStore(keyOfOwners(owners)), owners };
}

/** @throws {ImageError} `SBX_IMAGE_*` */
export async function openReference(text: string, options: OpenOptions = {}): Promise<OpenedImage> {
  const { store, owners } = await findStore();
  const image = parseImageReference(text);
  const empty = join(store.directory, 'empty');
  if (image.kind !== 'registry') return { ...(await openFile(store, image, options)), owners, empty };
  if (options.keyring !== undefined) refuseSignature(text, 'an image at a registry');
  return { ...(await openRemote(store, image, options)), signatures: [], owners, empty };
}

type FoundKind = ImageKind | FileSystemKind | 'oci';

interface Wanted {
  readonly platform: Platform;
  /** What a reference that is not for this host's own is called by. */
  readonly suffix: string;
}

/** @throws {ImageError} `SBX_IMAGE_REFERENCE` */
function wantedOf({ platform }: ImageOptions): Wanted {
  if (platform === undefined) return { platform: platformOf(process.arch), suffix: '' };
  const parsed = parsePlatform(platform);
  if ('problem' in parsed) throw new ImageError('SBX_IMAGE_REFERENCE', parsed.problem);
  return { platform: parsed, suffix: ` (${formatPlatform(parsed)})` };
}

async function openRemote(store: ImageStore, remote: RegistryReference, options: OpenOptions): Promise<StoredImage> {
  const { pull = 'missing', plainHttp = [] } = options;
  const { platform, suffix } = wantedOf(options);
  const name = formatReference(remote);
  const reference = `${name}${suffix}`;
  if (pull === 'never') {
    const found = store.find(reference);
    if (found !== undefined) return found;
    throw new ImageError(
      'SBX_IMAGE_REFERENCE',
      `${reference} is not in the store, and may not be pulled`,
      {},
      { remedy: `run-sandbox image pull ${name}` },
    );
  }
  const registry = { credentials: (host: string) => storedCredentials(host), plainHttp, ...options.registry };
  return await store.obtain(reference, pull === 'always', () =>
    recordPulled(store, reference, remote, { ...options, platform, registry }),
  );
}

async function openFile(
  store: ImageStore,
  image: Exclude<ImageReference, RegistryReference>,
  options: OpenOptions,
): Promise<StoredImage & Pick<OpenedImage, 'signatures'>> {
  const { path: given, kind } = image;
  if (!existsSync(given)) throw new ImageError('SBX_IMAGE_REFERENCE', `${given} does not exist`, { archive: given });
  const path = realpathSync(resolve(given));
  const ref = image.kind === 'path' ? undefined : image.ref;
  const { platform, suffix } = wantedOf(options);
  const scheme = kind === 'path' ? '' : `${kind}:`;
  const reference = `${scheme}${path}${ref === undefined ? '' : `:${ref}`}${suffix}${dependencySuffix(options)}`;
  const limits = { ...defaultArchiveLimits, ...options.limits };
  const sniff = async (): Promise<FoundKind> =>
    kind !== 'path' ? kind : (fileSystemOf(path) ?? (await sniffImage(path, limits)));
  const make = async (): Promise<ImageRecord> => {
    const found = await sniff();
    switch (found) {
      case 'aci':
        return await recordAci(store, reference, path, options);
      case 'tar':
        return await recordTar(store, reference, path, options);
      case 'squashfs':
      case 'erofs': {
        const { convert } = await import('../converter.ts');
        const converter =
          found === 'erofs' ? (await import('../erofs.ts')).erofs : (await import('../squashfs.ts')).squashfs;
        return await recordTar(store, reference, path, options, () => convert(converter, path, limits, options.onNote));
      }
      case 'oci':
      case 'oci-layout':
        return await recordLayout(store, reference, path, ref, { ...options, platform });
      case 'oci-archive':
      case 'docker-archive':
        return await recordArchive(store, reference, path, found, ref, { ...options, platform });
      case 'directory':
      case 'bundle':
      case 'manifest':
        throw new ImageError('SBX_IMAGE_REFERENCE', `${given} ${notImages[found]}`, { archive: given });
    }
  };
  const { keyring, dependencies = [] } = options;
  if (keyring === undefined) return { ...(await store.obtain(reference, false, make)), signatures: [] };
  const found = await sniff();
  if (found !== 'aci') refuseSignature(given, kindsInWords[found]);
  const check = new SignatureCheck(keyring);
  // What nobody signed is not unpacked either.
  await check.file(given, 'image');
  for (const dependency of dependencies) await check.file(dependency, 'dependency');
  // One that was recorded by an earlier version does not say of which bytes it is.
  const isNew = store.records.find(reference)?.archives === undefined;
  const opened = await store.obtain(reference, isNew, make);
  return { ...opened, signatures: await check.image(opened.record) };
}

const kindsInWords: Readonly<Record<Exclude<FoundKind, 'aci'>, string>> = {
  tar: 'an archive of files',
  squashfs: 'an image of squashfs',
  erofs: 'an image of erofs',
  oci: 'an image of OCI',
  'oci-layout': 'an image of OCI',
  'oci-archive': 'an image of OCI',
  'docker-archive': 'an archive of docker save',
  directory: 'a directory',
  bundle: 'the bundle of a runtime',
  manifest: 'a document',
};

/** With other dependencies, or with other content in them, it is another image. */
function dependencySuffix({ dependencies = [] }: ImageOptions): string {
  if (dependencies.length === 0) return '';
  const files = dependencies.map((file) => {
    if (!existsSync(file))
      throw new ImageError('SBX_IMAGE_REFERENCE', `the dependency ${file} does not exist`, { archive: file });
    return identify(realpathSync(file));
  });
  return ` with dependencies ${hashOf(JSON.stringify(files)).slice(0, 12)}`;
}

const notImages = {
  directory: "is a directory, and no image: it is a root as it is ('path' of a root, --root DIRECTORY)",
  bundle:
    "is the bundle of a runtime: written 'bundle:DIR' it is run as it says, with the directories of this host that it names",
  manifest: 'is a document, and no image',
} as const;
