// An image that is a file system, as a tar archive, by a program in a sandbox of our own that sees the image and nothing else of the caller's: neither the
// kernel nor this process reads a file system that somebody else made, and what comes out is an archive like others, as hostile until shown otherwise.
import { realpathSync, statSync } from 'node:fs';
import { outputOf, textOf } from '../backends/own-output.ts';
import { OwnSandbox } from '../backends/own-sandbox.ts';
import { ImageError } from '../errors/errors.ts';
import { type HostFiles, hostFiles } from '../host/files.ts';
import { findOnPath } from '../host/programs.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { beyond } from './archive/failure.ts';
import type { ArchiveLimits } from './archive/limits.ts';

const IMAGE = '/image';
const COMPLAINT_MAX = 64 * 1024;
const WALL_MS = 30 * 60_000;

/** How one kind of image is read. */
export interface Converter {
  /** `squashfs`. */
  readonly kind: string;
  /** The one that reads it; and whose package has it. */
  readonly program: string;
  readonly packages: string;
  /** Whether it writes files on the way: then it takes a sandbox with files of its own, which not every host makes. */
  readonly writes: boolean;
  /** By the absolute path of that, and that of the image where the program sees it: what writes the archive to standard output. */
  command(program: string, image: string): readonly [string, ...string[]];
  /** What its sandbox has beside the image. @param size of the image, in bytes */
  sandbox(size: number, limits: ArchiveLimits): SandboxSpec;
  /** What a complaint means that the caller can do something about. */
  explain?(complaint: string): { readonly why: string; readonly remedy: string } | undefined;
}

/**
 * The bytes of the archive. `onNote` hears of what the program could not keep.
 *
 * @throws {ImageError} `SBX_IMAGE_UNSUPPORTED` where the program is missing or too old, `SBX_IMAGE_INVALID` where it fails, `SBX_IMAGE_LIMIT`.
 * @throws {LaunchError} when the sandbox for it could not be set up.
 */
export async function* convert(
  converter: Converter,
  path: string,
  limits: ArchiveLimits,
  onNote?: (note: string) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { size } = statSync(path);
  const program = requireProgram(converter, path, hostFiles, process.env['PATH']);
  const image = realpathSync(path);
  const spec = sandboxFor(image, converter.sandbox(size, limits));
  const sandbox = converter.writes
    ? await OwnSandbox.of(spec, { view: 'system' })
    : await OwnSandbox.reading([image], spec);
  const command = converter.command(program, sandbox.isConfined ? image : IMAGE);
  const running = sandbox.launch(command, ['ignore', 'pipe', 'pipe']);
  const complaint = textOf(running, 2, { maxBytes: COMPLAINT_MAX });
  const ended = running.ended.then(
    (end) => ({ end }),
    (error: unknown) => ({ error }),
  );
  let bytes = 0;
  try {
    for await (const chunk of outputOf(running, 1)) {
      bytes += chunk.length;
      if (bytes > limits.ratioFloorBytes && bytes > limits.ratio * size)
        throw beyond('ratio', limits, `${size} bytes of it expand to ${bytes} or more`, { archive: path });
      yield chunk;
    }
  } finally {
    // Whoever reads it may have had enough.
    running.kill();
  }
  const how = await ended;
  if ('error' in how) throw how.error;
  const said = (await complaint).trim();
  const first = said.split('\n').slice(0, 3).join('; ');
  const { code, signal } = how.end;
  if (code !== 0) throw failed(converter, path, said, signal === undefined ? `with status ${code}` : `by ${signal}`);
  if (said !== '') onNote?.(`${path}: ${first}`);
}

function failed(converter: Converter, path: string, said: string, how: string): ImageError {
  const explained = converter.explain?.(said);
  if (explained !== undefined)
    return new ImageError(
      'SBX_IMAGE_UNSUPPORTED',
      `${path}: ${explained.why}`,
      { archive: path },
      { remedy: explained.remedy },
    );
  const why = said === '' ? `it ended ${how}` : said.split('\n').slice(0, 3).join('; ');
  return new ImageError('SBX_IMAGE_INVALID', `${path}: ${converter.program} cannot read it: ${why}`, { archive: path });
}

/** @throws {ImageError} `SBX_IMAGE_UNSUPPORTED` */
export function requireProgram(
  { kind, program, packages }: Pick<Converter, 'kind' | 'program' | 'packages'>,
  path: string,
  files: HostFiles,
  searched: string | undefined,
): string {
  const found = findOnPath(files, program, searched);
  if (found !== undefined) return found;
  throw new ImageError(
    'SBX_IMAGE_UNSUPPORTED',
    `${path} is an image of ${kind}, and ${program}, which reads one, is not on PATH`,
    { archive: path },
    { remedy: `install it (Debian: ${packages})` },
  );
}

function sandboxFor(image: string, more: SandboxSpec): SandboxSpec {
  return {
    user: { uid: 0, gid: 0 },
    network: 'none',
    ...more,
    mounts: [{ type: 'bind', source: image, destination: IMAGE, readonly: true }, ...(more.mounts ?? [])],
    // Files that root may read as everything else.
    capabilities: ['CAP_DAC_OVERRIDE', ...(more.capabilities ?? [])],
    limits: { wallMs: WALL_MS, ...more.limits },
  };
}
