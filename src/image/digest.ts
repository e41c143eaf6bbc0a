// Content by its hash: `sha256:HEX` of OCI documents, `sha512-HEX` of App Container images.
import { createHash } from 'node:crypto';
import { ImageError } from '../errors/errors.ts';
import { shorten } from './place.ts';

export const digestAlgorithms = ['sha256', 'sha512'] as const;
export type DigestAlgorithm = (typeof digestAlgorithms)[number];

const hexLength: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 };

export interface Digest {
  readonly algorithm: DigestAlgorithm;
  /** In lower case. */
  readonly hex: string;
}

/** `algorithm:hex` of the OCI image spec. One of another algorithm is refused by its name: what cannot be verified is not used. */
export function parseDigest(text: string): Digest | { readonly problem: string } {
  const match = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)$/.exec(text);
  if (match === null) return { problem: `'${shorten(text)}' is no digest such as 'sha256:' and 64 hexadecimal digits` };
  return checkedDigest(match[1] ?? '', match[2] ?? '');
}

/** The image ID of an App Container image: the hash of its uncompressed archive. */
export function parseImageId(text: string): Digest | { readonly problem: string } {
  const match = /^sha512-(.*)$/s.exec(text);
  if (match === null) return { problem: `'${shorten(text)}' is no image ID: 'sha512-' and 128 hexadecimal digits` };
  return checkedDigest('sha512', match[1] ?? '');
}

function checkedDigest(name: string, hex: string): Digest | { readonly problem: string } {
  const algorithm = digestAlgorithms.find((known) => known === name);
  if (algorithm === undefined)
    return { problem: `digests of ${name} cannot be verified here: only ${digestAlgorithms.join(' and ')} can` };
  const length = hexLength[algorithm];
  if (hex.length === length && /^[0-9a-f]+$/.test(hex)) return { algorithm, hex };
  return { problem: `a digest of ${algorithm} has ${length} hexadecimal digits in lower case, not '${shorten(hex)}'` };
}

export function checkDigest(text: string): string | undefined {
  const digest = parseDigest(text);
  return 'problem' in digest ? digest.problem : undefined;
}

/** `digest` was checked before. @throws {ImageError} `SBX_IMAGE_INVALID` otherwise. */
export function digestOf(text: string): Digest {
  const digest = parseDigest(text);
  if ('problem' in digest) throw new ImageError('SBX_IMAGE_INVALID', digest.problem);
  return digest;
}

export function hashBytes(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** What content must be. */
export interface Expected {
  readonly digest: string;
  readonly size: number;
  /** What it is, for messages: `layer 3 of example.org/app`. */
  readonly what: string;
}

/**
 * Passes `source` on, no byte beyond the announced size, and ends well only where size and hash are right. Who reads must not use what came before
 * the end: the hash is known only then.
 *
 * @throws {ImageError} `SBX_IMAGE_DIGEST`
 */
export async function* verified(
  source: AsyncIterable<Uint8Array>,
  { digest, size, what }: Expected,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { algorithm, hex } = digestOf(digest);
  const hash = createHash(algorithm);
  let received = 0;
  for await (const chunk of source) {
    received += chunk.byteLength;
    if (received > size)
      throw new ImageError('SBX_IMAGE_DIGEST', `${what} is longer than the ${size} bytes it was announced with`);
    hash.update(chunk);
    yield chunk;
  }
  if (received < size) throw new ImageError('SBX_IMAGE_DIGEST', `${what} ends after ${received} of ${size} bytes`);
  const found = hash.digest('hex');
  if (found !== hex)
    throw new ImageError('SBX_IMAGE_DIGEST', `${what} is not what ${digest} names: it is ${algorithm}:${found}`);
}

/** @throws {ImageError} `SBX_IMAGE_DIGEST` */
export async function verifiedBytes(source: AsyncIterable<Uint8Array>, expected: Expected): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of verified(source, expected)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
