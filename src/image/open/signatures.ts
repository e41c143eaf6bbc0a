// Signatures of the archives that an image is rendered from. What is compared is what was read: the store knows each archive by the hash of its bytes.
import { realpathSync } from 'node:fs';
import { ImageError } from '../../errors/errors.ts';
import type { VerifiedSignature } from '../aci/signature.ts';
import type { ImageRecord } from '../store/records.ts';

/** Who signed one of the archives. */
export interface ImageSignature {
  /** The image ID of App Container. */
  readonly id: string;
  readonly name: string;
  /** At least one, by a key of the keyring. */
  readonly signers: readonly { readonly fingerprint: string; readonly userId: string }[];
}

/** The signature of a file is beside it, and is looked for once. */
export class SignatureCheck {
  readonly #keyring: string;
  /** By the path without symlinks. */
  readonly #verified = new Map<string, VerifiedSignature>();

  /** `keyring`: as `gpg --export` writes it. */
  constructor(keyring: string) {
    this.#keyring = keyring;
  }

  /**
   * Before anything of an archive is written.
   *
   * @throws {ImageError} `SBX_IMAGE_SIGNATURE`
   */
  async file(path: string, what: 'image' | 'dependency'): Promise<void> {
    await this.#verify(path, what);
  }

  /**
   * That all of an image was signed, the image itself first in the list.
   *
   * @throws {ImageError} `SBX_IMAGE_SIGNATURE`
   */
  async image({ archives = [] }: ImageRecord): Promise<ImageSignature[]> {
    const found: ImageSignature[] = [];
    for (const { id, name, path, digest } of archives) {
      const { signers, digest: signed } = await this.#verify(path, found.length === 0 ? 'image' : 'dependency');
      if (signed !== digest)
        throw refused(
          `${path} is not what was unpacked of it: it is ${signed}, and was ${digest}`,
          'run it again where it was replaced on purpose',
        );
      found.push({ id, name, signers: signers.map(({ fingerprint, userId }) => ({ fingerprint, userId })) });
    }
    return found;
  }

  async #verify(path: string, what: 'image' | 'dependency'): Promise<VerifiedSignature> {
    let real = path;
    try {
      real = realpathSync(path);
    } catch (cause) {
      // The layers may be in the store all the same.
      throw refused(`${path} is gone, and its signature cannot be checked`, 'put it back', cause);
    }
    const known = this.#verified.get(real);
    if (known !== undefined) return known;
    try {
      const { verifyDetached } = await import('../aci/signature.ts');
      const verified = await verifyDetached(real, `${path}.asc`, this.#keyring);
      this.#verified.set(real, verified);
      return verified;
    } catch (error) {
      if (what === 'image' || !(error instanceof ImageError)) throw error;
      throw refused(`the dependency ${path}: ${error.message}`, error.remedy, error);
    }
  }
}

/** Only App Container has signatures of an archive as a file. */
export function refuseSignature(reference: string, what: string): never {
  throw refused(
    `${reference} is ${what}, and only App Container images have detached signatures here`,
    'leave the keyring out, and name an image of OCI by its digest (NAME@sha256:...)',
  );
}

function refused(message: string, remedy?: string, cause?: unknown): ImageError {
  return new ImageError('SBX_IMAGE_SIGNATURE', message, {}, { remedy, cause });
}
