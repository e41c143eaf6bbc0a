// The image that each container is made of: our launcher and two empty directories. It is called by what is in it, made once on each engine, and kept there:
// to import and remove one for each run would take as long as the run, and one of a caller that was killed would stay.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { LaunchError } from '../../errors/errors.ts';

const REPOSITORY = 'sandboxlib/launcher';
const TIMEOUT_MS = 60_000;
const BLOCK_BYTES = 512;

export interface LauncherImage {
  readonly name: string;
  readonly launcher: Uint8Array;
}

export function readImage(launcher: string): LauncherImage {
  const bytes = readFileSync(launcher);
  const hash = createHash('sha256').update(bytes).digest('hex');
  return { name: `${REPOSITORY}:${hash.slice(0, 32)}`, launcher: bytes };
}

export interface Engine {
  /** Absolute path of the client. */
  readonly client: string;
  /** Absolute path of the engine's socket, without links. */
  readonly socket: string;
}

/** For the first run of a process with this engine, which waits for it. */
export function ensureImage({ client, socket }: Engine, { name, launcher }: LauncherImage): void {
  const ask = (args: readonly string[], input: Uint8Array = new Uint8Array()): string =>
    execFileSync(client, args, {
      input,
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: TIMEOUT_MS,
      encoding: 'utf8',
      cwd: '/',
      env: {
        DOCKER_HOST: `unix://${socket}`,
        DOCKER_CONFIG: '/nonexistent',
        HOME: '/nonexistent',
        PATH: '/usr/bin:/bin',
      },
    });
  try {
    if (ask(['images', '--quiet', name]).trim() === '') ask(['import', '-', name], imageArchive(launcher));
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const said = stderr?.trim() || message;
    throw new LaunchError(
      `cannot prepare the image ${name}: ${said}`,
      { step: 'tool', path: client },
      { cause: error, remedy: `see that "docker info" works with DOCKER_HOST=unix://${socket}` },
    );
  }
}

/** tar(5), ustar. */
export function imageArchive(launcher: Uint8Array): Uint8Array {
  const padding = new Uint8Array((BLOCK_BYTES - (launcher.length % BLOCK_BYTES)) % BLOCK_BYTES);
  return Buffer.concat([
    header('room/', '5', 0),
    header('rendezvous/', '5', 0),
    header('launcher', '0', launcher.length),
    launcher,
    padding,
    new Uint8Array(2 * BLOCK_BYTES),
  ]);
}

function header(name: string, type: '0' | '5', size: number): Uint8Array {
  const block = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  block.write(name, 0);
  block.write(octal(0o755, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(0, 11), 136);
  // The checksum counts itself as blanks.
  block.write(' '.repeat(8), 148);
  block.write(type, 156);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)} `, 148);
  return block;
}
