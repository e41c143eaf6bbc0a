// Detached signatures of OpenPGP (App Container specification 0.8.11, "Image Archives"), checked by gpgv(1) in a sandbox of our own: the signature and the
// image are somebody else's, and what reads them is a large program in C. It sees the keyring and the signature, and the image comes through a pipe.
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, realpathSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { LaunchedProcess } from '../../backends/backend.ts';
import { textOf } from '../../backends/own-output.ts';
import { OwnSandbox } from '../../backends/own-sandbox.ts';
import { ImageError, InternalError } from '../../errors/errors.ts';
import { type HostFiles, hostFiles } from '../../host/files.ts';
import { findOnPath } from '../../host/programs.ts';
import type { SandboxSpec } from '../../spec/types.ts';
import { readArchiveFile } from '../archive-file.ts';
import { readDocumentFile } from '../document-file.ts';
import { listSome } from '../place.ts';
import { judgeStatus, type Signer } from './signature-status.ts';

export interface VerifiedSignature {
  /** Whose keys are in the keyring, and who signed these very bytes. At least one. */
  readonly signers: readonly Signer[];
  /** `sha256:` of the file as it was read here: who reads it again compares, for it may have changed since. */
  readonly digest: string;
}

const DATA_FD = 3;
const KEYRING = '/keyring';
const SIGNATURE = '/signature';
const OUTPUT_MAX = 1024 * 1024;

/**
 * Checks that somebody whose key is in `keyring` signed `file`: one good signature is enough, and one that is bad, expired, or by a key that is expired or
 * revoked makes all of it bad. Signatures by unknown keys beside a good one say nothing.
 *
 * `keyring`: as `gpg --export` writes it. Needs gpgv (Debian: gpgv).
 *
 * @throws {ImageError} `SBX_IMAGE_SIGNATURE`
 * @throws {LaunchError} when the sandbox for it could not be set up.
 */
export async function verifyDetached(file: string, signature: string, keyring: string): Promise<VerifiedSignature> {
  const gpgv = requireGpgv(hostFiles, process.env['PATH']);
  checkSignatureFile(signature);
  checkKeyring(keyring);
  const hash = createHash('sha256');
  const running = await launch(gpgv, realpathSync(signature), realpathSync(keyring));
  const { status, complaint } = await converse(running, file, hash);
  const verdict = judgeStatus(status);
  if (verdict.problems.length > 0) throw refused(`${signature}: ${listSome(verdict.problems)}`);
  if (verdict.signers.length > 0) return { signers: verdict.signers, digest: `sha256:${hash.digest('hex')}` };
  if (verdict.unknownKeys.length > 0) {
    const keys = listSome(verdict.unknownKeys);
    throw refused(
      `${signature}: it is by a key that is not in ${keyring}: ${keys}`,
      'get that key from somebody you trust',
    );
  }
  const [why = 'gpgv finds no signature in it'] = complaint.split('\n').filter((line) => line !== '');
  throw refused(`${signature}: it is no detached signature: ${why}`);
}

/** @throws {ImageError} `SBX_IMAGE_SIGNATURE` */
export function requireGpgv(files: HostFiles, path: string | undefined): string {
  const gpgv = findOnPath(files, 'gpgv', path);
  if (gpgv !== undefined) return gpgv;
  throw refused('gpgv, which checks signatures, is not on PATH', 'install it (Debian: gpgv)');
}

function checkSignatureFile(signature: string): void {
  try {
    readDocumentFile(signature);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    const isMissing = (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
    throw refused(isMissing ? `there is no signature ${signature}` : error.message, undefined, error);
  }
}

/** gpgv takes a keyring in armor for an empty one, and every key for unknown. */
function checkKeyring(keyring: string): void {
  let head: string;
  try {
    const descriptor = openSync(keyring, 'r');
    try {
      const bytes = Buffer.alloc(64);
      head = bytes.toString('latin1', 0, readSync(descriptor, bytes));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    throw refused(`the keyring ${keyring} cannot be read (${code} from ${syscall}(2))`, undefined, error);
  }
  if (head === '') throw refused(`the keyring ${keyring} is empty`, 'write keys into it: gpg --export KEY');
  if (head.includes('-----BEGIN PGP'))
    throw refused(`the keyring ${keyring} is in armor, which gpgv does not read`, 'take that off: gpg --dearmor');
}

function refused(message: string, remedy?: string, cause?: unknown): ImageError {
  return new ImageError('SBX_IMAGE_SIGNATURE', message, {}, { remedy, cause });
}

async function launch(gpgv: string, signature: string, keyring: string): Promise<LaunchedProcess> {
  const spec: SandboxSpec = {
    mounts: [
      { type: 'bind', source: keyring, destination: KEYRING, readonly: true },
      { type: 'bind', source: signature, destination: SIGNATURE, readonly: true },
    ],
    user: { uid: 0, gid: 0 },
    network: 'none',
    // Files that root may read as everything else.
    capabilities: ['CAP_DAC_OVERRIDE'],
  };
  const sandbox = await OwnSandbox.reading([keyring, signature], spec, { descriptors: true });
  const seen = sandbox.isConfined ? { keyring, signature } : { keyring: KEYRING, signature: SIGNATURE };
  const options = ['--homedir=/tmp', '--enable-special-filenames', '--status-fd=1', `--keyring=${seen.keyring}`];
  return sandbox.launch([gpgv, ...options, '--', seen.signature, `-&${DATA_FD}`], ['ignore', 'pipe', 'pipe', 'pipe']);
}

async function converse(
  running: LaunchedProcess,
  file: string,
  hash: ReturnType<typeof createHash>,
): Promise<{ readonly status: string; readonly complaint: string }> {
  const stream = running.extra.get(DATA_FD);
  if (stream === undefined) throw new InternalError('gpgv has no stream of data');
  let failure: { readonly error: unknown } | undefined;
  async function* data(): AsyncGenerator<Uint8Array, void, undefined> {
    const source = readArchiveFile(file);
    try {
      for (;;) {
        // Only what reading throws: the stream throws what befalls it into this, too.
        const next = await source.next().catch((error: unknown) => {
          failure = { error };
          throw error;
        });
        if (next.done === true) return;
        hash.update(next.value);
        yield next.value;
      }
    } finally {
      await source.return();
    }
  }
  // It may end before it has read all: then its last lines say why.
  const feed = pipeline(Readable.from(data()), stream).catch(() => {
    if (failure !== undefined) running.kill();
  });
  const [status, complaint, ended] = await Promise.all([
    textOf(running, 1, { maxBytes: OUTPUT_MAX }),
    textOf(running, 2, { maxBytes: OUTPUT_MAX }),
    running.ended.then(
      () => undefined,
      (error: unknown) => ({ error }),
    ),
    feed,
  ]);
  if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
  if (ended !== undefined) throw ended.error;
  return { status, complaint };
}
