// One request to a server that may be hostile: redirects are followed by hand, credentials stay with the host that they are for, and a server that
// says nothing, or next to nothing, is left. What is sent is sent to the host that was asked, and to no other.
import { ImageError } from '../../errors/errors.ts';
import { shorten } from '../place.ts';
import { TransientError } from './retry.ts';

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT';

/** Made anew for each attempt. */
export interface Sent {
  readonly size: number;
  readonly content: () => AsyncIterable<Uint8Array>;
}

export interface Exchange {
  readonly method: Method;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent to the origin of `url` and to no other. Never part of a message. */
  readonly authorization: string | undefined;
  readonly body?: Sent | undefined;
}

export interface Conditions {
  readonly fetch: Fetch;
  /** Hosts, with their port where they have one, that may be spoken to without TLS. Those of this machine always may. */
  readonly plainHttp: readonly string[];
  /** How long nothing may come, or less than `STALL_BYTES`, while something is waited for. */
  readonly stallMs: number;
  readonly signal: AbortSignal | undefined;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  /** Host that answered, which is another one after a redirect. */
  readonly host: string;
  /** To be read to its end, or left by `discard`. */
  readonly body: AsyncIterable<Uint8Array>;
  readonly discard: () => Promise<void>;
}

const REDIRECTS_MAX = 5;
/** In each `stallMs` of waiting: far below any line that somebody would use, far above what keeps a client for days. */
const STALL_BYTES = 1024;

/** @throws {TransientError} where the connection failed; {ImageError} where the server is not to be spoken to. */
export async function exchange(request: Exchange, conditions: Conditions): Promise<Reply> {
  let url = request.url;
  for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects += 1) {
    checkScheme(url, request.url, conditions);
    const reply = await once(url, request, conditions);
    if (!isRead(request.method) || ![301, 302, 303, 307, 308].includes(reply.status)) return reply;
    const location = reply.headers.get('location');
    await reply.discard();
    url = nextUrl(location, url);
  }
  throw new ImageError('SBX_IMAGE_REGISTRY', `${request.url.host} redirects more than ${REDIRECTS_MAX} times`);
}

function isRead(method: Method): boolean {
  return method === 'GET' || method === 'HEAD';
}

function nextUrl(location: string | null, from: URL): URL {
  if (location === null || !URL.canParse(location, from.href))
    throw new ImageError('SBX_IMAGE_REGISTRY', `${from.host} redirects to nowhere`);
  const url = new URL(location, from);
  if (url.username !== '' || url.password !== '')
    throw new ImageError('SBX_IMAGE_REGISTRY', `${from.host} redirects to a URL with a password in it`);
  return url;
}

/** Whoever is on the way may change what is not encrypted; a redirect must not lead there either. */
export function checkScheme(url: URL, origin: URL, { plainHttp }: Pick<Conditions, 'plainHttp'>): void {
  if (url.protocol === 'https:') return;
  const from = url.host === origin.host ? '' : `${origin.host} leads to `;
  if (url.protocol !== 'http:')
    throw new ImageError('SBX_IMAGE_REGISTRY', `${from}a URL that is neither https nor http`);
  if (plainHttp.includes(url.host)) return;
  // Only from this machine to this machine: a server elsewhere would name its ports.
  if (isLoopback(url.hostname) && isLoopback(origin.hostname)) return;
  throw new ImageError(
    'SBX_IMAGE_REGISTRY',
    `${from}${url.host} without TLS`,
    {},
    {
      remedy: 'allow plain http for that host by name',
    },
  );
}

export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(hostname);
}

async function once(url: URL, request: Exchange, conditions: Conditions): Promise<Reply> {
  conditions.signal?.throwIfAborted();
  const own = url.origin === request.url.origin && request.authorization !== undefined;
  const controller = new AbortController();
  const signal =
    conditions.signal === undefined ? controller.signal : AbortSignal.any([controller.signal, conditions.signal]);
  const timer = setTimeout(() => controller.abort(), conditions.stallMs);
  try {
    const response = await conditions.fetch(url.href, {
      method: request.method,
      // A body is counted and hashed as it is stored; one that is packed once more for the way would be another.
      headers: {
        'accept-encoding': 'identity',
        ...(request.body === undefined ? {} : { 'content-length': String(request.body.size) }),
        ...request.headers,
        ...(own ? { authorization: request.authorization ?? '' } : {}),
      },
      redirect: 'manual',
      signal,
      ...sending(request.body, () => timer.refresh()),
    });
    return {
      status: response.status,
      headers: response.headers,
      host: url.host,
      body: readBody(response, url.host, controller, conditions),
      discard: async () => {
        // Nobody waits for the rest; whether the connection ends well is all the same.
        controller.abort();
        await response.body?.cancel().catch(() => undefined);
      },
    };
  } catch (error) {
    throw describeFailure(error, url.host, conditions);
  } finally {
    clearTimeout(timer);
  }
}

/** What goes out shows that the server listens. */
function sending(body: Sent | undefined, onProgress: () => void): RequestInit {
  if (body === undefined) return {};
  async function* content(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of source) {
      onProgress();
      yield chunk;
    }
  }
  // `duplex` is what fetch wants of whoever sends a stream.
  return { body: content(body.content()), duplex: 'half' } as unknown as RequestInit;
}

/** Only waiting for the server counts; whoever reads may take its time. */
async function* readBody(
  response: Response,
  host: string,
  controller: AbortController,
  conditions: Conditions,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  let waitedMs = 0;
  let bytes = 0;
  try {
    for (;;) {
      const started = performance.now();
      const timer = setTimeout(() => controller.abort(), Math.max(1, conditions.stallMs - waitedMs));
      const { done, value } = await reader.read().finally(() => clearTimeout(timer));
      if (done) return;
      waitedMs += performance.now() - started;
      bytes += value.byteLength;
      if (bytes >= STALL_BYTES) [waitedMs, bytes] = [0, 0];
      yield value;
    }
  } catch (error) {
    throw describeFailure(error, host, conditions);
  } finally {
    // As in discard.
    controller.abort();
    await reader.cancel().catch(() => undefined);
  }
}

function describeFailure(error: unknown, host: string, { signal, stallMs }: Conditions): unknown {
  if (signal?.aborted) return signal.reason;
  if (!(error instanceof Error)) return error;
  if (error.name === 'AbortError')
    return new TransientError(`${host} sent next to nothing for ${stallMs} ms`, { cause: error });
  const { cause } = error;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : undefined;
  if (code === 'UND_ERR_HEADERS_OVERFLOW')
    return new ImageError(
      'SBX_IMAGE_REGISTRY',
      `${host} answers with headers larger than are read`,
      {},
      { cause: error },
    );
  // fetch has a TypeError for every failure of the network, and its reason in the cause.
  const reason = cause instanceof Error && cause.message !== '' ? cause.message : error.message;
  return new TransientError(`${host}: ${shorten(reason)}${code === undefined ? '' : ` (${code})`}`, { cause: error });
}

/** @throws {ImageError} beyond `max` bytes. */
export async function readAll({ body, host }: Reply, max: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > max)
      throw new ImageError('SBX_IMAGE_REGISTRY', `${host} answers with more than the ${max} bytes that are read`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
