// An image layout or an archive of `docker save`, read where it is: every blob is what its name says, every document is valid and agrees with those that
// name it, and every layer is a tar archive with the digest that the configuration has for it.
import { shown } from '../archive/bytes.ts';
import type { ArchiveLimits } from '../archive/limits.ts';
import { type ArchiveFacts, openArchive } from '../archive/open.ts';
import type { Examined, ExaminedImage, ExaminedLayer, Findings } from '../examined.ts';
import { parseJson } from '../json.ts';
import { type OciImageConfig, parseImageConfig } from './config.ts';
import type { Descriptor } from './descriptor.ts';
import { blobPath, checkOciLayout, type DockerArchiveImage, parseDockerArchive } from './layout.ts';
import { type OciManifest, parseOciDocument } from './manifest.ts';
import { kindOf, layerCompression } from './media-types.ts';
import type { Members } from './members.ts';
import { formatPlatform, type Platform } from './platform.ts';
import { Survey } from './survey.ts';

/** An index may list indexes; no tool makes more than two of them. */
const INDEXES_MAX = 4;
const refName = 'org.opencontainers.image.ref.name';
const referenceType = 'vnd.docker.reference.type';

/** What a layer must be, and who says so. */
interface Expectation {
  readonly where: string;
  readonly diffId: string | undefined;
  readonly mediaType: string | undefined;
}

interface FoundImage extends ExaminedImage {
  readonly names: string[];
}

/** `readLayers`: read and decompress them too, which takes another pass. */
export async function examineLayout(
  members: Members,
  limits: ArchiveLimits,
  readLayers: boolean,
  findings: Findings,
): Promise<Pick<Examined, 'images' | 'documents'>> {
  const survey = await Survey.of(members, findings);
  const layout = new Layout(survey, findings);
  // An archive may be both.
  if (survey.file('oci-layout') !== undefined || survey.file('index.json') !== undefined) layout.ociLayout();
  if (survey.file('manifest.json') !== undefined) layout.dockerArchive();
  if (readLayers) await examineLayers(members, limits, layout.layers, findings);
  return { images: layout.images, documents: layout.documents };
}

class Layout {
  readonly #survey: Survey;
  readonly #findings: Findings;
  readonly #byDigest = new Map<string, FoundImage | undefined>();
  readonly documents: Record<string, unknown> = {};
  /** By the path of the file. */
  readonly layers = new Map<string, Expectation[]>();

  constructor(survey: Survey, findings: Findings) {
    this.#survey = survey;
    this.#findings = findings;
  }

