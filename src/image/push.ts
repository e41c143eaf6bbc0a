// Captured changes of an image, as the next layer of one at a registry. Its other layers are those of the image that the command ran in, byte for byte: what the
// store has of them is unpacked, so that they come from where the image came from.
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, statSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Changes } from '../changes/types.ts';
import { ImageError } from '../errors/errors.ts';
import { hashBytes, verifiedBytes } from './digest.ts';
import { DOCUMENT_BYTES_MAX } from './json.ts';
import type { Descriptor } from './oci/descriptor.ts';
import { type OciManifest, parseOciDocument } from './oci/manifest.ts';
import { LayoutDirectory } from './open/layout-directory.ts';
import { findStore } from './open/open.ts';
import { formatReference, parseImageReference, type RegistryReference } from './reference.ts';
import type { RegistryOptions } from './registry/client.ts';
import { storedCredentials } from './registry/credentials.ts';
import { type Blob, RegistryWriter } from './registry/upload.ts';

export interface PushOptions {
  /** Registries, with their port where they have one, that are spoken to without TLS. Those of this machine are. */
  readonly plainHttp?: readonly string[];
  /** Ends it. The registry keeps what it has of layers, and names no image by the reference that it did not name before. */
  readonly signal?: AbortSignal;
  readonly registry?: RegistryOptions;
}

export interface PushedImage {
  /** With the digest: what was pushed, and nothing that comes after. */
  readonly reference: string;
  readonly digest: string;
  /** The new one is the last of them. */
  readonly layers: number;
  /** What was sent, compressed; what the registry had is not among it. */
  readonly bytes: number;
}

/** At once; registries count connections. */
const PARALLEL = 3;

export async function push(changes: Changes, reference: string, options: PushOptions = {}): Promise<PushedImage> {
  const to = destinationOf(reference);
  const { plainHttp = [], signal } = options;
  const client = new RegistryWriter({
    credentials: storedCredentials,
    plainHttp,
    ...(signal === undefined ? {} : { signal }),
    ...options.registry,
  });
  const base = await openBase(changes, client);
  const { layers } = (await findStore()).store;
  const work = layers.makeWork();
  try {
    const layer = await packLayer(changes, join(work, 'layer.tar.gz'));
    const described = describe(changes, base, layer);
    let bytes = 0;
    const send = async (blob: Blob, from?: string): Promise<void> => {
      if (await client.upload(to, blob, from)) bytes += blob.size;
    };
    const from = base.from?.registry === to.registry ? base.from.repository : undefined;
    await inParallel(base.manifest.layers, (each) => send({ ...each, content: () => base.content(each) }, from));
    await send(layer);
    await send(described.config);
    await client.putManifest(to, base.mediaType, described.manifest);
    const digest = hashBytes(described.manifest);
    return { reference: `${formatReference(to)}@${digest}`, digest, layers: base.manifest.layers.length + 1, bytes };
  } finally {
    await layers.removeWork(work);
  }
}

function destinationOf(text: string): RegistryReference {
  const to = parseImageReference(text);
  if (to.kind !== 'registry')
    throw new ImageError('SBX_IMAGE_REFERENCE', `${text} is no name at a registry: [REGISTRY/]NAME[:TAG]`);
  if (to.digest !== undefined)
    throw new ImageError('SBX_IMAGE_REFERENCE', `${text}: what is pushed has another digest; leave it out`);
  return to;
}

/** What the command ran in, as it is where it came from. */
interface Base {
  readonly name: string;
  readonly digest: string;
  readonly mediaType: string;
  readonly manifest: OciManifest;
  /** As they came: what is not understood here is kept. */
  readonly documents: { readonly manifest: Uint8Array; readonly config: Uint8Array };
  readonly content: (descriptor: Descriptor) => AsyncIterable<Uint8Array>;
  readonly from: RegistryReference | undefined;
}

async function openBase({ id, image, views }: Changes, client: RegistryWriter): Promise<Base> {
  const root = views.find(({ destination }) => destination === '/');
  if (image === undefined || root === undefined || views.length > 1)
    throw unsupported(`${id} are no changes of the root of an image alone`, 'export them, and add them to an image');
  if (image.kind !== 'oci')
    throw unsupported(`${image.reference} is no OCI image`, 'make one of it, or export the changes');
  // For a platform that is not this host's: openReference() puts it there.
  const name = image.reference.replace(/ \([^()]*\)$/, '');
  const found = parseImageReference(name);
  if (found.kind === 'registry') return await remoteBase(name, { ...found, digest: image.id }, client);
  if (statSync(found.path, { throwIfNoEntry: false })?.isDirectory() === true)
    return await layoutBase(name, found.path, image.id);
  throw unsupported(
    `${name} is an archive, or no longer there, and of it nothing but unpacked layers is left`,
    'push it to a registry (skopeo copy), and run that',
  );
}

async function remoteBase(name: string, at: RegistryReference, client: RegistryWriter): Promise<Base> {
  const { bytes, mediaType, digest } = await client.manifest(at);
  const manifest = manifestOf(bytes, name);
  const { config } = manifest;
  const what = `the configuration of ${name}`;
  return {
    name,
    digest,
    mediaType: mediaType ?? OCI_MANIFEST,
    manifest,
    documents: { manifest: bytes, config: await verifiedBytes(client.blob(at, config), { ...config, what }) },
    content: (descriptor) => client.blob(at, descriptor),
    from: at,
  };
}

