// Reading from a registry (OCI distribution spec 1.1). Whatever it sends is checked against the digest that it was asked by, or against the digest of
// what named it; only the tag itself is taken on its word.
import { ImageError } from '../../errors/errors.ts';
import { digestOf, type Expected, hashBytes, verified } from '../digest.ts';
import { DOCUMENT_BYTES_MAX } from '../json.ts';
import { manifestTypes } from '../oci/media-types.ts';
import { shorten } from '../place.ts';
import type { RegistryReference } from '../reference.ts';
import { basic, type Challenge, type Credentials, fetchToken, parseChallenges, type Token } from './auth.ts';
import { type Conditions, type Exchange, exchange, type Fetch, isLoopback, type Reply, readAll } from './exchange.ts';
import { type Patience, pauseAfter, retryAfter, TransientError, waitFor, withRetries } from './retry.ts';

export interface RegistryOptions {
  readonly fetch?: Fetch;
  /** For a registry, by its name in references. */
  readonly credentials?: (registry: string) => Credentials | undefined;
  /** Registries, with their port where they have one, that are spoken to without TLS. Those of this machine are. */
  readonly plainHttp?: readonly string[];
  readonly signal?: AbortSignal;
  /** @defaultValue 5 */
  readonly attempts?: number;
  /** How long a server may send nothing, or less than a kibibyte. @defaultValue 30 seconds */
  readonly stallMs?: number;
  readonly wait?: Patience['wait'];
}

export interface FetchedManifest {
  readonly digest: string;
  readonly mediaType: string | undefined;
  readonly bytes: Uint8Array;
}

export interface BlobRequest {
  readonly digest: string;
  readonly size: number;
}

/** Docker's registry has another name than the one that people write. */
const hosts: Readonly<Record<string, string>> = { 'docker.io': 'registry-1.docker.io' };
const ERROR_BYTES_MAX = 64 * 1024;
const acceptManifests = { accept: manifestTypes.join(', ') };

/** An attempt that brought as much does not count. */
const PROGRESS_BYTES = 1024 * 1024;

export type Repository = Pick<RegistryReference, 'registry' | 'repository'>;

/** As the token authentication calls what may be done. */
type Access = 'pull' | 'pull,push';

export class RegistryClient {
  readonly #access: Access;
  readonly #conditions: Conditions;
  readonly #patience: Omit<Patience, 'signal'>;
  readonly #credentials: (registry: string) => Credentials | undefined;
  readonly #tokens = new Map<string, Token>();

  constructor(options: RegistryOptions = {}, access: Access = 'pull') {
    this.#access = access;
    const { plainHttp = [], stallMs = 30_000, attempts = 5, wait = waitFor, signal } = options;
    this.#conditions = { fetch: options.fetch ?? ((url, init) => fetch(url, init)), plainHttp, stallMs, signal };
    this.#patience = { attempts, wait };
    this.#credentials = options.credentials ?? (() => undefined);
  }

  /** What a tag stands for now, without fetching it. @throws {ImageError} `SBX_IMAGE_REGISTRY` */
  async resolve(reference: RegistryReference): Promise<string> {
    if (reference.digest !== undefined) return reference.digest;
    const ask = async (): Promise<string | null> => {
      const reply = await this.#request(reference, `manifests/${reference.tag}`, acceptManifests, 'HEAD');
      await reply.discard();
      return reply.headers.get('docker-content-digest');
    };
    const digest = await this.#retried(ask, this.#conditions.signal);
    return digest === null
      ? (await this.manifest(reference)).digest
      : `${digestOf(digest).algorithm}:${digestOf(digest).hex}`;
  }

  /** An index or a manifest, by digest where the reference has one. @throws {ImageError} `SBX_IMAGE_REGISTRY`, `SBX_IMAGE_DIGEST` */
  async manifest(reference: RegistryReference): Promise<FetchedManifest> {
    const wanted = reference.digest;
    const path = `manifests/${wanted ?? reference.tag}`;
    const work = async (): Promise<FetchedManifest> => {
      const reply = await this.#request(reference, path, acceptManifests, 'GET');
      const bytes = await readAll(reply, DOCUMENT_BYTES_MAX);
      // What the registry says of its own answer: it can only be wrong by a fault on the way, which is one all the same.
      for (const digest of [wanted, reply.headers.get('docker-content-digest') ?? undefined]) {
        if (digest !== undefined) checkBytes(bytes, digest, `${nameOf(reference)} (${path})`);
      }
      const mediaType = reply.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase();
      return { digest: wanted ?? hashBytes(bytes), mediaType: mediaType || undefined, bytes };
    };
    return await this.#retried(work, this.#conditions.signal);
  }

