import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { ImageError } from '../../../src/errors/errors.ts';
import type { Descriptor } from '../../../src/image/oci/descriptor.ts';
import { platformOf } from '../../../src/image/oci/platform.ts';
import { parseImageReference, type RegistryReference } from '../../../src/image/reference.ts';
import { parseChallenges } from '../../../src/image/registry/auth.ts';
import { type BlobRequest, RegistryClient, type RegistryOptions } from '../../../src/image/registry/client.ts';
import { fetchImage, fetchLayers } from '../../../src/image/registry/pull.ts';
import { retryAfter } from '../../../src/image/registry/retry.ts';
import {
  fail,
  type Handler,
  makeImage,
  serve,
  serving,
  sha256,
  type TestServer,
} from '../../helpers/registry-server.ts';

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function start(handler: Handler): Promise<TestServer> {
  const server = await serve(handler);
  servers.push(server);
  return server;
}

const referenceAt = (server: TestServer, rest = 'app'): RegistryReference =>
  parseImageReference(`${server.host}/${rest}`) as RegistryReference;

/** Waits are counted, not waited. */
function clientWith(options: RegistryOptions = {}): { client: RegistryClient; waits: number[] } {
  const waits: number[] = [];
  const wait = async (ms: number): Promise<void> => {
    waits.push(ms);
  };
  return { client: new RegistryClient({ wait, ...options }), waits };
}

async function read(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const layer = randomBytes(300_000);
const image = makeImage([layer, Buffer.from('second')]);
const blob: BlobRequest = { digest: sha256(layer), size: layer.byteLength };
const only =
  (handler: (response: ServerResponse) => void): Handler =>
  (_, response) =>
    handler(response);

describe('a registry that does what it should', () => {
  test('gives an image for a platform, its configuration and its layers', async () => {
    const other = makeImage([Buffer.from('x')], { architecture: 'arm64' });
    const entry = (made: string, architecture: string): object => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: sha256(made),
      size: Buffer.byteLength(made),
      platform: { os: 'linux', architecture },
    });
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [entry(other.manifest, 'arm64'), entry(image.manifest, 'amd64')],
    });
    const server = await start(
      serving(
        image,
        new Map([
          ['1', index],
          [sha256(index), index],
        ]),
      ),
    );
    const { client } = clientWith();
    const reference = referenceAt(server, 'app:1');
    const found = await fetchImage(client, reference, platformOf('x64'));
    expect(found.digest).toBe(sha256(image.manifest));
    expect(found.config.cmd).toEqual(['true']);
    expect(await client.resolve(reference)).toBe(sha256(index));

    const taken = new Map<number, Buffer>();
    await fetchLayers(client, reference, found.manifest.layers, async (_, at, content) => {
      taken.set(at, await read(content));
    });
    expect(taken.get(0)?.equals(layer)).toBe(true);
    expect(taken.get(1)?.toString()).toBe('second');
    await expect(fetchImage(client, reference, platformOf('riscv64'))).rejects.toThrow(
      /no image for linux\/riscv64: there is linux\/arm64, linux\/amd64/,
    );
  });

  test('has no image by that name, and says so', async () => {
    const server = await start(serving(image));
    const { client, waits } = clientWith();
    await expect(client.manifest(referenceAt(server, 'app:none'))).rejects.toMatchObject({
      code: 'SBX_IMAGE_REGISTRY',
      message: `${server.host}/app: ${server.host} answers 404 (MANIFEST_UNKNOWN: it is MANIFEST_UNKNOWN); check the name and the tag`,
    });
    expect(waits).toEqual([]);
  });

  test('never has more than so many layers on their way', async () => {
    const many = makeImage(Array.from({ length: 12 }, (_, i) => Buffer.from(`layer ${i}`)));
    const server = await start(serving(many));
    let now = 0;
    let most = 0;
    const { client } = clientWith();
    await fetchLayers(
      client,
      referenceAt(server),
      many.layers as Descriptor[],
      async (_, __, content) => {
        now += 1;
        most = Math.max(most, now);
        await read(content);
        await new Promise((resolve) => setTimeout(resolve, 5));
        now -= 1;
      },
      4,
    );
    expect(most).toBe(4);
  });
});

