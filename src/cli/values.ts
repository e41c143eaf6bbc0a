// The values of options, one form each. A function returns what was read, or throws a ValueError that says what was expected.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ArchiveLimits } from '../image/archive/limits.ts';
import { checkPathInside } from '../spec/checks.ts';
import { landlockAccesses } from '../spec/landlock.ts';
import { parseMountString } from '../spec/mount-string.ts';
import { nearest } from '../spec/nearest.ts';
import type {
  IdMapping,
  LandlockAccess,
  MountSpec,
  OciSeccomp,
  RootSpec,
  SyscallRule,
  WorkspaceSpec,
} from '../spec/types.ts';
import { checkBytes, parseBytes } from '../spec/units.ts';
import { joinWords } from '../spec/words.ts';

export class ValueError extends Error {}

/** Why a value is wrong, or nothing; what it is goes to `use`. */
export function attempt<T>(read: () => T, use: (value: T) => void): string | undefined {
  try {
    use(read());
    return undefined;
  } catch (error) {
    if (error instanceof ValueError) return error.message;
    throw error;
  }
}

export function readInteger(text: string, minimum: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value) && value >= minimum) return value;
  throw new ValueError(`must be a whole number of at least ${minimum}, not '${text}'`);
}

/** A number of processors: more than 0, a fraction allowed. */
export function readProcessors(text: string): number {
  const value = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value > 0 && Number.isFinite(value)) return value;
  throw new ValueError(`must be a number above 0, such as 1.5, not '${text}'`);
}

export function readWord<const Word extends string>(text: string, words: readonly Word[], what: string): Word {
  if ((words as readonly string[]).includes(text)) return text as Word;
  const meant = nearest(text, words);
  const known = words.length > 8 ? '' : `: known are ${joinWords(words)}`;
  throw new ValueError(`'${text}' is no ${what}${meant === undefined ? known : `; did you mean ${meant}?`}`);
}

const archiveSizes = ['bytes', 'ratioFloorBytes', 'nameBytes', 'xattrBytes', 'headerBytes'] as const;
const archiveNumbers = ['entries', 'ratio', 'depth'] as const;
export const archiveLimitNames: readonly (keyof ArchiveLimits)[] = [...archiveSizes, ...archiveNumbers];

/** `bytes=64GiB`, `entries=10000`. */
export function readArchiveLimit(text: string): Partial<ArchiveLimits> {
  const equals = text.indexOf('=');
  if (equals === -1) throw new ValueError(`must be NAME=NUMBER, such as bytes=64GiB, not '${text}'`);
  const value = text.slice(equals + 1);
  const name = readWord(text.slice(0, equals), archiveLimitNames, 'limit of an archive');
  if ((archiveNumbers as readonly string[]).includes(name)) return { [name]: readInteger(value, 1) };
  const problem = checkBytes(value);
  if (problem !== undefined) throw new ValueError(`${name} ${problem}`);
  return { [name]: parseBytes(value) };
}

/** `UID:GID`. */
export function readOwner(text: string): { uid: number; gid: number } {
  const [, uid, gid] = /^(\d+):(\d+)$/.exec(text) ?? [];
  if (uid === undefined || gid === undefined) throw new ValueError(`must be UID:GID, such as 0:0, not '${text}'`);
  return { uid: readInteger(uid, 0), gid: readInteger(gid, 0) };
}

/** Permission bits in octal, as chmod(1) and the shell's umask take them. */
export function readOctal(text: string): number {
  if (/^0?o?[0-7]{1,4}$/.test(text)) return Number.parseInt(text.replace('o', ''), 8);
  throw new ValueError(`must be octal, such as 022, not '${text}'`);
}

const accesses = ['ro', 'rw', 'overlay'] as const;

/** `[PATH][:ro|:rw|:overlay]`. */
export function readWorkspace(text: string, currentDirectory: string): WorkspaceSpec {
  const colon = text.lastIndexOf(':');
  const access = accesses.find((word) => colon !== -1 && text.slice(colon + 1) === word);
  const path = access === undefined ? text : text.slice(0, colon);
  if (path === '~' || path.startsWith('~/')) {
    throw new ValueError(`the shell leaves ~ alone here; write "$HOME${path.slice(1)}" instead of ${path}`);
  }
  return {
    path: path === '' ? currentDirectory : resolve(currentDirectory, path),
    ...(access === undefined ? {} : { access }),
  };
}

