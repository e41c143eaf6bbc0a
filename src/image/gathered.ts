// Many small pieces as few large ones: each costs a turn of every stream that it goes through.

const GATHERED_BYTES = 64 * 1024;

export async function* gathered(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let buffer = Buffer.allocUnsafe(GATHERED_BYTES);
  let used = 0;
  for await (const piece of pieces) {
    if (used + piece.length > buffer.length) {
      yield buffer.subarray(0, used);
      buffer = Buffer.allocUnsafe(GATHERED_BYTES);
      used = 0;
    }
    if (piece.length >= buffer.length) {
      yield piece;
      continue;
    }
    buffer.set(piece, used);
    used += piece.length;
  }
  yield buffer.subarray(0, used);
}
