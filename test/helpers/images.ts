// Images made byte by byte, also such as no builder makes. Their root is one static program.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { blobPath } from '../../src/image/oci/layout.ts';
import { platformOf } from '../../src/image/oci/platform.ts';
import { type MadeImage, makeImage, sha256 } from './registry-server.ts';
import { type Member, tar } from './tar.ts';

export const BUSYBOX = '/bin/busybox';

const applets =
  'sh cat chmod chown echo env find head id ln ls mkdir mkfifo mknod mount mv pwd readlink rm rmdir sleep sort stat touch true wc'.split(
    ' ',
  );

/** A root in which a shell runs; not `/tmp`, which images of one program lack. `app` is 123:456, and its home `/srv`. */
export function busyboxRoot(): Member[] {
  return [
    { name: 'bin/', type: '5' },
    { name: 'bin/busybox', mode: 0o755, content: readFileSync(BUSYBOX) },
    ...applets.map((name) => ({ name: `bin/${name}`, type: '2', linkname: 'busybox' })),
    { name: 'etc/', type: '5' },
    { name: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\napp:x:123:456::/srv:/bin/sh\n' },
    { name: 'etc/group', content: 'root:x:0:\napp:x:456:\n' },
    { name: 'root/', type: '5', mode: 0o700 },
    { name: 'srv/', type: '5', uid: 123, gid: 456 },
  ];
}

/** The part of a configuration that is about running it, in the words of Docker. */
export interface RunConfig {
  readonly Cmd?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Env?: readonly string[];
  readonly StopSignal?: string;
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly Volumes?: Readonly<Record<string, object>>;
}

/** Layers are tar archives, the lowest first. `diffIds`: in place of what they are. */
export function ociImage(
  layers: readonly Uint8Array[],
  config: RunConfig = {},
  diffIds?: readonly string[],
): MadeImage {
  const { os, architecture } = platformOf(process.arch);
  const rootfs = { type: 'layers', diff_ids: diffIds ?? layers.map(sha256) };
  return makeImage(layers, { os, architecture, config, rootfs });
}

function layoutFiles(image: MadeImage, name?: string): Map<string, Uint8Array> {
  const descriptor = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: sha256(image.manifest),
    size: Buffer.byteLength(image.manifest),
    ...(name === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': name } }),
  };
  const index = JSON.stringify({ schemaVersion: 2, manifests: [descriptor] });
  const blobs = new Map([...image.blobs, [sha256(image.manifest), Buffer.from(image.manifest)]]);
  return new Map<string, Uint8Array>([
    ['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')],
    ['index.json', Buffer.from(index)],
    ...[...blobs].map(([digest, content]) => [blobPath(digest), content] as const),
  ]);
}

/** Returns the directory. */
export function writeLayout(directory: string, image: MadeImage, name?: string): string {
  mkdirSync(join(directory, 'blobs/sha256'), { recursive: true });
  for (const [path, content] of layoutFiles(image, name)) writeFileSync(join(directory, path), content);
  return directory;
}

export function ociArchive(image: MadeImage, name?: string): Buffer {
  return tar(...[...layoutFiles(image, name)].map(([path, content]) => ({ name: path, content })));
}

export interface DockerArchiveOptions {
  /** In front of the rest; a layer that is in there is left out of the rest. */
  readonly more?: readonly Member[];
  /** Whose names the files have: those of `docker save`, of `crane pull`, or of Jib. */
  readonly by?: 'docker' | 'crane' | 'jib';
}

/** As `docker save` writes one, or others in its place: layers first. */
export function dockerArchive(
  layers: readonly Uint8Array[],
  config: RunConfig = {},
  { more = [], by = 'docker' }: DockerArchiveOptions = {},
): Buffer {
  const { os, architecture } = platformOf(process.arch);
  const rootfs = { type: 'layers', diff_ids: layers.map(sha256) };
  const document = JSON.stringify({ os, architecture, config, rootfs });
  const hexOf = (content: string | Uint8Array): string => sha256(content).slice('sha256:'.length);
  const configName = { docker: `${hexOf(document)}.json`, crane: sha256(document), jib: 'config.json' }[by];
  const names = layers.map((_, index) => `${hexOf(String(index))}${by === 'docker' ? '/layer.tar' : '.tar.gz'}`);
  const files: Member[] = layers
    .map((content, index) => ({ name: names[index] ?? '', content }))
    .filter(({ name }) => !more.some((member) => member.name === name));
  return tar(
    ...more,
    ...files,
    { name: configName, content: document },
    {
      name: 'manifest.json',
      content: JSON.stringify([{ Config: configName, RepoTags: ['example.com/app:1'], Layers: names }]),
    },
  );
}

/** An App Container image; `app` and `more` go into its manifest. */
export function aci(members: readonly Member[], app: object = {}, more: object = {}): Buffer {
  const manifest = {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name: 'example.com/app',
    app: { exec: ['/bin/sh'], user: '0', group: '0', ...app },
    ...more,
  };
  return tar(
    { name: 'manifest', content: JSON.stringify(manifest) },
    { name: 'rootfs/', type: '5' },
    ...members.map((member) => ({
      ...member,
      name: `rootfs/${member.name}`,
      ...(member.type === '1' ? { linkname: `rootfs/${member.linkname}` } : {}),
    })),
  );
}