/** What is kept is captured, in the words of the spec, where `keep` is something else for a root. */
export function readChanges(text: string): 'discard' | 'capture' {
  return readWord(text, ['keep', 'discard'], 'choice') === 'keep' ? 'capture' : 'discard';
}

/** `SRC:DST[:ro|:rw]`, or `PATH[:ro|:rw]` for the same path inside. */
export function readBind(text: string): MountSpec {
  // `/srv:rw` has an access where the other form has a destination, and a destination is never relative.
  const same = /^(?<path>(?:\\.|[^\\:])+)(?::(?<access>ro|rw))?$/.exec(text)?.groups;
  if (same !== undefined) {
    const path = resolve((same['path'] ?? '').replaceAll(/\\([\\:])/g, '$1'));
    return { type: 'bind', source: path, destination: path, readonly: same['access'] !== 'rw' };
  }
  const mount = parseMountString(text);
  if ('problem' in mount) throw new ValueError(mount.problem);
  return { type: 'bind', ...mount };
}

/** `DST[:SIZE]`. */
export function readTmpfs(text: string): MountSpec {
  const colon = text.lastIndexOf(':');
  if (colon === -1) return { type: 'tmpfs', destination: text };
  const size = text.slice(colon + 1);
  const problem = checkBytes(size);
  if (problem !== undefined) throw new ValueError(`the size after the colon ${problem}`);
  return { type: 'tmpfs', destination: text.slice(0, colon), sizeBytes: size };
}

const mountTypes = ['bind', 'tmpfs', 'overlay', 'proc', 'dev', 'sysfs', 'image'] as const;
const mountKeys = ['type', 'source', 'destination', 'readonly', 'size', 'mode', 'optional', 'changes'] as const;

/** `type=TYPE,source=SRC,destination=DST,readonly,...`, or what `--bind` takes. */
export function readMount(text: string): MountSpec {
  if (!/^\w+(?:=|,|$)/.test(text)) return readBind(text);
  const problems: string[] = [];
  const mount: { -readonly [Key in keyof MountSpec]?: MountSpec[Key] } = {};
  const seen = new Set<string>();
  for (const part of splitAtCommas(text)) {
    const equals = part.indexOf('=');
    const name = equals === -1 ? part : part.slice(0, equals);
    const value = equals === -1 ? undefined : part.slice(equals + 1);
    if (seen.has(name)) problems.push(`${name} is given twice`);
    seen.add(name);
    const problem = attempt(
      () => readWord(name, mountKeys, 'key of a mount'),
      (key) => setMountKey(mount, key, value, problems),
    );
    if (problem !== undefined) problems.push(problem);
  }
  const type = mount.type ?? 'bind';
  if (mount.destination === undefined) problems.push('destination is missing');
  if (type === 'bind' && mount.source === undefined) problems.push('source is missing');
  if (problems.length > 0) throw new ValueError(problems.join('; '));
  return { ...mount, type, destination: mount.destination ?? '' };
}

/** A comma of a path is written `\,`, a backslash `\\\\`. */
function splitAtCommas(text: string): string[] {
  const parts = [''];
  for (const piece of text.match(/\\[\\,]|,|[^\\,]+|\\/g) ?? []) {
    if (piece === ',') parts.push('');
    else parts[parts.length - 1] += piece.length === 2 && piece.startsWith('\\') ? piece.charAt(1) : piece;
  }
  return parts;
}

function setMountKey(
  mount: { -readonly [Key in keyof MountSpec]?: MountSpec[Key] },
  key: (typeof mountKeys)[number],
  value: string | undefined,
  problems: string[],
): void {
  if (key === 'readonly' || key === 'optional') {
    if (value === undefined || value === 'true' || value === 'false') mount[key] = value !== 'false';
    else problems.push(`${key} is true or false, not '${value}'`);
    return;
  }
  if (value === undefined || value === '') {
    problems.push(`${key} needs a value`);
    return;
  }
  const problem = attempt(
    () => value,
    () => {
      if (key === 'type') mount.type = readWord(value, mountTypes, 'type of a mount');
      else if (key === 'changes') mount.changes = readChanges(value);
      else if (key === 'mode') mount.mode = readOctal(value);
      else if (key === 'size') mount.sizeBytes = readBytes(value);
      else mount[key] = value;
    },
  );
  if (problem !== undefined) problems.push(`${key} ${problem}`);
}