describe('a blob', () => {
  test('goes on where it was cut', async () => {
    let cuts = 0;
    const server = await start((request, response) => {
      if (cuts === 2) return serving(image)(request, response);
      cuts += 1;
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(from === 0 ? 200 : 206, {
        'content-length': layer.byteLength - from,
        'content-range': `bytes ${from}-/${layer.byteLength}`,
      });
      response.write(layer.subarray(from, from + 100_000), () => response.destroy());
    });
    const { client, waits } = clientWith();
    expect((await read(client.blob(referenceAt(server), blob))).equals(layer)).toBe(true);
    expect(waits).toHaveLength(2);
    expect(server.requests).toHaveLength(3);
  });

  /** Read to its end before it breaks, which a socket does not promise. */
  function bodyOf(piece: Uint8Array, breaks: boolean): ReadableStream<Uint8Array> {
    let given = false;
    return new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          if (given) return controller.error(new TypeError('terminated'));
          controller.enqueue(piece);
          given = true;
          if (!breaks) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  }
  const elsewhere = parseImageReference('example.org/app') as RegistryReference;
  const rangeOf = ({ headers }: RequestInit): string | undefined => (headers as Record<string, string>)['range'];

  test('goes on as often as it takes, as long as it comes on', async () => {
    const large = randomBytes(9 * 1024 * 1024);
    const step = 1024 * 1024;
    const fetch = async (_: string, init: RequestInit): Promise<Response> => {
      const from = Number(/bytes=(\d+)-/.exec(rangeOf(init) ?? '')?.[1] ?? 0);
      const body = bodyOf(large.subarray(from, from + step), from + step < large.byteLength);
      const status = rangeOf(init) === undefined ? 200 : 206;
      return new Response(body, { status, headers: { 'content-range': `bytes ${from}-/${large.byteLength}` } });
    };
    const { client, waits } = clientWith({ attempts: 2, fetch });
    const request = { digest: sha256(large), size: large.byteLength };
    expect((await read(client.blob(elsewhere, request))).equals(large)).toBe(true);
    expect(waits).toHaveLength(8);
  });

  test('of another range than was asked for is refused', async () => {
    const fetch = async (_: string, init: RequestInit): Promise<Response> =>
      rangeOf(init) === undefined
        ? new Response(bodyOf(layer.subarray(0, 10), true))
        : new Response(bodyOf(layer, false), { status: 206, headers: { 'content-range': 'bytes 0-5/300000' } });
    await expect(read(clientWith({ fetch }).client.blob(elsewhere, blob))).rejects.toThrow(
      'bytes from 10 on were asked for, and those from 0 came',
    );
  });

  test('goes on at a server that knows no ranges', async () => {
    let first = true;
    const server = await start((_, response) => {
      response.writeHead(200, { 'content-length': layer.byteLength });
      if (first) response.write(layer.subarray(0, 100_000), () => response.destroy());
      else response.end(layer);
      first = false;
    });
    expect((await read(clientWith().client.blob(referenceAt(server), blob))).equals(layer)).toBe(true);
  });

  test.each<[string, Handler, string]>([
    ['other bytes', only((response) => response.end(Buffer.alloc(layer.byteLength))), 'is not what sha256:'],
    [
      'one byte too many',
      only((response) => response.end(Buffer.concat([layer, Buffer.from('x')]))),
      'is longer than the 300000 bytes',
    ],
  ])('that is %s is refused', async (_, handler, message) => {
    const server = await start(handler);
    await expect(read(clientWith().client.blob(referenceAt(server), blob))).rejects.toThrow(message);
  });

  test('of which no more comes than its beginning is given up', async () => {
    const server = await start(only((response) => response.end(layer.subarray(0, 10))));
    const { client, waits } = clientWith();
    await expect(read(client.blob(referenceAt(server), blob))).rejects.toThrow('was cut after 10 of 300000 bytes');
    expect(waits).toHaveLength(4);
  });

  test('without an end is left at the announced size', async () => {
    let written = 0;
    const server = await start(
      only((response) => {
        const more = (): void => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536))) written += 65_536;
        };
        response.on('drain', more);
        more();
      }),
    );
    await expect(read(clientWith().client.blob(referenceAt(server), blob))).rejects.toMatchObject({
      code: 'SBX_IMAGE_DIGEST',
    });
    await expect.poll(() => server.requests[0]?.destroyed).toBe(true);
    expect(written).toBeLessThan(100 * 1024 * 1024);
  });

  test.each<[string, Handler]>([
    ['nothing', only(() => undefined)],
    ['headers alone', only((response) => response.writeHead(200).flushHeaders())],
    [
      'a byte now and then',
      only((response) => {
        response.writeHead(200, { 'content-length': layer.byteLength });
        const timer = setInterval(() => response.write('x'), 20);
        response.on('close', () => clearInterval(timer));
      }),
    ],
  ])('of which %s comes is given up', async (_, handler) => {
    const server = await start(handler);
    const { client } = clientWith({ stallMs: 150, attempts: 2 });
    await expect(read(client.blob(referenceAt(server), blob))).rejects.toThrow('sent next to nothing for 150 ms');
    expect(server.asked).toHaveLength(2);
  });

  test('may be read slowly: only the server is waited for', async () => {
    // All of it is there at once.
    const pieces = Array.from({ length: 6 }, (_, at) => layer.subarray(at * 50_000, (at + 1) * 50_000));
    const fetch = async (): Promise<Response> =>
      new Response(
        new ReadableStream({
          start: (controller) => {
            for (const piece of pieces) controller.enqueue(piece);
            controller.close();
          },
        }),
      );
    const { client } = clientWith({ fetch, stallMs: 50, attempts: 1 });
    let size = 0;
    for await (const chunk of client.blob(elsewhere, blob)) {
      size += chunk.byteLength;
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    expect(size).toBe(layer.byteLength);
  });

  test('ends with the caller’s own reason', async () => {
    const server = await start(only((response) => response.writeHead(200).write('x')));
    const controller = new AbortController();
    const { client } = clientWith({ signal: controller.signal });
    const reason = new Error('enough');
    const reading = read(client.blob(referenceAt(server), blob));
    setTimeout(() => controller.abort(reason), 50);
    await expect(reading).rejects.toBe(reason);
    await expect(client.manifest(referenceAt(server))).rejects.toBe(reason);
  });

  test('that fails ends the others, and is the error', async () => {
    const two = makeImage([layer, Buffer.from('bad')]);
    const server = await start((request, response) => {
      if (request.url?.endsWith(sha256('bad'))) response.end('dab');
      else response.writeHead(200, { 'content-length': layer.byteLength }).write(layer.subarray(0, 10));
    });
    const { client } = clientWith();
    const work = fetchLayers(client, referenceAt(server), two.layers as Descriptor[], async (_, __, content) => {
      await read(content);
    });
    await expect(work).rejects.toThrow(`blob ${sha256('bad')}) is not what`);
    await expect.poll(() => server.requests.every((request) => request.destroyed)).toBe(true);
  });
});

