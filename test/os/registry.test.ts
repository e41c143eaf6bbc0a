// The client against Debian's docker-registry, with images that skopeo put there: what others write is what we read.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseImageConfig } from '../../src/image/oci/config.ts';
import {
  blobPath,
  checkOciLayout,
  parseDockerArchive,
  selectFromArchive,
  selectFromLayout,
} from '../../src/image/oci/layout.ts';
import { type OciIndex, parseOciDocument } from '../../src/image/oci/manifest.ts';
import { platformOf } from '../../src/image/oci/platform.ts';
import { parseImageReference, type RegistryReference } from '../../src/image/reference.ts';
import { RegistryClient, type RegistryOptions } from '../../src/image/registry/client.ts';
import { fetchImage, fetchLayers } from '../../src/image/registry/pull.ts';
import { type Registry, startRegistry } from '../helpers/docker-registry.ts';
import { makeImage, sha256 } from '../helpers/registry-server.ts';
import { requires, whyMissing } from '../helpers/requires.ts';

requires('command:docker-registry', 'command:skopeo');

const here = ['command:docker-registry', 'command:skopeo'].every((need) => whyMissing(need as 'linux') === undefined);
const credentials = { username: 'me', password: 'secret word' };
/** bcrypt of that password, the one hash that the registry reads. */
const htpasswd = 'me:$2b$04$NCUv6pF/IXFFgboU8IS8wesxJDUhSEuE1kWz8qju.uQYecV/JNPWK\n';

let work: string;
let open: Registry | undefined;
let closed: Registry | undefined;

/** Large enough for several reads, and not to be packed. */
const layers = [gzipSync(randomBytes(3_000_000)), gzipSync(Buffer.from('second'))];
const image = makeImage(layers);

beforeAll(async () => {
  if (!here) return;
  work = mkdtempSync(join(tmpdir(), 'registry-'));
  writeFileSync(join(work, 'htpasswd'), htpasswd);
  writeLayout(join(work, 'layout'));
  open = await startRegistry(join(work, 'open'));
  closed = await startRegistry(
    join(work, 'closed'),
    `auth:\n  htpasswd:\n    realm: it\n    path: ${join(work, 'htpasswd')}\n`,
  );
});

afterAll(async () => {
  await Promise.all([open, closed].map((registry) => registry?.close()));
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});

function writeLayout(directory: string): void {
  mkdirSync(join(directory, 'blobs/sha256'), { recursive: true });
  const zipped = image.manifest.replaceAll('layer.v1.tar"', 'layer.v1.tar+gzip"');
  const blobs = new Map([...image.blobs, [sha256(zipped), Buffer.from(zipped)]]);
  for (const [digest, content] of blobs) writeFileSync(join(directory, blobPath(digest)), content);
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const descriptor = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: sha256(zipped),
    size: Buffer.byteLength(zipped),
    annotations: { 'org.opencontainers.image.ref.name': 'v1' },
  };
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [descriptor] }));
}

