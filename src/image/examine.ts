// Looks at whatever an image comes as, without unpacking it: what it is, and everything that is wrong with it.
import { statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { examineAci } from './aci/examine.ts';
import { parseAciManifest } from './aci/manifest.ts';
import { parseAciPod } from './aci/pod.ts';
import { type ArchiveLimits, defaultArchiveLimits } from './archive/limits.ts';
import { openArchive } from './archive/open.ts';
import { readArchiveFile } from './archive-file.ts';
import { readDocumentFile } from './document-file.ts';
import { type DocumentKind, type Examined, Findings } from './examined.ts';
import { parseJson } from './json.ts';
import { parseBundle } from './oci/bundle.ts';
import { parseImageConfig } from './oci/config.ts';
import { examineLayout } from './oci/examine.ts';
import { parseOciDocument } from './oci/manifest.ts';
import { archiveMembers, layoutMembers } from './oci/members.ts';
import { type ImageKind, sniffImage } from './sniff.ts';
import { TreeCheck } from './tree-check.ts';

export interface ExamineOptions {
  /** What is not named has its default. */
  readonly limits?: Partial<ArchiveLimits>;
  /** Whether layers are read, beside their digests: it takes as long as to unpack them. @defaultValue true */
  readonly layers?: boolean;
  /** As `gpg --export` writes it: who must have signed an App Container image, in `PATH.asc`. Anything else is then refused. */
  readonly keyring?: string;
}

type Parts = Omit<Examined, 'path' | 'kind' | 'issues' | 'notes'>;

/** Never throws for what is wrong with an image: that is in `issues`. */
export async function examineImage(path: string, options: ExamineOptions = {}): Promise<Examined> {
  const findings = new Findings(path);
  const limits = { ...defaultArchiveLimits, ...options.limits };
  let kind: Examined['kind'] = 'unknown';
  let parts: Parts = {};
  try {
    const sniffed = await sniffImage(path, limits);
    if (sniffed === 'manifest') ({ kind, ...parts } = examineDocument(path, findings));
    else {
      kind = sniffed;
      parts = await examineKind(sniffed, path, limits, options.layers ?? true, findings);
    }
  } catch (error) {
    findings.failure('', error);
  }
  const { keyring } = options;
  if (keyring !== undefined) parts = { ...parts, ...(await examineSignature(path, kind, keyring, parts, findings)) };
  return { path, kind, ...parts, ...findings.finish() };
}

async function examineKind(
  kind: Exclude<ImageKind, 'manifest'>,
  path: string,
  limits: ArchiveLimits,
  layers: boolean,
  findings: Findings,
): Promise<Parts> {
  switch (kind) {
    case 'aci':
      return examineAci(path, limits, findings);
    case 'oci-layout':
      return examineLayout(layoutMembers(path), limits, layers, findings);
    case 'oci-archive':
    case 'docker-archive':
      return examineLayout(archiveMembers(path, limits), limits, layers, findings);
    case 'bundle':
      return examineBundle(join(path, 'config.json'), findings);
    case 'tar':
      return examineTar(path, limits, findings);
    case 'directory':
      findings.issue(
        '',
        'it is a directory and no image: neither oci-layout and index.json are in it nor config.json and rootfs',
      );
      return {};
  }
}

/** What was not read to its end is not signed either: its issues say why. */
async function examineSignature(
  path: string,
  kind: Examined['kind'],
  keyring: string,
  { archive }: Parts,
  findings: Findings,
): Promise<Pick<Examined, 'signers'>> {
  if (kind !== 'aci') {
    findings.issue('signature', 'only App Container images have a detached signature here, and this is none');
    return {};
  }
  try {
    const { verifyDetached } = await import('./aci/signature.ts');
    const { signers, digest } = await verifyDetached(path, `${path}.asc`, keyring);
    if (archive !== undefined && archive.digest !== digest)
      findings.issue('signature', 'the image changed between two looks at it');
    return { signers };
  } catch (error) {
    findings.failure('signature', error);
    return {};
  }
}

async function examineTar(path: string, limits: ArchiveLimits, findings: Findings): Promise<Parts> {
  const opened = await openArchive(readArchiveFile(path), path, limits);
  const tree = new TreeCheck();
  let entries = 0;
  for await (const entry of opened.entries) {
    entries += 1;
    const problem = tree.entry(entry);
    if (problem !== undefined) findings.issue('archive', problem);
  }
  return { archive: opened.facts(), entries };
}

/** What a sandbox does not serve of it is a note: it says nothing against the document. */
function examineBundle(file: string, findings: Findings): Parts {
  const document = readDocumentFile(file);
  const directory = resolve(dirname(file));
  const bundle = findings.attempt('config.json', () => parseBundle(document, { directory, unserved: 'note' }));
  if (bundle === undefined) return {};
  const { root } = bundle.spec;
  const path = typeof root === 'string' ? root : root?.path;
  if (path !== undefined && statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true)
    findings.issue('config.json', `there is no directory ${path}`, ['root', 'path']);
  return { bundle, documents: { 'config.json': parseJson(document, 'config.json') } };
}

/** A document by itself, told by the members that only it has. */
function examineDocument(path: string, findings: Findings): Parts & { readonly kind: DocumentKind } {
  const bytes = readDocumentFile(path);
  const json = parseJson(bytes, 'the document');
  const has = (key: string): boolean => typeof json === 'object' && json !== null && Object.hasOwn(json, key);
  if (has('ociVersion')) return { kind: 'bundle-config', ...examineBundle(path, findings) };
  const documents = { document: json };
  if (has('acKind')) return { ...appContainer(bytes, json, findings), documents };
  if (has('manifests') || has('layers') || (has('config') && has('schemaVersion'))) {
    const found = findings.attempt('', () => parseOciDocument(bytes, 'the document'));
    return { kind: has('manifests') ? 'oci-index' : 'oci-manifest', documents: found === undefined ? {} : documents };
  }
  if (has('rootfs')) {
    const config = findings.attempt('', () => parseImageConfig(bytes));
    return { kind: 'oci-config', documents, ...(config === undefined ? {} : { config }) };
  }
  findings.issue(
    '',
    'it is no document that is known: it has neither acKind, ociVersion, manifests, layers nor rootfs',
  );
  return { kind: 'unknown', documents };
}

function appContainer(bytes: Uint8Array, json: unknown, findings: Findings): Parts & { readonly kind: DocumentKind } {
  if ((json as { acKind: unknown }).acKind === 'PodManifest') {
    const pod = findings.attempt('', () => parseAciPod(bytes));
    return { kind: 'pod-manifest', ...(pod === undefined ? {} : { pod }) };
  }
  const manifest = findings.attempt('', () => parseAciManifest(bytes));
  return { kind: 'image-manifest', ...(manifest === undefined ? {} : { manifest }) };
}