describe('a manifest', () => {
  test('is what its digest says, and what the registry says of it', async () => {
    const lying: Handler = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'docker-content-digest': sha256('other') });
      response.end(image.manifest);
    };
    const server = await start(lying);
    const { client } = clientWith();
    await expect(client.manifest(referenceAt(server))).rejects.toMatchObject({ code: 'SBX_IMAGE_DIGEST' });
    await expect(client.manifest(referenceAt(server, `app@${sha256('wanted')}`))).rejects.toThrow(
      `is not what ${sha256('wanted')} names`,
    );
  });

  test('is no larger than is read', async () => {
    const server = await start(only((response) => response.end(Buffer.alloc(5 * 1024 * 1024, ' '))));
    await expect(clientWith().client.manifest(referenceAt(server))).rejects.toThrow(
      'more than the 4194304 bytes that are read',
    );
  });

  test('that is packed to explode is no larger either', async () => {
    const { gzipSync } = await import('node:zlib');
    const bomb = gzipSync(Buffer.alloc(50 * 1024 * 1024, ' '));
    const server = await start(only((response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb)));
    await expect(clientWith().client.manifest(referenceAt(server))).rejects.toThrow('more than the 4194304 bytes');
    expect(server.requests[0]?.headers['accept-encoding']).toBe('identity');
  });

  test('of an index in an index in an index ends somewhere', async () => {
    let depth = 0;
    const texts = new Map<string, string>();
    let text = image.manifest;
    for (; depth < 8; depth += 1) {
      texts.set(sha256(text), text);
      const mediaType = `application/vnd.oci.image.${depth === 0 ? 'manifest' : 'index'}.v1+json`;
      const platform = { os: 'linux', architecture: 'amd64' };
      const manifests = [{ mediaType, digest: sha256(text), size: Buffer.byteLength(text), platform }];
      text = JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests });
    }
    const server = await start(serving(image, new Map([...texts, ['deep', text]])));
    await expect(fetchImage(clientWith().client, referenceAt(server, 'app:deep'), platformOf('x64'))).rejects.toThrow(
      'more than 4 deep',
    );
  });
});

