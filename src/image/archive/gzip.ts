// gzip by zlib, which reads several members one after another as one stream (RFC 1952, 2.2).
import { createGunzip } from 'node:zlib';
import type { Subject } from './failure.ts';
import { broken, truncated } from './failure.ts';
import { throughTransform } from './transform.ts';

export async function* gunzip(
  source: AsyncIterable<Uint8Array>,
  subject: Subject,
): AsyncGenerator<Uint8Array, void, undefined> {
  const stream = createGunzip({ chunkSize: 64 * 1024 });
  const read = yield* throughTransform(source, stream, (error) => {
    if (error.code === 'Z_BUF_ERROR') return truncated('gzip', subject, error);
    return error.code?.startsWith('Z_') ? broken('gzip', `is broken (${error.message})`, subject, error) : error;
  });
  // zlib stops at a zero after a member, as gzip(1) does for the sake of tapes.
  const rest = read - stream.bytesWritten;
  if (rest > 0) throw broken('gzip', `is followed by ${rest} bytes or more of something else`, subject);
}
