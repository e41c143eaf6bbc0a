// Compressing what is built. gzip is Node's own, without a name or a time in it; the others are programs of this host.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { BuildCompression } from '../../archive/compressions.ts';
import { ImageError } from '../../errors/errors.ts';
import { hostFiles } from '../../host/files.ts';
import { findOnPath } from '../../host/programs.ts';

interface Program {
  /** Written out: what a variable such as XZ_OPT says would change the bytes. */
  readonly args: readonly string[];
  readonly debian: string;
}

const programs: Readonly<Record<Exclude<BuildCompression, 'none' | 'gzip'>, Program>> = {
  bzip2: { args: ['--stdout', '--compress', '-9'], debian: 'bzip2' },
  xz: {
    args: ['--stdout', '--compress', '--format=xz', '--threads=1', '--check=crc64', '-6'],
    debian: 'xz-utils',
  },
};

/** @throws {ImageError} `SBX_IMAGE_BUILD` where there is no such program, or it fails. */
export async function compressTo(
  compression: BuildCompression,
  source: Readable,
  sink: Writable,
  signal: AbortSignal | undefined,
): Promise<void> {
  const options = signal === undefined ? {} : { signal };
  if (compression === 'none') return pipeline(source, sink, options);
  if (compression === 'gzip') return pipeline(source, createGzip(), sink, options);
  return throughProgram(compression, source, sink, options);
}

/** @throws {ImageError} `SBX_IMAGE_BUILD` */
export function requireCompressor(compression: BuildCompression): void {
  if (compression !== 'none' && compression !== 'gzip') programOf(compression);
}

function programOf(compression: keyof typeof programs): string {
  const file = findOnPath(hostFiles, compression, process.env['PATH']);
  if (file !== undefined) return file;
  throw new ImageError(
    'SBX_IMAGE_BUILD',
    `${compression} is not on PATH`,
    {},
    { remedy: `install it (Debian: ${programs[compression].debian}), or compress by gzip` },
  );
}

async function throughProgram(
  compression: keyof typeof programs,
  source: Readable,
  sink: Writable,
  options: { readonly signal?: AbortSignal },
): Promise<void> {
  const child = spawn(programOf(compression), programs[compression].args, { env: {}, stdio: 'pipe' });
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (complaint.length < 4096) complaint += chunk.toString();
  });
  const results = await Promise.allSettled([
    pipeline(source, child.stdin, options).catch((error: unknown) => {
      // Else the other end would be waited for.
      child.kill('SIGKILL');
      throw error;
    }),
    pipeline(child.stdout, sink, options).catch((error: unknown) => {
      child.kill('SIGKILL');
      throw error;
    }),
    ended,
  ]);
  const [fed, , end] = results;
  const status = end.status === 'fulfilled' ? end.value : undefined;
  const failed = results.find((result) => result.status === 'rejected');
  // A program that ended early is why it could not be fed.
  const isEarly = fed.status === 'rejected' && (fed.reason as NodeJS.ErrnoException).code === 'EPIPE';
  if (failed !== undefined && !isEarly) throw failed.reason;
  if (status?.[0] === 0 && failed === undefined) return;
  const how = status?.[1] ? `was ended by ${status[1]}` : `ended with status ${status?.[0]}`;
  throw new ImageError('SBX_IMAGE_BUILD', `${compression} ${how}${complaint === '' ? '' : `: ${complaint.trim()}`}`);
}
