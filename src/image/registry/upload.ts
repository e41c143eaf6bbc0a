// Writing to a registry (OCI distribution spec 1.1, "Push"): content first, then what names it, so that nobody ever sees an image with a part missing.
import { ImageError } from '../../errors/errors.ts';
import type { RegistryReference } from '../reference.ts';
import { RegistryClient, type RegistryOptions, type Repository } from './client.ts';
import type { Sent } from './exchange.ts';

export interface Blob extends Sent {
  readonly digest: string;
}

export class RegistryWriter extends RegistryClient {
  constructor(options: RegistryOptions = {}) {
    super(options, 'pull,push');
  }

  async has(repository: Repository, digest: string): Promise<boolean> {
    const url = this.urlOf(repository, `blobs/${digest}`);
    return await this.retried(async () => {
      const reply = await this.ask(repository, { method: 'HEAD', url, headers: {} }, [200, 404]);
      await reply.discard();
      return reply.status === 200;
    });
  }

  /**
   * Writes what is not there yet. `from`: a repository of the same registry that has it.
   *
   * @returns whether anything was sent
   * @throws {ImageError} `SBX_IMAGE_REGISTRY`, and what reading the content throws
   */
  async upload(repository: Repository, blob: Blob, from?: string): Promise<boolean> {
    if (await this.has(repository, blob.digest)) return false;
    // An attempt that broke leaves a session that the registry forgets by itself.
    return await this.retried(async () => {
      const session = await this.#begin(repository, blob.digest, from);
      if (session === undefined) return false;
      session.searchParams.set('digest', blob.digest);
      const headers = { 'content-type': 'application/octet-stream' };
      const reply = await this.ask(repository, { method: 'PUT', url: session, headers, body: blob }, [201]);
      await reply.discard();
      return true;
    });
  }

  /** Where the content goes; `undefined` where the registry had it elsewhere. */
  async #begin(repository: Repository, digest: string, from: string | undefined): Promise<URL | undefined> {
    const start = this.urlOf(repository, 'blobs/uploads/');
    if (from !== undefined) {
      start.searchParams.set('mount', digest);
      start.searchParams.set('from', from);
    }
    const empty = { size: 0, content: nothing };
    const reply = await this.ask(repository, { method: 'POST', url: start, headers: {}, body: empty }, [201, 202]);
    await reply.discard();
    if (reply.status === 201) return undefined;
    const location = reply.headers.get('location');
    if (location === null || !URL.canParse(location, start.href))
      throw new ImageError('SBX_IMAGE_REGISTRY', `${reply.host} does not say where to send content to`);
    const session = new URL(location, start);
    // What is sent may be secret, and so is the token that goes with it.
    if (session.origin !== start.origin)
      throw new ImageError('SBX_IMAGE_REGISTRY', `${reply.host} wants content to be sent to ${session.host}`);
    return session;
  }

  /** Under its tag. */
  async putManifest(
    { tag, ...repository }: Repository & Pick<RegistryReference, 'tag'>,
    mediaType: string,
    bytes: Uint8Array,
  ): Promise<void> {
    const url = this.urlOf(repository, `manifests/${tag}`);
    const body: Sent = {
      size: bytes.byteLength,
      async *content() {
        yield bytes;
      },
    };
    await this.retried(async () => {
      const headers = { 'content-type': mediaType };
      const reply = await this.ask(repository, { method: 'PUT', url, headers, body }, [201]);
      await reply.discard();
    });
  }
}

async function* nothing(): AsyncGenerator<Uint8Array, void, undefined> {}