  get images(): ExaminedImage[] {
    return [...this.#byDigest.values()].filter((image) => image !== undefined);
  }

  ociLayout(): void {
    const version = this.#document('oci-layout', '');
    if (version !== undefined) this.#findings.attempt('oci-layout', () => void checkOciLayout(version));
    const bytes = this.#document('index.json', '');
    if (bytes === undefined) return;
    const index = this.#findings.attempt('index.json', () => parseOciDocument(bytes, 'index.json'));
    if (index === undefined) return;
    if (index.kind !== 'index') {
      this.#findings.issue('index.json', 'must be an index, and is a manifest');
      return;
    }
    for (const [at, descriptor] of index.manifests.entries())
      this.#visit(descriptor, 'index.json', ['manifests', at], descriptor.annotations.get(refName), 0);
    if (this.images.length === 0 && this.#findings.issues.length === 0)
      this.#findings.issue('index.json', 'there is no image in it');
  }

  #visit(
    descriptor: Descriptor,
    where: string,
    at: readonly (string | number)[],
    name: string | undefined,
    depth: number,
  ): void {
    const { digest, mediaType, annotations } = descriptor;
    const path = blobPath(digest);
    const known = this.#byDigest.get(digest);
    if (name !== undefined && known !== undefined && !known.names.includes(name)) known.names.push(name);
    // A layout of one platform may name the others, whose blobs are elsewhere (image-layout.md).
    if (depth > 0 && this.#survey.file(path) === undefined) {
      this.#findings.note(where, `${platformWords(descriptor)}${digest} is not here`, at);
      return;
    }
    if (!this.#checkBlob(descriptor, where, at) || this.#byDigest.has(digest)) return;
    const kind = kindOf(mediaType);
    if (annotations.has(referenceType) || (kind !== 'index' && kind !== 'manifest')) {
      this.#findings.note(where, `${annotations.get(referenceType) ?? mediaType} is passed over`, at);
      return;
    }
    const own = `${kind} ${shortDigest(digest)}`;
    const bytes = this.#document(path, own);
    const document =
      bytes === undefined ? undefined : this.#findings.attempt(own, () => parseOciDocument(bytes, own, mediaType));
    this.#byDigest.set(digest, undefined);
    if (document === undefined) return;
    if (document.kind === 'manifest') this.#manifest(document, descriptor, own, name);
    else if (depth === INDEXES_MAX)
      this.#findings.issue(own, `it is an index of indexes, more than ${INDEXES_MAX} deep`);
    else
      for (const [index, next] of document.manifests.entries())
        this.#visit(next, own, ['manifests', index], next.annotations.get(refName) ?? name, depth + 1);
  }

  #manifest(manifest: OciManifest, { digest, platform }: Descriptor, where: string, name: string | undefined): void {
    const config = this.#config(manifest.config, where, platform);
    const layers = manifest.layers.map((layer, index): ExaminedLayer => {
      const diffId = config?.diffIds[index];
      if (this.#checkBlob(layer, where, ['layers', index]))
        this.#expect(blobPath(layer.digest), { where, diffId, mediaType: layer.mediaType });
      return { digest: layer.digest, size: layer.size, mediaType: layer.mediaType, diffId };
    });
    if (config !== undefined) this.#checkCount(config, layers.length, where);
    this.#byDigest.set(digest, { names: name === undefined ? [] : [name], digest, manifest, config, layers });
  }

  #config(descriptor: Descriptor, manifest: string, announced: Platform | undefined): OciImageConfig | undefined {
    if (!this.#checkBlob(descriptor, manifest, ['config'])) return undefined;
    const where = `configuration ${shortDigest(descriptor.digest)}`;
    const config = this.#parseConfig(blobPath(descriptor.digest), where);
    if (config === undefined || announced === undefined) return config;
    const { os, architecture } = config.platform;
    if (os !== announced.os || architecture !== announced.architecture)
      this.#findings.issue(
        where,
        `it is for ${os}/${architecture}, and was announced for ${formatPlatform(announced)}`,
      );
    return config;
  }

  dockerArchive(): void {
    const bytes = this.#document('manifest.json', '');
    if (bytes === undefined) return;
    const archive = this.#findings.attempt('manifest.json', () => parseDockerArchive(bytes));
    for (const [index, image] of archive?.images.entries() ?? []) this.#dockerImage(image, [index]);
  }

  #dockerImage(
    { config: path, configDigest, layers: paths, repoTags }: DockerArchiveImage,
    at: readonly number[],
  ): void {
    const file = this.#survey.file(path);
    if (file === undefined) {
      this.#findings.issue('manifest.json', `there is no file '${path}'`, [...at, 'Config']);
      return;
    }
    if (configDigest !== undefined && configDigest !== file.digest && !path.startsWith('blobs/'))
      this.#findings.issue(path, `the content has the digest ${file.digest}, which is not that of its name`);
    const config = this.#parseConfig(path, path);
    const layers = paths.flatMap((layer, index): ExaminedLayer[] => {
      const found = this.#survey.file(layer);
      if (found === undefined)
        this.#findings.issue('manifest.json', `there is no file '${layer}'`, [...at, 'Layers', index]);
      if (found === undefined) return [];
      const diffId = config?.diffIds[index];
      this.#expect(layer, { where: 'manifest.json', diffId, mediaType: undefined });
      return [{ ...found, mediaType: undefined, diffId }];
    });
    if (config !== undefined) this.#checkCount(config, paths.length, 'manifest.json');
    // The same image by way of a layout in the same archive has its manifest, and its own entry.
    const known = [...this.#byDigest.values()].find((image) => image?.manifest?.config.digest === file.digest);
    if (known !== undefined) known.names.push(...repoTags.filter((tag) => !known.names.includes(tag)));
    else
      this.#byDigest.set(`${file.digest} ${at}`, {
        names: [...repoTags],
        digest: file.digest,
        manifest: undefined,
        config,
        layers,
      });
  }

  #parseConfig(path: string, where: string): OciImageConfig | undefined {
    const bytes = this.#document(path, where);
    return bytes === undefined ? undefined : this.#findings.attempt(where, () => parseImageConfig(bytes));
  }

  #checkCount({ diffIds }: OciImageConfig, layers: number, where: string): void {
    if (diffIds.length !== layers)
      this.#findings.issue(
        where,
        `has ${layers} layers, and the configuration has ${diffIds.length} in rootfs.diff_ids`,
      );
  }

  #expect(path: string, expectation: Expectation): void {
    const resolved = this.#survey.resolve(path);
    const known = this.layers.get(resolved);
    if (known === undefined) this.layers.set(resolved, [expectation]);
    else if (
      !known.some(({ diffId, mediaType }) => diffId === expectation.diffId && mediaType === expectation.mediaType)
    )
      known.push(expectation);
  }

  /** That it is there, and of its size; that the content is what its name says was looked at before. */
  #checkBlob({ digest, size }: Descriptor, where: string, at: readonly (string | number)[]): boolean {
    const file = this.#survey.file(blobPath(digest));
    if (file === undefined) this.#findings.issue(where, `there is no blob ${digest}`, [...at, 'digest']);
    else if (file.size !== size)
      this.#findings.issue(where, `is ${size}, and the blob has ${file.size} bytes`, [...at, 'size']);
    return file !== undefined;
  }

  /** `where` it would be missed: empty where its own path says so. */
  #document(path: string, where: string): Uint8Array | undefined {
    const bytes = this.#survey.document(path);
    if (bytes === undefined)
      this.#findings.issue(where, `${where === '' ? `there is no ${path}` : 'it is no JSON, or too large to be read'}`);
    else
      try {
        this.documents[path] = parseJson(bytes, path);
      } catch {
        // Who parses it for what is in it says so.
      }
    return bytes;
  }
}

