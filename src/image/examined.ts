// What looking at an image gave: what it is, everything that is wrong with it, and what is passed over. Looking goes on where it can, so that a person sees
// all of it at once.
import { ImageError, isSandboxError, printable, printableIssue, type SpecIssue } from '../errors/errors.ts';
import type { AciManifest } from './aci/manifest.ts';
import type { AciPod } from './aci/pod.ts';
import type { Signer } from './aci/signature-status.ts';
import type { ArchiveFacts } from './archive/open.ts';
import type { BundleRun } from './oci/bundle.ts';
import type { OciImageConfig } from './oci/config.ts';
import type { OciManifest } from './oci/manifest.ts';
import type { ImageKind } from './sniff.ts';

/** `manifest` of `ImageKind`, by what document it is. */
export type ExaminedKind = Exclude<ImageKind, 'manifest'> | DocumentKind;
export type DocumentKind =
  | 'image-manifest'
  | 'pod-manifest'
  | 'oci-index'
  | 'oci-manifest'
  | 'oci-config'
  | 'bundle-config'
  | 'unknown';

export interface Finding extends SpecIssue {
  /** The document or blob; empty where it is the whole. */
  readonly where: string;
}

export interface ExaminedLayer {
  /** Of the bytes as they are. */
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string | undefined;
  /** As the configuration has it, of the uncompressed layer. */
  readonly diffId: string | undefined;
}

/** One of an OCI layout or an archive of `docker save`. */
export interface ExaminedImage {
  readonly names: readonly string[];
  /** Of the manifest; for an archive of `docker save` of the configuration. */
  readonly digest: string;
  readonly manifest: OciManifest | undefined;
  readonly config: OciImageConfig | undefined;
  readonly layers: readonly ExaminedLayer[];
}

export interface Examined {
  readonly path: string;
  readonly kind: ExaminedKind;
  readonly issues: readonly Finding[];
  readonly notes: readonly Finding[];
  /** Where it is one, read to its end. */
  readonly archive?: ArchiveFacts;
  /** In an archive of files or an App Container image. */
  readonly entries?: number;
  readonly manifest?: AciManifest;
  readonly pod?: AciPod;
  readonly images?: readonly ExaminedImage[];
  readonly bundle?: BundleRun;
  readonly config?: OciImageConfig;
  /** Where a keyring was given: at least one, or there are issues. */
  readonly signers?: readonly Signer[];
  /** As they are, by their paths. */
  readonly documents?: Readonly<Record<string, unknown>>;
}

/** Of each kind; the rest is counted. */
const FINDINGS_MAX = 1000;

export class Findings {
  readonly issues: Finding[] = [];
  readonly notes: Finding[] = [];
  readonly #path: string;
  #moreIssues = 0;
  #moreNotes = 0;

  /** `path` of the image, which need not be said again in each of them. */
  constructor(path: string) {
    this.#path = path;
  }

  issue(where: string, message: string, path: SpecIssue['path'] = []): void {
    if (this.issues.length < FINDINGS_MAX) this.issues.push(this.#finding(where, message, path));
    else this.#moreIssues += 1;
  }

  note(where: string, message: string, path: SpecIssue['path'] = []): void {
    if (this.notes.length < FINDINGS_MAX) this.notes.push(this.#finding(where, message, path));
    else this.#moreNotes += 1;
  }

  /** The result of `action` and its notes; `undefined` where it threw what is wrong with the image. */
  attempt<T extends { readonly notes?: readonly SpecIssue[] } | undefined>(
    where: string,
    action: () => T,
  ): T | undefined {
    try {
      const result = action();
      for (const { path, message } of result?.notes ?? []) this.note(where, message, path);
      return result;
    } catch (error) {
      this.failure(where, error);
      return undefined;
    }
  }

  /** @throws what is no word on the image. */
  failure(where: string, error: unknown): void {
    if (error instanceof ImageError && error.issues.length > 0) {
      for (const { path, message } of error.issues) this.issue(where, message, path);
    } else if (isSandboxError(error)) this.issue(where, error.message);
    else if (error instanceof Error && 'syscall' in error) {
      const { code, syscall } = error as NodeJS.ErrnoException;
      this.issue(where, `it cannot be read (${code} from ${syscall}(2))`);
    } else throw error;
  }

  finish(): Pick<Examined, 'issues' | 'notes'> {
    if (this.#moreIssues > 0) this.issues.push({ where: '', path: [], message: `and ${this.#moreIssues} more` });
    if (this.#moreNotes > 0) this.notes.push({ where: '', path: [], message: `and ${this.#moreNotes} more` });
    return { issues: this.issues, notes: this.notes };
  }

  #finding(where: string, message: string, path: SpecIssue['path']): Finding {
    const own = [printable(this.#path), where].find((known) => known !== '' && message.startsWith(known));
    const short = own === undefined ? message : message.slice(own.length).replace(/^[:,]? /, '');
    return { where: printable(where), ...printableIssue({ path, message: short }) };
  }
}