function skopeo(...args: string[]): string {
  return execFileSync('skopeo', ['--insecure-policy', ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function push(registry: Registry | undefined, name: string, ...args: string[]): RegistryReference {
  const text = `${registry?.host}/${name}`;
  skopeo('copy', '--dest-tls-verify=false', ...args, `oci:${join(work, 'layout')}:v1`, `docker://${text}`);
  return parseImageReference(text) as RegistryReference;
}

async function pulled(reference: RegistryReference, options: RegistryOptions = {}): Promise<Buffer[]> {
  const client = new RegistryClient(options);
  const { manifest, config } = await fetchImage(client, reference, platformOf('x64'));
  expect(config.cmd).toEqual(['true']);
  const contents: Buffer[] = [];
  await fetchLayers(client, reference, manifest.layers, async (_, index, content) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of content) chunks.push(chunk);
    contents[index] = Buffer.concat(chunks);
  });
  return contents;
}

describe('an image at a registry', () => {
  test.each([
    ['OCI', 'oci'],
    ['Docker', 'v2s2'],
  ])('comes as it was put there, in the form of %s', async (_, format) => {
    const reference = push(open, `app/${format}:1`, '--format', format);
    const contents = await pulled(reference);
    expect(contents.map((content, index) => layers[index]?.equals(content))).toEqual([true, true]);
  });

  test('is resolved to the digest that skopeo sees, and comes by it', async () => {
    const reference = push(open, 'app/digest:1');
    const digest = await new RegistryClient().resolve(reference);
    const seen = skopeo(
      'inspect',
      '--tls-verify=false',
      '--format',
      '{{.Digest}}',
      `docker://${open?.host}/app/digest:1`,
    ).trim();
    expect(digest).toBe(seen);
    expect(await pulled({ ...reference, tag: undefined, digest })).toHaveLength(2);
  });

  test('goes on in the middle', async () => {
    const reference = push(open, 'app/range:1');
    const [first] = layers;
    let cut = false;
    const cutting = async (url: string, init: RequestInit): Promise<Response> => {
      const response = await fetch(url, init);
      if (
        cut ||
        !url.includes('/blobs/') ||
        first === undefined ||
        !url.includes(sha256(first)) ||
        response.body === null
      )
        return response;
      cut = true;
      const reader = response.body.getReader();
      const { value } = await reader.read();
      await reader.cancel();
      return new Response(value);
    };
    const contents = await pulled(reference, { fetch: cutting, wait: async () => undefined });
    expect(cut).toBe(true);
    expect(contents[0]?.equals(first ?? Buffer.alloc(0))).toBe(true);
  });

  test('that is not there is named', async () => {
    const missing = parseImageReference(`${open?.host}/no/such:1`) as RegistryReference;
    await expect(pulled(missing)).rejects.toThrow(/404 \(MANIFEST_UNKNOWN: .*; check the name and the tag/);
  });
});

describe('an image at a registry that asks who wants it', () => {
  test('comes with the right password, and with no other', async () => {
    const reference = push(closed, 'app:1', '--dest-creds', `${credentials.username}:${credentials.password}`);
    expect(await pulled(reference, { credentials: () => credentials })).toHaveLength(2);
    await expect(pulled(reference)).rejects.toThrow('wants to know who asks; give a user name and a password');
    const wrong = { ...credentials, password: 'guess' };
    await expect(pulled(reference, { credentials: () => wrong })).rejects.toThrow(/answers 401.*check the user name/);
  });
});

describe('what skopeo writes into files', () => {
  test('is a layout that is read here', () => {
    const layout = join(work, 'copy');
    skopeo('copy', `oci:${join(work, 'layout')}:v1`, `oci:${layout}:named`);
    checkOciLayout(readFileSync(join(layout, 'oci-layout')));
    const index = parseOciDocument(readFileSync(join(layout, 'index.json')), 'index.json') as OciIndex;
    const { digest, mediaType } = selectFromLayout(index, 'named');
    const manifest = parseOciDocument(readFileSync(join(layout, blobPath(digest))), 'the manifest', mediaType);
    if (manifest.kind !== 'manifest') throw new Error('an index');
    const config = parseImageConfig(readFileSync(join(layout, blobPath(manifest.config.digest))));
    expect(config.cmd).toEqual(['true']);
  });

  test('is an archive of docker save that is read here', () => {
    const archive = join(work, 'saved.tar');
    // Layers of an archive are written uncompressed, and these are no archives: only what names them is looked at.
    skopeo('copy', `oci:${join(work, 'layout')}:v1`, `docker-archive:${archive}:example.org/app:1`);
    const { images } = parseDockerArchive(execFileSync('tar', ['-xOf', archive, 'manifest.json']));
    const { config, configDigest, layers: paths } = selectFromArchive(images, 'example.org/app:1');
    const document = execFileSync('tar', ['-xOf', archive, config]);
    expect(configDigest).toBe(sha256(document));
    expect(parseImageConfig(document).diffIds).toHaveLength(paths.length);
  });
});