describe('a server that is busy, or worse', () => {
  test('is asked again, as late as it says', async () => {
    let left = 3;
    const server = await start((request, response) => {
      left -= 1;
      if (left < 0) return serving(image)(request, response);
      response.setHeader('retry-after', '7');
      fail(response, 429, 'TOOMANYREQUESTS');
    });
    const { client, waits } = clientWith();
    await client.manifest(referenceAt(server));
    expect(waits).toEqual([7000, 7000, 7000]);
  });

  test('is asked again with growing pauses, and not for ever', async () => {
    const server = await start(only((response) => fail(response, 503, 'UNAVAILABLE')));
    const { client, waits } = clientWith();
    await expect(client.manifest(referenceAt(server))).rejects.toThrow('answers 503 (UNAVAILABLE: it is UNAVAILABLE)');
    expect(server.asked).toHaveLength(5);
    for (const [at, wait] of waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(125 * 2 ** at);
      expect(wait).toBeLessThanOrEqual(250 * 2 ** at);
    }
  });

  test('that asks for an hour is left to a person', async () => {
    const server = await start(
      only((response) => {
        response.setHeader('retry-after', '3600');
        fail(response, 429, 'TOOMANYREQUESTS');
      }),
    );
    const { client, waits } = clientWith();
    await expect(client.manifest(referenceAt(server))).rejects.toThrow('answers 429');
    expect(waits).toEqual([]);
  });

  test('is refused for headers without an end, and its words are clean', async () => {
    const huge = await start(only((response) => response.writeHead(200, { 'x-huge': 'x'.repeat(100_000) }).end()));
    await expect(clientWith().client.manifest(referenceAt(huge))).rejects.toThrow(
      'answers with headers larger than are read',
    );
    expect(huge.asked).toHaveLength(1);
    const rude = await start(only((response) => fail(response, 403, '\u001b[31mDENIED')));
    await expect(clientWith().client.manifest(referenceAt(rude))).rejects.toThrow('answers 403 (?[31mDENIED');
    const silent = await start(only((response) => response.writeHead(403).end('<html>')));
    await expect(clientWith().client.manifest(referenceAt(silent))).rejects.toThrow(/answers 403;/);
  });

  test('that nobody hears is named', async () => {
    const server = await start(only(() => undefined));
    await server.close();
    await expect(clientWith({ attempts: 2 }).client.manifest(referenceAt(server))).rejects.toThrow(
      /127\.0\.0\.1:\d+: .*ECONNREFUSED/,
    );
  });

  test('says when to come back in seconds or by a date', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    expect(retryAfter('5', now)).toBe(5000);
    expect(retryAfter('Thu, 01 Jan 2026 00:00:09 GMT', now)).toBe(9000);
    expect(retryAfter('Wed, 31 Dec 2025 00:00:00 GMT', now)).toBe(0);
    expect(retryAfter('soon', now)).toBeUndefined();
    expect(retryAfter(null, now)).toBeUndefined();
  });
});