function readBytes(text: string): string {
  const problem = checkBytes(text);
  if (problem !== undefined) throw new ValueError(problem);
  return text;
}

/** `INSIDE:OUTSIDE:COUNT`. */
export function readIdMapping(text: string): IdMapping {
  const match = /^(\d+):(\d+):(\d+)$/.exec(text);
  if (match === null)
    throw new ValueError(`must be INSIDE:OUTSIDE:COUNT, such as 0:100000:65536, or 'subordinate', not '${text}'`);
  const [containerID = 0, hostID = 0, size = 0] = match.slice(1).map(Number);
  return { containerID, hostID, size };
}

/** `PATH:ro`, and so on. The word is after the last colon, so that a path may have others. */
export function readLandlockPath(text: string): { path: string; access: LandlockAccess } {
  const colon = text.lastIndexOf(':');
  if (colon === -1) throw new ValueError(`must be PATH:${landlockAccesses.join('|')}, such as /usr:rox, not '${text}'`);
  const access = readWord(text.slice(colon + 1), landlockAccesses, 'access');
  const path = text.slice(0, colon);
  const problem = checkPathInside(path);
  if (problem !== undefined) throw new ValueError(problem);
  return { path, access };
}

/** `log:mkdir,mkdirat`, `errno=EACCES:connect`. */
export function readSyscallRule(text: string): SyscallRule {
  const match = /^(\w+)(?:=(\w+))?:(.+)$/.exec(text);
  if (match === null) throw new ValueError(`must be ACTION:NAME[,NAME...], such as log:mkdir,mkdirat, not '${text}'`);
  const [, word = '', errno, list = ''] = match;
  if (word === 'ask') throw new ValueError('ask is for programs that use the library: nobody answers here');
  const action = readWord(word, ['log', 'errno', 'kill', 'allow'], 'action');
  return { names: list.split(','), action, ...(errno === undefined ? {} : { errno }) };
}

/** `80,443`, or the word for none at all. */
export function readPorts(text: string): number[] {
  return text === 'none' ? [] : text.split(',').map((port) => readInteger(port, 0));
}

const imageFile = /\.(?:aci|oci|tar|tgz|tar\.(?:gz|xz|bz2|zst)|sqfs|squashfs|erofs)$/i;

/** A directory, an image file, or the word for the host view. */
export function readRoot(text: string): Pick<RootSpec, 'path' | 'image'> & { host?: true } {
  if (text === 'host') return { host: true };
  if (text === '') throw new ValueError('must not be empty');
  const isImage = namesImage(text) || holdsImage(text);
  return isImage ? { image: readImage(text) } : { path: resolve(text) };
}

const scheme = /^(?:oci|oci-archive|docker-archive|bundle):|^docker:\/\//;

/** The layout of an image. Never the bundle of a runtime: that names directories of this host, and a root that somebody else made may pass for one. */
function holdsImage(directory: string): boolean {
  return existsSync(join(directory, 'oci-layout'));
}

/** By how it is written, or because it is an image file. */
export function namesImage(text: string): boolean {
  return scheme.test(text) || isImageFile(text);
}

/** A file may be named as it is; everything else is a reference. */
export function readImage(text: string): string {
  if (text === '') throw new ValueError('must not be empty');
  return !scheme.test(text) && existsSync(text) ? resolve(text) : text;
}

function isImageFile(path: string): boolean {
  return imageFile.test(path) && statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** The seccomp section of a whole OCI config, or what is no such config as it is. */
export function readSeccompFile(file: string): OciSeccomp {
  const value: { ociVersion?: unknown; linux?: unknown } = readJsonFile(file);
  if (value.ociVersion === undefined) return value as OciSeccomp;
  const { seccomp } = (value.linux ?? {}) as { seccomp?: unknown };
  if (typeof seccomp === 'object' && seccomp !== null) return seccomp as OciSeccomp;
  throw new ValueError(`${file} is an OCI config without linux.seccomp; for no filter at all say unconfined`);
}

/** A file that holds one JSON object. */
export function readJsonFile(file: string): object {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ValueError(`cannot read ${file}: ${(error as Error).message}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ValueError(`${file} is no JSON: ${(error as Error).message}`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new ValueError(`${file} must hold one JSON object`);
}
