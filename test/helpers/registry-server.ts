// A registry on loopback that does what a test tells it to, good or bad. It counts what it was asked.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export interface TestServer {
  readonly host: string;
  /** What was asked, in order: method and URL. */
  readonly asked: string[];
  readonly requests: IncomingMessage[];
  readonly close: () => Promise<void>;
}

export async function serve(handler: Handler): Promise<TestServer> {
  const asked: string[] = [];
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    requests.push(request);
    handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    host: `127.0.0.1:${port}`,
    asked,
    requests,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function sha256(content: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

export interface MadeImage {
  readonly blobs: ReadonlyMap<string, Uint8Array>;
  readonly manifest: string;
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
}

/** An image of layers that are nothing but bytes. */
export function makeImage(layers: readonly Uint8Array[], more: object = {}): MadeImage {
  const config = JSON.stringify({
    os: 'linux',
    architecture: 'amd64',
    config: { Cmd: ['true'] },
    rootfs: { type: 'layers', diff_ids: layers.map(sha256) },
    ...more,
  });
  const described = layers.map((layer) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    digest: sha256(layer),
    size: layer.byteLength,
  }));
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: sha256(config),
      size: Buffer.byteLength(config),
    },
    layers: described,
  });
  const blobs = new Map<string, Uint8Array>([
    [sha256(config), Buffer.from(config)],
    ...layers.map((layer) => [sha256(layer), layer] as const),
  ]);
  return { blobs, manifest, layers: described };
}

/** Serves `image` as `app:latest`, as the distribution spec has it, ranges included. */
export function serving(image: MadeImage, manifests: ReadonlyMap<string, string> = new Map()): Handler {
  return ({ url = '', method, headers }, response) => {
    const [, kind, name = ''] = /^\/v2\/app\/(manifests|blobs)\/(.+)$/.exec(url) ?? [];
    if (kind === 'manifests') {
      const text =
        manifests.get(name) ?? (name === 'latest' || name === sha256(image.manifest) ? image.manifest : undefined);
      if (text === undefined) return fail(response, 404, 'MANIFEST_UNKNOWN');
      const { mediaType } = JSON.parse(text) as { mediaType: string };
      response.writeHead(200, {
        'content-type': mediaType,
        'docker-content-digest': sha256(text),
        'content-length': Buffer.byteLength(text),
      });
      response.end(method === 'HEAD' ? undefined : text);
      return;
    }
    const blob = image.blobs.get(name);
    if (blob === undefined) return fail(response, 404, 'BLOB_UNKNOWN');
    const [, start] = /^bytes=(\d+)-$/.exec(headers.range ?? '') ?? [];
    if (start === undefined) response.writeHead(200, { 'content-length': blob.byteLength });
    else response.writeHead(206, { 'content-range': `bytes ${start}-${blob.byteLength - 1}/${blob.byteLength}` });
    response.end(blob.subarray(Number(start ?? 0)));
  };
}

export function fail(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ errors: [{ code, message: `it is ${code}` }] }));
}
