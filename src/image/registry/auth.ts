// How a registry is told who asks (distribution spec; RFC 7617; Docker's token authentication). Tokens are kept for one client and one repository,
// and neither they nor a password are part of a message.
import { ImageError } from '../../errors/errors.ts';
import { parseJson } from '../json.ts';
import { type Conditions, checkScheme, exchange, readAll } from './exchange.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface Challenge {
  readonly scheme: 'bearer' | 'basic';
  readonly parameters: ReadonlyMap<string, string>;
}

/** `WWW-Authenticate`: the challenges that are understood here. */
export function parseChallenges(header: string): Challenge[] {
  // A comma divides challenges, and the parameters of one: a word before another word is what begins a challenge.
  const challenges: { readonly scheme: string; readonly parameters: Map<string, string> }[] = [];
  const token = /(?:^|[\s,]+)([A-Za-z][A-Za-z0-9_-]*)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/g;
  for (const [, name = '', quoted, plain] of header.slice(0, 8192).matchAll(token)) {
    const value = quoted?.replaceAll(/\\(.)/g, '$1') ?? plain;
    if (value === undefined) challenges.push({ scheme: name.toLowerCase(), parameters: new Map() });
    else challenges.at(-1)?.parameters.set(name.toLowerCase(), value);
  }
  return challenges.flatMap(({ scheme, parameters }) =>
    scheme === 'bearer' || scheme === 'basic' ? [{ scheme, parameters }] : [],
  );
}

export function basic({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** Lives as long as a token that does not say otherwise. */
const LIFETIME_S_DEFAULT = 60;
/** Ahead of its end, for the way. */
const EARLY_S = 10;
const ANSWER_BYTES_MAX = 256 * 1024;

export interface Token {
  readonly authorization: string;
  /** On the clock of `Date.now()`. */
  readonly expires: number;
}

/**
 * Asks the server that the challenge names, which need not be the registry: it is what the registry says, so that it gets the registry's own
 * credentials and no others.
 *
 * @throws {ImageError} `SBX_IMAGE_REGISTRY`
 */
export async function fetchToken(
  { parameters }: Challenge,
  registry: URL,
  scope: string,
  credentials: Credentials | undefined,
  conditions: Conditions,
): Promise<Token> {
  const realm = parameters.get('realm') ?? '';
  if (!URL.canParse(realm)) throw new ImageError('SBX_IMAGE_REGISTRY', `${registry.host} names no server for tokens`);
  const url = new URL(realm);
  if (url.username !== '' || url.password !== '')
    throw new ImageError('SBX_IMAGE_REGISTRY', `${registry.host} names a server for tokens with a password in its URL`);
  checkScheme(url, registry, conditions);
  const service = parameters.get('service');
  if (service !== undefined) url.searchParams.set('service', service);
  url.searchParams.set('scope', parameters.get('scope') ?? scope);
  const authorization = credentials === undefined ? undefined : basic(credentials);
  const reply = await exchange(
    { method: 'GET', url, headers: { accept: 'application/json' }, authorization },
    conditions,
  );
  if (reply.status !== 200) {
    await reply.discard();
    const who = credentials === undefined ? 'without credentials' : `as ${credentials.username}`;
    throw new ImageError(
      'SBX_IMAGE_REGISTRY',
      `${url.host} gives no token for ${registry.host} ${who}: status ${reply.status}`,
      {},
      {
        remedy: credentials === undefined ? 'give a user name and a password' : 'check the user name and the password',
      },
    );
  }
  return readToken(await readAll(reply, ANSWER_BYTES_MAX), url.host);
}

function readToken(bytes: Uint8Array, host: string): Token {
  const answer = parseJson(bytes, `the token of ${host}`) as Record<string, unknown> | null;
  const token = answer?.['token'] ?? answer?.['access_token'];
  // RFC 6750: anything else could end the header and begin another.
  if (typeof token !== 'string' || !/^[A-Za-z0-9._~+/-]+=*$/.test(token))
    throw new ImageError('SBX_IMAGE_REGISTRY', `${host} answers with something that is no token`);
  const lifetime = answer?.['expires_in'];
  const seconds = typeof lifetime === 'number' && lifetime > 0 ? lifetime : LIFETIME_S_DEFAULT;
  return { authorization: `Bearer ${token}`, expires: Date.now() + Math.max(0, seconds - EARLY_S) * 1000 };
}