  /**
   * The content of `digest`, as it comes; goes on where it was cut. It is only good once the end was reached.
   *
   * @throws {ImageError} `SBX_IMAGE_DIGEST` where it is something else, shorter or longer; `SBX_IMAGE_REGISTRY`
   */
  blob(
    repository: Repository,
    { digest, size }: BlobRequest,
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const what = `${nameOf(repository)} (blob ${digest})`;
    return verified(this.#resumed(repository, { digest, size, what }, joined(this.#conditions.signal, signal)), {
      digest,
      size,
      what,
    });
  }

  async *#resumed(
    repository: Repository,
    { digest, size, what }: Expected,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    let received = 0;
    for (let attempt = 1; ; attempt += 1) {
      const before = received;
      try {
        const headers: Record<string, string> = received === 0 ? {} : { range: `bytes=${received}-` };
        const reply = await this.#request(repository, `blobs/${digest}`, headers, 'GET', signal);
        for await (const chunk of fromByte(reply, received, what)) {
          received += chunk.byteLength;
          yield chunk;
        }
        // Too much was refused by whoever counts; too little may have been cut.
        if (received >= size) return;
        throw new TransientError(`${what} was cut after ${received} of ${size} bytes`);
      } catch (error) {
        // A line that breaks now and then gets through a large layer; one that gives a byte at a time does not.
        if (received - before >= PROGRESS_BYTES) attempt = 1;
        await pauseAfter(error, attempt, { ...this.#patience, signal }).catch(rethrow);
      }
    }
  }

  /** One attempt, which is the business of whoever reads the reply to count. The reply is a good one. */
  async #request(
    repository: Repository,
    path: string,
    headers: Readonly<Record<string, string>>,
    method: 'GET' | 'HEAD',
    signal: AbortSignal | undefined = this.#conditions.signal,
  ): Promise<Reply> {
    const conditions = { ...this.#conditions, signal };
    const reply = await this.#authorized(
      repository,
      { method, url: this.urlOf(repository, path), headers },
      conditions,
    );
    return await judge(reply, nameOf(repository), [200, 206]);
  }

  /** For who writes: any answer is one, and those that are none of `good` are errors. @throws {ImageError} `SBX_IMAGE_REGISTRY` */
  protected async ask(
    repository: Repository,
    request: Omit<Exchange, 'authorization'>,
    good: readonly number[],
  ): Promise<Reply> {
    return await judge(await this.#authorized(repository, request, this.#conditions), nameOf(repository), good);
  }

  protected urlOf({ registry, repository }: Repository, path: string): URL {
    return new URL(`${this.#origin(registry)}/v2/${repository}/${path}`);
  }

  protected async retried<T>(work: () => Promise<T>): Promise<T> {
    return await this.#retried(work, this.#conditions.signal);
  }

  async #retried<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return await withRetries(work, { ...this.#patience, signal }).catch(rethrow);
  }

  #origin(registry: string): string {
    const host = Object.hasOwn(hosts, registry) ? hosts[registry] : registry;
    const url = new URL(`https://${host}`);
    const plain = isLoopback(url.hostname) || this.#conditions.plainHttp.includes(registry);
    return `${plain ? 'http' : 'https'}://${host}`;
  }

  async #authorized(
    repository: Repository,
    request: Omit<Exchange, 'authorization'>,
    conditions: Conditions,
  ): Promise<Reply> {
    const key = nameOf(repository);
    const known = this.#tokens.get(key);
    const authorization = known !== undefined && known.expires > Date.now() ? known.authorization : undefined;
    const first = await exchange({ ...request, authorization }, conditions);
    if (first.status !== 401) return first;
    const challenges = parseChallenges(first.headers.get('www-authenticate') ?? '');
    await first.discard();
    const token = await this.#answer(challenges, repository, request.url, conditions);
    this.#tokens.set(key, token);
    return await exchange({ ...request, authorization: token.authorization }, conditions);
  }

  async #answer(
    challenges: readonly Challenge[],
    { registry, repository }: Repository,
    url: URL,
    conditions: Conditions,
  ): Promise<Token> {
    const credentials = this.#credentials(registry);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined)
      return await fetchToken(bearer, url, `repository:${repository}:${this.#access}`, credentials, conditions);
    if (!challenges.some(({ scheme }) => scheme === 'basic'))
      throw new ImageError('SBX_IMAGE_REGISTRY', `${url.host} wants to know who asks, in a way that is not known here`);
    if (credentials === undefined)
      throw new ImageError(
        'SBX_IMAGE_REGISTRY',
        `${url.host} wants to know who asks`,
        {},
        {
          remedy: 'give a user name and a password',
        },
      );
    return { authorization: basic(credentials), expires: Number.POSITIVE_INFINITY };
  }
}