async function layoutBase(name: string, path: string, digest: string): Promise<Base> {
  const layout = new LayoutDirectory(path, name);
  const bytes = await layout.named(digest);
  const manifest = manifestOf(bytes, name);
  return {
    name,
    digest,
    mediaType: declaredType(bytes) ?? OCI_MANIFEST,
    manifest,
    documents: { manifest: bytes, config: await layout.blob(manifest.config, 'the configuration') },
    content: (descriptor) => layout.content(descriptor, `${name} (blob ${descriptor.digest})`),
    from: undefined,
  };
}

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
/** Docker's schema 2 calls it so, and its documents hold nothing of OCI. */
const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip';

function manifestOf(bytes: Uint8Array, name: string): OciManifest {
  const document = parseOciDocument(bytes, `the manifest of ${name}`);
  if (document.kind !== 'manifest') throw unsupported(`${name} is an index now`, 'run it again');
  if (document.config.size > DOCUMENT_BYTES_MAX) throw unsupported(`the configuration of ${name} is too large`);
  return document;
}

function declaredType(bytes: Uint8Array): string | undefined {
  const { mediaType } = jsonOf(bytes);
  return typeof mediaType === 'string' ? mediaType : undefined;
}

interface PackedLayer extends Blob {
  /** Of what is in it uncompressed, which is what a configuration names. */
  readonly diffId: string;
}

/** On a disk: a registry wants to know the digest, and may want to hear it all again. */
async function packLayer(changes: Changes, path: string): Promise<PackedLayer> {
  const inside = createHash('sha256');
  const outside = createHash('sha256');
  let size = 0;
  await pipeline(
    changes.export('oci-layer'),
    async function* (source: AsyncIterable<Uint8Array>) {
      for await (const chunk of source) {
        inside.update(chunk);
        yield chunk;
      }
    },
    // Without a time in it: the same changes are the same layer.
    createGzip(),
    async function* (source: AsyncIterable<Uint8Array>) {
      for await (const chunk of source) {
        outside.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    },
    createWriteStream(path, { mode: 0o600, flags: 'wx' }),
  );
  return {
    digest: `sha256:${outside.digest('hex')}`,
    diffId: `sha256:${inside.digest('hex')}`,
    size,
    content: () => createReadStream(path),
  };
}

type Json = { readonly [name: string]: unknown };

function describe(
  changes: Changes,
  base: Base,
  layer: PackedLayer,
): { readonly config: Blob; readonly manifest: Buffer } {
  const created = changes.startedAt.toISOString();
  const before = jsonOf(base.documents.config);
  const rootfs = before['rootfs'] as Json;
  const history = Array.isArray(before['history']) ? before['history'] : [];
  const config = documentOf({
    ...before,
    created,
    rootfs: { ...rootfs, diff_ids: [...(rootfs['diff_ids'] as readonly string[]), layer.diffId] },
    history: [...history, { created, created_by: changes.command.join(' '), comment: 'sandboxlib' }],
  });
  const manifest = jsonOf(base.documents.manifest);
  const isDocker = base.mediaType.startsWith('application/vnd.docker.');
  const named = isDocker
    ? {}
    : {
        annotations: {
          ...(manifest['annotations'] as Json | undefined),
          'org.opencontainers.image.base.name': base.name,
          'org.opencontainers.image.base.digest': base.digest,
        },
      };
  const { size, digest } = layer;
  const added = { mediaType: isDocker ? DOCKER_LAYER : OCI_LAYER, size, digest };
  return {
    config,
    manifest: Buffer.from(
      JSON.stringify({
        ...manifest,
        mediaType: base.mediaType,
        config: { ...(manifest['config'] as Json), digest: config.digest, size: config.size },
        layers: [...(manifest['layers'] as readonly Json[]), added],
        ...named,
      }),
    ),
  };
}

function documentOf(value: Json): Blob {
  const bytes = Buffer.from(JSON.stringify(value));
  return {
    digest: hashBytes(bytes),
    size: bytes.length,
    async *content() {
      yield bytes;
    },
  };
}

/** Of a document that was read, and checked, as an image's before. */
function jsonOf(bytes: Uint8Array): Json {
  return JSON.parse(Buffer.from(bytes).toString('utf8')) as Json;
}

/** The first that fails is what is thrown, when the others that had begun are over. */
async function inParallel<T>(all: readonly T[], act: (one: T) => Promise<void>): Promise<void> {
  const queue = [...all];
  const failed: unknown[] = [];
  const work = async (): Promise<void> => {
    for (let one = queue.shift(); one !== undefined && failed.length === 0; one = queue.shift())
      await act(one).catch((error: unknown) => void failed.push(error));
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  if (failed.length > 0) throw failed[0];
}

function unsupported(message: string, remedy?: string): ImageError {
  return new ImageError('SBX_IMAGE_UNSUPPORTED', message, {}, { remedy });
}
