// The sandbox that unpacking is done in: an empty root, the directory to write and the launcher, no network, and of capabilities those that owners, modes
// and nodes need. As root every id is mapped; as an ordinary user those of /etc/subuid and /etc/subgid where there are any, else one.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { LaunchedProcess } from '../backends/backend.ts';
import { launcherPath } from '../backends/launcher/locate.ts';
import { textOf } from '../backends/own-output.ts';
import { OwnSandbox, refusesIsolation, tryIsolationWhereDoubtful } from '../backends/own-sandbox.ts';
import { ImageError, InternalError } from '../errors/errors.ts';
import { callerFacts } from '../host/facts.ts';
import { nodeSpecHost } from '../spec/host.ts';
import { idInside } from '../spec/id-mappings.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { shown } from './archive/bytes.ts';
import { gathered } from './gathered.ts';
import { type Owners, ownersFor } from './owners.ts';

export interface LeftOut {
  /** `owner`, `device`, `mode`, or the name of an extended attribute. */
  readonly what: string;
  readonly path: string;
  readonly because: string;
}

/** The last line of the launcher, and what it told before. */
export type Told =
  | {
      readonly kind: 'unpacked';
      readonly entries: number;
      readonly bytes: number;
      readonly owners: number;
      readonly devices: number;
      readonly xattrs: number;
      readonly modes: number;
      readonly leftOut: readonly LeftOut[];
    }
  | {
      readonly kind: 'failed';
      readonly syscall: string | undefined;
      readonly errno: string | undefined;
      readonly path: string | undefined;
      readonly detail: string | undefined;
    };

const TARGET = '/target';
const LAUNCHER = '/launcher';
const RECORDS_FD = 3;
/** For owners; for directories and files whose mode keeps even their owner out; for bits set-ID of other groups; for security.capability. */
const capabilities = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_FSETID', 'CAP_SETFCAP'];
const LINES_BYTES_MAX = 16 * 1024 * 1024;

export class UnpackSandbox {
  /** In words, for the report. */
  readonly owners: string;
  readonly #sandbox: OwnSandbox;
  /** Where it finds them. */
  readonly #launcher: string;
  readonly #target: string;

  private constructor(sandbox: OwnSandbox, launcher: string, target: string, owners: string) {
    this.#sandbox = sandbox;
    this.#launcher = launcher;
    this.#target = target;
    this.owners = owners;
  }

  /** Preconditions: `directory` is absolute, without symlinks in it. */
  static async over(directory: string): Promise<UnpackSandbox> {
    await tryIsolationWhereDoubtful();
    const { kind, words } = ownersFor(nodeSpecHost(), callerFacts());
    const launcher = launcherPath();
    if (refusesIsolation()) {
      const sandbox = await OwnSandbox.confined(confinedTo(directory, launcher), { descriptors: true });
      return new UnpackSandbox(sandbox, launcher, directory, words);
    }
    const sandbox = await OwnSandbox.of(specOver(directory, launcher, kind), { view: 'nothing', descriptors: true });
    return new UnpackSandbox(sandbox, LAUNCHER, TARGET, words);
  }

  /** What the sandbox calls ids of the host; those that it does not know are its own there. */
  idsInside(uid: number, gid: number): { readonly uid: number; readonly gid: number } {
    const { idMappings } = this.#sandbox;
    return { uid: idInside(idMappings.uid, uid) ?? 0, gid: idInside(idMappings.gid, gid) ?? 0 };
  }

