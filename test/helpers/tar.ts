// Archives made byte by byte, also such as no writer makes.

export interface Member {
  /** One character for each byte. */
  readonly name: string;
  /** @defaultValue `'0'` */
  readonly type?: string;
  readonly linkname?: string;
  readonly content?: Uint8Array | string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  /** Instead of that of the content. */
  readonly size?: number;
  readonly major?: number;
  readonly minor?: number;
  /** Records of an extended header before it. */
  readonly pax?: Readonly<Record<string, string>> | readonly (readonly [string, string])[];
  /** Bytes to write over the header, before its checksum is made. */
  readonly raw?: readonly (readonly [at: number, bytes: string])[];
  /** After its checksum was made. */
  readonly damage?: readonly (readonly [at: number, bytes: string])[];
}

export const END: Buffer = Buffer.alloc(1024);

export function tar(...members: readonly Member[]): Buffer {
  return Buffer.concat([...members.map(member), END]);
}

export function member(given: Member): Buffer {
  const { pax, content = '', ...rest } = given;
  const bytes = typeof content === 'string' ? Buffer.from(content, 'latin1') : content;
  const extended = pax === undefined ? [] : [member({ name: 'pax', type: 'x', content: paxRecords(pax) })];
  return Buffer.concat([
    ...extended,
    header({ size: bytes.length, ...rest }),
    bytes,
    Buffer.alloc(-bytes.length & 511),
  ]);
}

export function paxRecords(pax: NonNullable<Member['pax']>): string {
  const pairs = Array.isArray(pax) ? (pax as readonly (readonly [string, string])[]) : Object.entries(pax);
  return pairs.map(([key, value]) => paxRecord(key, value)).join('');
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
}

export function header(given: Omit<Member, 'pax' | 'content'>): Buffer {
  const { name, type = '0', linkname = '', uid = 0, gid = 0, mtime = 1_000_000_000, size = 0 } = given;
  const { mode = type === '5' ? 0o755 : 0o644 } = given;
  const block = Buffer.alloc(512);
  block.write(name.slice(0, 100), 0, 'latin1');
  const octal = (value: number, at: number, length: number): void => {
    if (value < 0 || value >= 8 ** (length - 1)) binary(value, at, length);
    else block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  };
  const binary = (value: number, at: number, length: number): void => {
    let rest = BigInt(value);
    for (let index = length - 1; index >= 0; index--) {
      block[at + index] = Number(rest & 0xffn);
      rest >>= 8n;
    }
    block[at] = (block[at] ?? 0) | 0x80;
  };
  octal(mode, 100, 8);
  octal(uid, 108, 8);
  octal(gid, 116, 8);
  octal(size, 124, 12);
  octal(mtime, 136, 12);
  block.write(type, 156, 'latin1');
  block.write(linkname.slice(0, 100), 157, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(given.major ?? 0, 329, 8);
  octal(given.minor ?? 0, 337, 8);
  for (const [at, bytes] of given.raw ?? []) block.write(bytes, at, 'latin1');
  seal(block);
  for (const [at, bytes] of given.damage ?? []) block.write(bytes, at, 'latin1');
  return block;
}

/** Makes the checksum of a header right. */
export function seal(block: Buffer): void {
  block.fill(0x20, 148, 156);
  const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}
