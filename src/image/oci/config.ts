// The configuration of an image: what its makers say about running it (OCI image spec 1.1, config.md; Docker's says the same).
import type { SpecIssue } from '../../errors/errors.ts';
import { checkEnvValue, checkPath } from '../../spec/checks.ts';
import { hasParentComponent } from '../../spec/paths.ts';
import { checkDigest } from '../digest.ts';
import { parseJson } from '../json.ts';
import { checkVariable, type Place, readDocument, shorten } from '../place.ts';
import type { Platform } from './platform.ts';

export interface OciImageConfig {
  readonly platform: Platform;
  /** In order, as they are written: `NAME=value`, the last of one name counts. */
  readonly env: ReadonlyMap<string, string>;
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** Empty: the root directory. */
  readonly workingDir: string;
  /** `user`, `uid`, each with `:group` or `:gid`; empty: root. */
  readonly user: string;
  /** Paths at which a container has data of its own. */
  readonly volumes: readonly string[];
  readonly exposedPorts: readonly string[];
  readonly stopSignal: string | undefined;
  readonly labels: ReadonlyMap<string, string>;
  /** Digests of the uncompressed layers, from the lowest. */
  readonly diffIds: readonly string[];
  readonly notes: readonly SpecIssue[];
}

/** @throws {ImageError} `SBX_IMAGE_INVALID` with every issue. */
export function parseImageConfig(
  document: string | Uint8Array,
  what = 'the configuration of the image',
): OciImageConfig {
  return readDocument(parseJson(document, what), what, readConfig);
}

/** Docker's writers leave much behind that no runtime reads; it says nothing about running the image. */
const silentKeys = [
  'Hostname',
  'Domainname',
  'AttachStdin',
  'AttachStdout',
  'AttachStderr',
  'Tty',
  'OpenStdin',
  'StdinOnce',
  'Image',
  'OnBuild',
  'MacAddress',
  'Memory',
  'MemorySwap',
  'CpuShares',
];
const runKeys = [
  'User',
  'ExposedPorts',
  'Env',
  'Entrypoint',
  'Cmd',
  'Volumes',
  'WorkingDir',
  'Labels',
  'StopSignal',
  'ArgsEscaped',
  'Healthcheck',
  'Shell',
  'StopTimeout',
  'NetworkDisabled',
];

function readConfig(place: Place): Omit<OciImageConfig, 'notes'> {
  place.isObject('any');
  const run = place.at('config');
  if (run.present) run.isObject([...runKeys, ...silentKeys]);
  const rootfs = place.at('rootfs');
  if (rootfs.isObject(['type', 'diff_ids'])) rootfs.at('type').oneOf(['layers']);
  return {
    platform: {
      os: place.at('os').string(),
      architecture: place.at('architecture').string(),
      variant: place.at('variant').optionalString() || undefined,
    },
    env: readEnvironment(run.at('Env')),
    entrypoint: run.at('Entrypoint').strings(checkWord),
    cmd: run.at('Cmd').strings(checkWord),
    workingDir: run.at('WorkingDir').optionalString(checkDirectory) ?? '',
    user: run.at('User').optionalString(checkWord) ?? '',
    volumes: readKeys(run.at('Volumes'), checkDirectory),
    exposedPorts: readKeys(run.at('ExposedPorts'), checkPort),
    stopSignal: run.at('StopSignal').optionalString(checkSignal) || undefined,
    labels: run.at('Labels').record((label) => label.string()),
    diffIds: rootfs.at('diff_ids').strings(checkDigest),
  };
}

function checkWord(value: string): string | undefined {
  return value.includes('\0') ? 'must not contain a NUL character' : undefined;
}

function readEnvironment(list: Place): ReadonlyMap<string, string> {
  const entries = list.list((entry): [string, string] | undefined => {
    const text = entry.string(checkAssignment);
    const at = text.indexOf('=');
    return at < 1 ? undefined : [text.slice(0, at), text.slice(at + 1)];
  });
  return new Map(entries);
}

export function checkAssignment(text: string): string | undefined {
  const at = text.indexOf('=');
  if (at < 1) return `'${shorten(text)}' is not NAME=value`;
  const name = text.slice(0, at);
  return checkVariable(name) ?? checkEnvValue(name, text.slice(at + 1)) ?? checkWord(text);
}

/** Docker takes a relative one for one below the root, and so do its images. */
function checkDirectory(path: string): string | undefined {
  if (hasParentComponent(path)) return `must not have '..' in it: '${shorten(path)}'`;
  return path === '' ? undefined : checkPath(path);
}

function checkPort(text: string): string | undefined {
  return /^\d{1,5}(-\d{1,5})?(\/(tcp|udp|sctp))?$/.test(text)
    ? undefined
    : `'${shorten(text)}' is no port such as '8080/tcp'`;
}

function checkSignal(text: string): string | undefined {
  if (text === '' || /^\d{1,2}$/.test(text) || /^(SIG)?[A-Z0-9]+([+-]\d{1,2})?$/.test(text)) return undefined;
  return `'${shorten(text)}' is no signal such as 'SIGTERM'`;
}

/** Go writes a set as an object whose values mean nothing. */
function readKeys(place: Place, check: (key: string) => string | undefined): string[] {
  const keys = place.record((member, key) => {
    const problem = check(key);
    if (problem !== undefined) member.report(problem);
    return key;
  });
  return [...keys.keys()];
}