describe('redirects', () => {
  const redirectTo = (location: string | (() => string)): Handler =>
    only((response) =>
      response.writeHead(307, { location: typeof location === 'string' ? location : location() }).end(),
    );

  test('are followed, without the credentials of the first host', async () => {
    const storage = await start(only((response) => response.end(layer)));
    const server = await start((request, response) => {
      if (request.headers.authorization === undefined)
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      else redirectTo(`http://${storage.host}/signed?key=secret`)(request, response);
    });
    const { client } = clientWith({ credentials: () => ({ username: 'me', password: 'pass:word' }) });
    expect((await read(client.blob(referenceAt(server), blob))).equals(layer)).toBe(true);
    expect(server.requests.at(-1)?.headers.authorization).toBe(
      `Basic ${Buffer.from('me:pass:word').toString('base64')}`,
    );
    expect(storage.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  test('in a circle end, and so do those to nowhere', async () => {
    const circle = await start(redirectTo('/v2/app/manifests/latest'));
    await expect(clientWith().client.manifest(referenceAt(circle))).rejects.toThrow('redirects more than 5 times');
    expect(circle.asked).toHaveLength(6);
    const nowhere = await start(only((response) => response.writeHead(302).end()));
    await expect(clientWith().client.manifest(referenceAt(nowhere))).rejects.toThrow('redirects to nowhere');
  });

  test.each([
    ['http://example.org/x', 'leads to example.org without TLS; allow plain http for that host by name'],
    ['file:///etc/passwd', 'neither https nor http'],
    ['http://user:secret@127.0.0.1/', 'a URL with a password in it'],
    ['http://169.254.169.254/latest', 'without TLS'],
  ])('to %s are refused', async (location, message) => {
    const server = await start(redirectTo(location));
    const attempt = clientWith().client.manifest(referenceAt(server));
    await expect(attempt).rejects.toThrow(message);
    await expect(attempt).rejects.not.toThrow('secret');
  });

  test('of a server elsewhere to this machine are refused', async () => {
    const fetched: string[] = [];
    const fetch = async (url: string): Promise<Response> => {
      fetched.push(url);
      return new Response(null, { status: 302, headers: { location: 'http://127.0.0.1:9/' } });
    };
    for (const options of [{}, { plainHttp: ['example.org'] }]) {
      const { client } = clientWith({ fetch, ...options });
      await expect(client.manifest(parseImageReference('example.org/a') as RegistryReference)).rejects.toThrow(
        '127.0.0.1:9 without TLS',
      );
    }
    expect(fetched).toEqual(['https://example.org/v2/a/manifests/latest', 'http://example.org/v2/a/manifests/latest']);
  });
});

describe('who asks', () => {
  const reference = (server: TestServer): RegistryReference => referenceAt(server);
  const bearer =
    (host: () => string, token: object): Handler =>
    (request, response) => {
      if (request.url?.startsWith('/token')) return void response.end(JSON.stringify(token));
      if (request.headers.authorization === 'Bearer good') return serving(image)(request, response);
      const realm = `Bearer realm="http://${host()}/token",service="it",scope="repository:app:pull"`;
      response.writeHead(401, { 'www-authenticate': realm }).end();
    };

  test('gets a token, once for all of a repository', async () => {
    let host = '';
    const server = await start(bearer(() => host, { token: 'good', expires_in: 300 }));
    host = server.host;
    const { client } = clientWith({ credentials: () => ({ username: 'me', password: 'secret' }) });
    await client.manifest(reference(server));
    await read(client.blob(reference(server), blob));
    expect(server.asked).toEqual([
      'GET /v2/app/manifests/latest',
      'GET /token?service=it&scope=repository%3Aapp%3Apull',
      'GET /v2/app/manifests/latest',
      `GET /v2/app/blobs/${blob.digest}`,
    ]);
    expect(server.requests.map(({ headers }) => headers.authorization?.split(' ')[0])).toEqual([
      undefined,
      'Basic',
      'Bearer',
      'Bearer',
    ]);
  });

  test('gets another token when one has come to its end', async () => {
    let host = '';
    const server = await start(bearer(() => host, { access_token: 'good', expires_in: 1 }));
    host = server.host;
    const { client } = clientWith();
    await client.manifest(reference(server));
    await client.manifest(reference(server));
    expect(server.asked.filter((line) => line.startsWith('GET /token'))).toHaveLength(2);
  });

  test.each([
    [{ token: 'bad\r\nx: y' }, 'answers with something that is no token'],
    [{}, 'answers with something that is no token'],
    [{ token: 'refused' }, 'answers 401; check the user name and the password'],
  ])('does not get in by %j', async (token, message) => {
    let host = '';
    const server = await start(bearer(() => host, token));
    host = server.host;
    await expect(clientWith().client.manifest(reference(server))).rejects.toThrow(message);
  });

  test('is told what is missing, without a word of the password', async () => {
    const closed = await start(
      only((response) => response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()),
    );
    await expect(clientWith().client.manifest(reference(closed))).rejects.toThrow(
      'wants to know who asks; give a user name',
    );
    const credentials = (): { username: string; password: string } => ({ username: 'me', password: 'hunter2' });
    const wrong = await clientWith({ credentials })
      .client.manifest(reference(closed))
      .catch((error: unknown) => error);
    expect(wrong).toBeInstanceOf(ImageError);
    expect(JSON.stringify(wrong) + String(wrong)).not.toMatch(/hunter2|aHVudGVyMg|bWU6/);
    const strange = await start(only((response) => response.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()));
    await expect(clientWith().client.manifest(reference(strange))).rejects.toThrow('in a way that is not known here');
  });

  test('sends nothing to a server for tokens without TLS, or with a password in its name', async () => {
    for (const [realm, message] of [
      ['http://example.org/token', 'without TLS'],
      ['https://a:b@example.org/', 'a password in its URL'],
      ['nowhere', 'names no server for tokens'],
    ] as const) {
      const server = await start(
        only((response) => response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end()),
      );
      await expect(clientWith().client.manifest(reference(server))).rejects.toThrow(message);
    }
  });

  test('challenges are read as they are written', () => {
    const parse = (header: string): unknown =>
      parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
    expect(parse('Bearer realm="https://a/t?x=1,2",service="s", scope="a:b:pull,push"')).toEqual([
      ['bearer', { realm: 'https://a/t?x=1,2', service: 's', scope: 'a:b:pull,push' }],
    ]);
    expect(parse('Negotiate, Basic realm="a \\"b\\"", BEARER Realm=x')).toEqual([
      ['basic', { realm: 'a "b"' }],
      ['bearer', { realm: 'x' }],
    ]);
    expect(parse('')).toEqual([]);
    expect(parse(`Basic ${'a="'.repeat(100_000)}`)).toHaveLength(1);
  });
});

test('Docker’s registry is asked by its own name, and others by TLS', async () => {
  const asked: string[] = [];
  const fetch = async (url: string): Promise<Response> => {
    asked.push(url);
    return new Response('{}', { status: 404 });
  };
  const { client } = clientWith({ fetch });
  for (const name of ['debian:12', 'ghcr.io/a/b']) {
    await expect(client.resolve(parseImageReference(name) as RegistryReference)).rejects.toThrow('answers 404');
  }
  expect(asked).toEqual([
    'https://registry-1.docker.io/v2/library/debian/manifests/12',
    'https://ghcr.io/v2/a/b/manifests/latest',
  ]);
});
