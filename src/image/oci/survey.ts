// The first pass over an image layout: how large each file is, what its digest is, and the documents among them.
import { createHash } from 'node:crypto';
import { shown } from '../archive/bytes.ts';
import { parseDigest } from '../digest.ts';
import type { Findings } from '../examined.ts';
import { DOCUMENT_BYTES_MAX } from '../json.ts';
import type { Member, Members } from './members.ts';

export interface SurveyedFile {
  readonly size: number;
  /** By the algorithm of its path, else by SHA-256. */
  readonly digest: string;
}

/** All documents of a layout together: as many images as anybody keeps in one. */
const DOCUMENTS_BYTES_MAX = 64 * 1024 * 1024;
/** A link to a link to a link. */
const LINKS_MAX = 8;
const topmost = ['oci-layout', 'index.json', 'manifest.json'];

export class Survey {
  readonly files: Map<string, SurveyedFile> = new Map();
  readonly #documents = new Map<string, Uint8Array>();
  readonly #links = new Map<string, string>();
  #documentBytes = 0;

  static async of(members: Members, findings: Findings): Promise<Survey> {
    const survey = new Survey();
    for await (const member of members()) await survey.#take(member, findings);
    return survey;
  }

  /** The path of a file, by way of links. */
  resolve(path: string): string {
    let found = path;
    for (let hops = 0; hops < LINKS_MAX; hops += 1) found = this.#links.get(found) ?? found;
    return found;
  }

  file(path: string): SurveyedFile | undefined {
    return this.files.get(this.resolve(path));
  }

  /** `undefined` where there is none, or where it does not look like JSON. */
  document(path: string): Uint8Array | undefined {
    return this.#documents.get(this.resolve(path));
  }

  async #take(member: Member, findings: Findings): Promise<void> {
    if (this.files.has(member.path) || this.#links.has(member.path))
      // Readers disagree which of two counts.
      findings.issue('', `'${shown(member.path)}' stands twice in the archive`);
    if ('target' in member) {
      this.#links.set(member.path, member.target);
      return;
    }
    const named = namedDigest(member.path, findings);
    const algorithm = named?.startsWith('sha512:') === true ? 'sha512' : 'sha256';
    const hash = createHash(algorithm);
    const document = new DocumentBytes(
      member.path,
      Math.min(DOCUMENT_BYTES_MAX, DOCUMENTS_BYTES_MAX - this.#documentBytes),
    );
    let size = 0;
    for await (const chunk of member.content) {
      hash.update(chunk);
      size += chunk.length;
      document.add(chunk);
    }
    const digest = `${algorithm}:${hash.digest('hex')}`;
    this.files.set(member.path, { size, digest });
    if (named !== undefined && named !== digest)
      findings.issue(member.path, `the content has the digest ${digest}, which is not that of its name`);
    const bytes = document.bytes();
    if (bytes === undefined) return;
    this.#documentBytes += bytes.length;
    this.#documents.set(member.path, bytes);
  }
}

/** The digest that a blob's name says; `undefined` for what is no blob, or cannot be verified. */
function namedDigest(path: string, findings: Findings): string | undefined {
  const match = /^blobs\/([^/]+)\/([^/]+)$/.exec(path);
  if (match === null) return undefined;
  const digest = `${match[1]}:${match[2]}`;
  const parsed = parseDigest(digest);
  if (!('problem' in parsed)) return digest;
  findings.note(shown(path), parsed.problem);
  return undefined;
}

/** What is kept of a file that may be a document: nothing once it is known to be none. */
class DocumentBytes {
  readonly #most: number;
  readonly #isTop: boolean;
  #chunks: Uint8Array[] | undefined = [];
  #size = 0;

  constructor(path: string, most: number) {
    this.#most = most;
    this.#isTop = topmost.includes(path);
  }

  add(chunk: Uint8Array): void {
    if (this.#size === 0 && chunk.length > 0 && !this.#isTop && !startsAsJson(chunk)) this.#chunks = undefined;
    this.#size += chunk.length;
    if (this.#size > this.#most) this.#chunks = undefined;
    this.#chunks?.push(Uint8Array.from(chunk));
  }

  bytes(): Uint8Array | undefined {
    return this.#chunks === undefined ? undefined : Buffer.concat(this.#chunks);
  }
}

function startsAsJson(chunk: Uint8Array): boolean {
  return /^[\s\ufeff]*[{[]/.test(Buffer.from(chunk.subarray(0, 64)).toString('utf8'));
}