async function examineLayers(
  members: Members,
  limits: ArchiveLimits,
  layers: ReadonlyMap<string, readonly Expectation[]>,
  findings: Findings,
): Promise<void> {
  for await (const member of members()) {
    const expectations = layers.get(member.path);
    if (expectations === undefined || 'target' in member) continue;
    const where = `layer ${shortName(member.path)}`;
    try {
      const opened = await openArchive(member.content, where, limits);
      for await (const _ of opened.entries);
      compare(opened.facts(), expectations, where, findings);
    } catch (error) {
      findings.failure(where, error);
    }
  }
}

function compare(facts: ArchiveFacts, expectations: readonly Expectation[], where: string, findings: Findings): void {
  const diffIds = [facts.diffId, facts.imageId.replace('-', ':')];
  for (const { where: by, diffId, mediaType } of expectations) {
    if (diffId !== undefined && !diffIds.includes(diffId))
      findings.issue(
        where,
        `uncompressed it has the digest ${facts.diffId}, and the configuration says ${diffId} (${by})`,
      );
    const announced = mediaType === undefined ? undefined : layerCompression(mediaType);
    if (announced !== undefined && announced !== facts.compression)
      findings.issue(where, `it is compressed by ${facts.compression}, and its media type is ${mediaType} (${by})`);
  }
}

function platformWords({ platform }: Descriptor): string {
  return platform === undefined ? '' : `the image for ${formatPlatform(platform)}, `;
}

function shortName(path: string): string {
  const [, algorithm, hex] = /^blobs\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
  return algorithm === undefined ? shown(path) : shortDigest(`${algorithm}:${hex}`);
}

/** Enough to tell apart, and to find the file by. */
function shortDigest(digest: string): string {
  return digest.slice(0, digest.indexOf(':') + 13);
}