  /** Hands `records` to the launcher; what `records` throws ends it, and is thrown. */
  async write(records: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Promise<Told> {
    signal?.throwIfAborted();
    // Not by stdin, which the supervisor would pass on, one copy more of everything.
    const running = this.#sandbox.launch(
      [this.#launcher, 'unpack', '--records-fd', String(RECORDS_FD), '--directory', this.#target],
      ['ignore', 'pipe', 'pipe', 'pipe'],
    );
    const abort = (): void => running.kill();
    signal?.addEventListener('abort', abort);
    try {
      const told = await converse(running, records);
      signal?.throwIfAborted();
      return told;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }
}

async function converse(running: LaunchedProcess, records: AsyncIterable<Uint8Array>): Promise<Told> {
  const source = new Source(records);
  const [said, complaint, , ended] = await Promise.all([
    textOf(running, 1, { encoding: 'latin1', maxBytes: LINES_BYTES_MAX }),
    textOf(running, 2, { maxBytes: LINES_BYTES_MAX }),
    feed(running, source),
    running.ended.then(
      (end) => ({ end }),
      (error: unknown) => ({ error }),
    ),
  ]);
  if (source.failure !== undefined) throw source.failure.error;
  if ('error' in ended) throw ended.error;
  const told = readLines(said);
  if (told !== undefined) return told;
  const { code, signal } = ended.end;
  const how = signal === undefined ? `with status ${code}` : `by ${signal}`;
  if (signal === undefined) throw new InternalError(`unpacking ended ${how} and did not say why: ${complaint.trim()}`);
  throw new ImageError(
    'SBX_IMAGE_UNPACK',
    `unpacking was ended ${how}`,
    {},
    { remedy: 'it may have run out of memory' },
  );
}

/** Remembers what its iteration throws: by way of a stream it could not be told from an error of the stream. */
class Source implements AsyncIterable<Uint8Array> {
  readonly #records: AsyncIterable<Uint8Array>;
  failure: { readonly error: unknown } | undefined;

  constructor(records: AsyncIterable<Uint8Array>) {
    this.#records = records;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    const records = gathered(this.#records);
    try {
      for (let next = await this.#next(records); next.done !== true; next = await this.#next(records)) yield next.value;
    } finally {
      await records.return();
    }
  }

  /** What a stream throws at its source when nobody reads any more (EPIPE) does not come by here. */
  async #next(records: AsyncGenerator<Uint8Array, void, undefined>): Promise<IteratorResult<Uint8Array, void>> {
    try {
      return await records.next();
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }
}

async function feed(running: LaunchedProcess, source: Source): Promise<void> {
  const stream = running.extra.get(RECORDS_FD);
  if (stream === undefined) throw new InternalError('the launcher has no stream of records');
  // It is a socket: where the launcher ends with something unread, reading fails too (ECONNRESET), after the pipeline has stopped to listen.
  stream.on('error', () => undefined);
  try {
    await pipeline(Readable.from(source, { objectMode: true, highWaterMark: 2 }), stream);
  } catch {
    // Either the source failed, which it remembers, or the launcher ended before it had read all, and its last line or its end says why.
    if (source.failure !== undefined) running.kill();
  }
}

interface Line {
  readonly event?: unknown;
  readonly what?: string;
  readonly path?: string;
  readonly errno?: string;
  readonly syscall?: string;
  readonly detail?: string;
  readonly [count: string]: unknown;
}

/** `undefined` where the last line is missing. */
function readLines(text: string): Told | undefined {
  const leftOut: LeftOut[] = [];
  for (const json of text.split('\n')) {
    if (json === '') continue;
    const line = JSON.parse(json) as Line;
    const { path, errno, syscall, detail } = line;
    if (line.event === 'left-out') leftOut.push(leftOutOf(line));
    if (line.event === 'failed') return { kind: 'failed', syscall, errno, path, detail };
    if (line.event !== 'unpacked') continue;
    const count = (name: string): number => Number(line[name] ?? 0);
    return {
      kind: 'unpacked',
      entries: count('entries'),
      bytes: count('bytes'),
      owners: count('owners'),
      devices: count('devices'),
      xattrs: count('xattrs'),
      modes: count('modes'),
      leftOut,
    };
  }
  return undefined;
}

function leftOutOf({ what = '', path = '', errno = '' }: Line): LeftOut {
  return { what, path: shown(path), because: (what in words ? words[what]?.[errno] : undefined) ?? errno };
}

const words: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  owner: { EINVAL: 'the ids have no mapping in the sandbox', EPERM: 'only root may give files away' },
  device: { EPERM: 'devices cannot be made in a user namespace' },
  mode: { EPERM: 'set-user-ID and set-group-ID bits are for an owner that the file has not' },
};

function specOver(directory: string, launcher: string, kind: Owners['kind']): SandboxSpec {
  return {
    root: { readonly: true },
    mounts: [
      { type: 'bind', source: directory, destination: TARGET, readonly: false },
      { type: 'bind', source: launcher, destination: LAUNCHER, readonly: true },
    ],
    user: { uid: 0, gid: 0 },
    network: 'none',
    capabilities,
    ...(kind === 'ranges' ? { uidMappings: 'subordinate', gidMappings: 'subordinate' } : {}),
  };
}

/** Of all that the caller sees, this directory alone; without a capability, also as root. */
function confinedTo(directory: string, launcher: string): SandboxSpec & Required<Pick<SandboxSpec, 'landlock'>> {
  const { uid, gid } = callerFacts();
  return {
    user: { uid, gid },
    network: 'none',
    landlock: { paths: { [directory]: 'rw', [launcher]: 'rox' } },
  };
}