function nameOf({ registry, repository }: Repository): string {
  return `${registry}/${repository}`;
}

function checkBytes(bytes: Uint8Array, digest: string, what: string): void {
  const found = hashBytes(bytes, digestOf(digest).algorithm);
  if (found !== digest) throw new ImageError('SBX_IMAGE_DIGEST', `${what} is not what ${digest} names: it is ${found}`);
}

/** The rest of a body from byte `start` on. A server that does not know ranges begins again, and is heard out. */
async function* fromByte(reply: Reply, start: number, what: string): AsyncGenerator<Uint8Array, void, undefined> {
  if (reply.status === 206) {
    const [, first] = /^bytes (\d+)-/.exec(reply.headers.get('content-range') ?? '') ?? [];
    if (Number(first) !== start)
      throw new ImageError(
        'SBX_IMAGE_REGISTRY',
        `${what}: bytes from ${start} on were asked for, and those from ${first ?? 'nowhere'} came`,
      );
    yield* reply.body;
    return;
  }
  let skip = start;
  for await (const chunk of reply.body) {
    const rest = chunk.subarray(Math.min(skip, chunk.byteLength));
    skip -= chunk.byteLength - rest.byteLength;
    if (rest.byteLength > 0) yield rest;
  }
}

const busy = new Set([408, 425, 429, 500, 502, 503, 504]);

/** A good reply, or the error that it is. */
async function judge(reply: Reply, name: string, good: readonly number[]): Promise<Reply> {
  if (good.includes(reply.status)) return reply;
  const words = await reasonOf(reply);
  const message = `${name}: ${reply.host} answers ${reply.status}${words}`;
  if (busy.has(reply.status))
    throw new TransientError(message, { retryAfterMs: retryAfter(reply.headers.get('retry-after'), Date.now()) });
  throw new ImageError('SBX_IMAGE_REGISTRY', message, {}, { remedy: remedies[reply.status] });
}

const remedies: Readonly<Record<number, string>> = {
  401: 'check the user name and the password',
  403: 'check whether this user may do that',
  404: 'check the name and the tag',
};

/** `{ errors: [{ code, message }] }` of the distribution spec. Whatever else it is is no concern of a person. */
async function reasonOf(reply: Reply): Promise<string> {
  try {
    const answer = JSON.parse(Buffer.from(await readAll(reply, ERROR_BYTES_MAX)).toString()) as { errors?: unknown };
    const first = Array.isArray(answer.errors)
      ? (answer.errors[0] as { code?: unknown; message?: unknown } | undefined)
      : undefined;
    const words = [first?.code, first?.message].filter((word) => typeof word === 'string').join(': ');
    // A server's words go to a terminal.
    return words === '' ? '' : ` (${shorten(words.replaceAll(/\p{C}/gu, '?'))})`;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof ImageError || error instanceof TransientError) return '';
    throw error;
  } finally {
    await reply.discard();
  }
}

/** When there is no other attempt. */
function rethrow(error: unknown): never {
  throw error instanceof TransientError
    ? new ImageError('SBX_IMAGE_REGISTRY', error.message, {}, { cause: error })
    : error;
}

function joined(a: AbortSignal | undefined, b: AbortSignal | undefined): AbortSignal | undefined {
  return a === undefined || b === undefined ? (a ?? b) : AbortSignal.any([a, b]);
}
