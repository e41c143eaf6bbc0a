// Writing to registries that do what they should, and to others.
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { ImageError } from '../../../src/errors/errors.ts';
import type { RegistryOptions } from '../../../src/image/registry/client.ts';
import { type Blob, RegistryWriter } from '../../../src/image/registry/upload.ts';
import { fail, type Handler, serve, sha256, type TestServer } from '../../helpers/registry-server.ts';

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const content = randomBytes(700_000);
let readings = 0;
const blob: Blob = {
  digest: sha256(content),
  size: content.length,
  async *content() {
    readings++;
    for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
  },
};

interface Stand {
  readonly server: TestServer;
  /** Bodies of what was put, by path. */
  readonly put: Map<string, Buffer>;
  readonly repository: { readonly registry: string; readonly repository: string };
  readonly writer: RegistryWriter;
  readonly waits: number[];
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** A registry that has nothing; `odd` answers first, and returns whether it did. */
async function stand(odd: (...args: Parameters<Handler>) => boolean = () => false, options: RegistryOptions = {}) {
  const put = new Map<string, Buffer>();
  const server = await serve((request, response) => {
    if (odd(request, response)) return;
    const { method, url = '' } = request;
    if (method === 'HEAD') fail(response, 404, 'BLOB_UNKNOWN');
    else if (method === 'POST')
      response.writeHead(202, { location: '/v2/app/blobs/uploads/1?state=secret', 'content-length': 0 }).end();
    else
      read(request).then(
        (body) => {
          put.set(url, body);
          response.writeHead(201).end();
        },
        () => response.destroy(),
      );
  });
  servers.push(server);
  const waits: number[] = [];
  const wait = async (ms: number): Promise<void> => void waits.push(ms);
  readings = 0;
  return {
    server,
    put,
    waits,
    repository: { registry: server.host, repository: 'app' },
    writer: new RegistryWriter({ wait, ...options }),
  } satisfies Stand;
}

const session = `/v2/app/blobs/uploads/1?state=secret&digest=${encodeURIComponent(blob.digest)}`;
const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('content', () => {
  test('is sent whole, with its length, to where the registry says', async () => {
    const { writer, repository, put, server } = await stand();
    expect(await writer.upload(repository, blob)).toBe(true);
    expect(put.get(session)?.equals(content)).toBe(true);
    const { headers } = server.requests.at(-1) ?? {};
    expect([headers?.['content-length'], headers?.['transfer-encoding']]).toEqual([String(content.length), undefined]);
  });

  test('that is there is not sent', async () => {
    const { writer, repository, server } = await stand(({ method }, response) => {
      if (method === 'HEAD') response.writeHead(200, { 'content-length': content.length }).end();
      return method === 'HEAD';
    });
    expect(await writer.upload(repository, blob)).toBe(false);
    expect([server.asked, readings]).toEqual([[`HEAD /v2/app/blobs/${blob.digest}`], 0]);
  });

  test('of another repository is not sent where the registry takes it from there, and else is', async () => {
    const asked = `/v2/app/blobs/uploads/?mount=${encodeURIComponent(blob.digest)}&from=base`;
    const mounting = await stand(({ url }, response) => {
      if (url === asked) response.writeHead(201).end();
      return url === asked;
    });
    expect(await mounting.writer.upload(mounting.repository, blob, 'base')).toBe(false);
    expect(readings).toBe(0);
    const other = await stand();
    expect(await other.writer.upload(other.repository, blob, 'base')).toBe(true);
    expect(other.server.asked).toContain(`POST ${asked}`);
    expect(other.put.get(session)?.equals(content)).toBe(true);
  });

  test('is sent again, from its beginning and in another session, where the registry was busy', async () => {
    let refused = 0;
    const { writer, repository, put, waits, server } = await stand((request, response) => {
      if (request.method !== 'PUT' || ++refused > 2) return false;
      request.resume().on('end', () => fail(response, 503, 'UNAVAILABLE'));
      return true;
    });
    expect(await writer.upload(repository, blob)).toBe(true);
    expect(put.get(session)?.equals(content)).toBe(true);
    expect([readings, waits.length]).toEqual([3, 2]);
    expect(server.asked.filter((line) => line.startsWith('POST'))).toHaveLength(3);
  });

  test('is sent again where the connection broke in the middle', async () => {
    let broken = 0;
    const { writer, repository, put } = await stand((request) => {
      if (request.method !== 'PUT' || ++broken > 1) return false;
      request.once('data', () => request.socket.destroy());
      return true;
    });
    expect(await writer.upload(repository, blob)).toBe(true);
    expect(put.get(session)?.equals(content)).toBe(true);
  });

  test('that takes long is not given up while it goes on', async () => {
    const slow: Blob = {
      ...blob,
      async *content() {
        for (let at = 0; at < content.length; at += 100_000) {
          await new Promise((resolve) => setTimeout(resolve, 100));
          yield content.subarray(at, at + 100_000);
        }
      },
    };
    const { writer, repository, waits } = await stand(undefined, { stallMs: 400 });
    expect(await writer.upload(repository, slow)).toBe(true);
    expect(waits).toEqual([]);
  });
});

describe('a registry that is not to be trusted', () => {
  test.each([
    ['to another host', 'http://127.0.0.1:9/v2/app/blobs/uploads/1', /wants content to be sent to 127\.0\.0\.1:9/],
    ['nowhere', undefined, /does not say where/],
    ['to what is no URL', 'http://', /does not say where/],
  ])('is not followed %s', async (_, location, message) => {
    const { writer, repository } = await stand(({ method }, response) => {
      if (method === 'POST') response.writeHead(202, location === undefined ? {} : { location }).end();
      return method === 'POST';
    });
    const error = await rejection(writer.upload(repository, blob));
    expect(error).toBeInstanceOf(ImageError);
    expect(error).toMatchObject({ code: 'SBX_IMAGE_REGISTRY', message: expect.stringMatching(message) });
    expect(readings).toBe(0);
  });

  test('gets no content by a redirect', async () => {
    const { writer, repository } = await stand((request, response) => {
      if (request.method === 'PUT')
        request.resume().on('end', () => response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end());
      return request.method === 'PUT';
    });
    expect(await rejection(writer.upload(repository, blob))).toMatchObject({
      code: 'SBX_IMAGE_REGISTRY',
      message: expect.stringContaining('answers 307'),
    });
  });

  test('that refuses says why', async () => {
    const { writer, repository } = await stand((request, response) => {
      if (request.method === 'PUT') request.resume().on('end', () => fail(response, 403, 'DENIED'));
      return request.method === 'PUT';
    });
    expect(await rejection(writer.upload(repository, blob))).toMatchObject({
      message: expect.stringMatching(/answers 403 \(DENIED: it is DENIED\); check whether this user may do that/),
    });
  });
});

describe('who asks', () => {
  test('asks for a token to push with, once', async () => {
    const scopes: (string | null)[] = [];
    const { writer, repository, put, server } = await stand(({ url = '', headers }, response) => {
      if (url.startsWith('/token')) {
        scopes.push(new URL(url, 'http://any').searchParams.get('scope'));
        response.end('{"token":"t0ken"}');
        return true;
      }
      if (headers.authorization === 'Bearer t0ken') return false;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${headers.host}/token"` }).end();
      return true;
    });
    expect(await writer.upload(repository, blob)).toBe(true);
    await writer.putManifest({ ...repository, tag: 'v1' }, 'application/json', Buffer.from('{}'));
    expect(scopes).toEqual(['repository:app:pull,push']);
    expect(put.get('/v2/app/manifests/v1')?.toString()).toBe('{}');
    expect(server.requests.at(-1)?.headers['content-type']).toBe('application/json');
  });
});
