// The image manifest and the app object in it (App Container specification 0.8.11, aci.md). What is read is typed and complete: every default of the
// specification is filled in.
import type { SpecIssue } from '../../errors/errors.ts';
import { checkEnvValue } from '../../spec/checks.ts';
import { nearest } from '../../spec/nearest.ts';
import { cleanPath } from '../../spec/paths.ts';
import { joinWords } from '../../spec/words.ts';
import { parseJson } from '../json.ts';
import { type Place, readDocument, reportDuplicates, shorten } from '../place.ts';
import { type AciIsolator, readIsolators, readNamed } from './isolators.ts';
import {
  checkAbsolute,
  checkIdentifier,
  checkImageId,
  checkName,
  checkTimestamp,
  checkVariableName,
  checkWebUrl,
  judgeVersion,
  osArchitectures,
} from './names.ts';

export interface AciManifest {
  readonly acVersion: string;
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly app: AciApp | undefined;
  readonly dependencies: readonly AciDependency[];
  /** Cleaned paths; empty: all files. */
  readonly pathWhitelist: readonly string[];
  readonly annotations: ReadonlyMap<string, string>;
  readonly userAnnotations: ReadonlyMap<string, string>;
  readonly userLabels: ReadonlyMap<string, string>;
  /** What was passed over. */
  readonly notes: readonly SpecIssue[];
}

export interface AciApp {
  /** May be empty: then the caller names a command. */
  readonly exec: readonly string[];
  readonly user: string;
  readonly group: string;
  readonly supplementaryGIDs: readonly number[];
  readonly eventHandlers: {
    readonly preStart: readonly string[] | undefined;
    readonly postStop: readonly string[] | undefined;
  };
  readonly workingDirectory: string;
  readonly environment: ReadonlyMap<string, string>;
  readonly mountPoints: readonly AciMountPoint[];
  readonly ports: readonly AciPort[];
  readonly isolators: readonly AciIsolator[];
  readonly userAnnotations: ReadonlyMap<string, string>;
  readonly userLabels: ReadonlyMap<string, string>;
}

export interface AciMountPoint {
  readonly name: string;
  readonly path: string;
  readonly readOnly: boolean;
}

export interface AciPort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly count: number;
  readonly socketActivated: boolean;
}

export interface AciDependency {
  readonly imageName: string;
  readonly imageID: string | undefined;
  readonly labels: ReadonlyMap<string, string>;
  readonly size: number | undefined;
}

/** @throws {ImageError} `SBX_IMAGE_INVALID` with every issue, each with its path; where it is not JSON, with line and column. */
export function parseAciManifest(document: string | Uint8Array): AciManifest {
  return readDocument(parseJson(document, 'the image manifest'), 'the image manifest', readManifest);
}

const manifestKeys = [
  'acKind',
  'acVersion',
  'name',
  'labels',
  'app',
  'dependencies',
  'pathWhitelist',
  'annotations',
  'userAnnotations',
  'userLabels',
];

function readManifest(place: Place): Omit<AciManifest, 'notes'> {
  if (place.isObject(manifestKeys)) readKind(place.at('acKind'), 'ImageManifest');
  return {
    acVersion: readVersion(place.at('acVersion')),
    name: place.at('name').string(checkIdentifier),
    labels: readLabels(place.at('labels')),
    app: place.at('app').present ? readApp(place.at('app')) : undefined,
    dependencies: place.at('dependencies').list(readDependency),
    pathWhitelist: place.at('pathWhitelist').strings(checkAbsolute).map(cleanPath),
    annotations: readAnnotations(place.at('annotations')),
    userAnnotations: readTexts(place.at('userAnnotations')),
    userLabels: readTexts(place.at('userLabels')),
  };
}

export function readKind(place: Place, wanted: 'ImageManifest' | 'PodManifest'): void {
  const kind = place.string();
  if (kind === wanted || typeof place.value !== 'string') return;
  const other = kind === 'PodManifest' || kind === 'ImageManifest';
  place.report(`must be '${wanted}', not '${shorten(kind)}'${other ? ', which is another document' : ''}`);
}

export function readVersion(place: Place): string {
  const text = place.string();
  if (typeof place.value !== 'string') return text;
  const verdict = judgeVersion(text);
  if ('problem' in verdict) place.report(verdict.problem);
  else if (verdict.note !== undefined) place.note(verdict.note);
  return text;
}

/** Labels of the image, or those that a dependency asks for. */
export function readLabels(list: Place): ReadonlyMap<string, string> {
  const labels = readNamed(list, (name) =>
    name === 'name' ? "'name' is no label: an image has its name already" : checkIdentifier(name),
  );
  const problem = checkPlatform(labels.get('os'), labels.get('arch'));
  if (problem !== undefined) list.report(problem);
  return labels;
}

function checkPlatform(os: string | undefined, arch: string | undefined): string | undefined {
  if (os === undefined)
    return arch === undefined ? undefined : `the label 'arch' (${shorten(arch)}) means nothing without 'os'`;
  const known = Object.hasOwn(osArchitectures, os) ? osArchitectures[os] : undefined;
  if (known === undefined)
    return `os '${shorten(os)}' is not known: ${joinWords(Object.keys(osArchitectures), 'or')} is`;
  if (arch === undefined || known.includes(arch)) return undefined;
  const meant = nearest(arch, known);
  return `arch '${shorten(arch)}' is not known for ${os}${meant === undefined ? '' : ` (did you mean '${meant}'?)`}: ${joinWords(known, 'or')} is`;
}

export function readAnnotations(list: Place): ReadonlyMap<string, string> {
  return readNamed(list, checkIdentifier, checkAnnotation);
}

function checkAnnotation(name: string, value: string): string | undefined {
  if (name === 'created') return checkTimestamp(value);
  if (name === 'homepage' || name === 'documentation') return checkWebUrl(value);
  return undefined;
}

export function readTexts(place: Place): ReadonlyMap<string, string> {
  return place.record((member) => member.string());
}

function readDependency(place: Place): AciDependency | undefined {
  if (!place.isObject(['imageName', 'imageID', 'labels', 'size'])) return undefined;
  return {
    imageName: place.at('imageName').string(checkIdentifier),
    imageID: place.at('imageID').optionalString(checkImageId),
    labels: readLabels(place.at('labels')),
    size: place.at('size').integer(1),
  };
}

const appKeys = [
  'exec',
  'user',
  'group',
  'supplementaryGIDs',
  'eventHandlers',
  'workingDirectory',
  'environment',
  'mountPoints',
  'ports',
  'isolators',
  'userAnnotations',
  'userLabels',
];

/** The largest gid; 4294967295 is no id for the kernel. */
const GID_MAX = 4_294_967_294;

export function readApp(place: Place): AciApp | undefined {
  if (!place.isObject(appKeys)) return undefined;
  return {
    exec: readExec(place.at('exec')),
    user: place.at('user').string(checkAccount),
    group: place.at('group').string(checkAccount),
    supplementaryGIDs: place.at('supplementaryGIDs').list((gid) => gid.requiredInteger(0, GID_MAX)),
    eventHandlers: readEventHandlers(place.at('eventHandlers')),
    workingDirectory:
      place.at('workingDirectory').optionalString((path) => (path === '' ? undefined : checkAbsolute(path))) || '/',
    environment: readNamed(place.at('environment'), checkVariableName, checkEnvValue),
    mountPoints: readMountPoints(place.at('mountPoints')),
    ports: readPorts(place.at('ports')),
    isolators: readIsolators(place.at('isolators')),
    userAnnotations: readTexts(place.at('userAnnotations')),
    userLabels: readTexts(place.at('userLabels')),
  };
}

function readExec(list: Place): string[] {
  const exec = list.strings(checkNul);
  if (exec[0] === '') list.at(0).report('must name a program: it is empty');
  return exec;
}

function checkNul(value: string): string | undefined {
  return value.includes('\0') ? 'must not contain a NUL character' : undefined;
}

/** A name, a number, or the absolute path of a file whose owner counts. */
function checkAccount(value: string): string | undefined {
  if (value === '') return 'must not be empty';
  return value.startsWith('/') ? checkAbsolute(value) : checkNul(value);
}

function readEventHandlers(list: Place): AciApp['eventHandlers'] {
  const handlers = list.list((handler): [string | undefined, string[]] | undefined => {
    if (!handler.isObject(['name', 'exec'])) return undefined;
    const exec = readExec(handler.at('exec'));
    if (exec.length === 0) handler.at('exec').report('must name a program');
    return [handler.at('name').oneOf(['pre-start', 'post-stop']), exec];
  });
  reportDuplicates(list, 'name');
  const byName = new Map(handlers);
  return { preStart: byName.get('pre-start'), postStop: byName.get('post-stop') };
}

function readMountPoints(list: Place): AciMountPoint[] {
  const mountPoints = list.list((mountPoint): AciMountPoint | undefined => {
    if (!mountPoint.isObject(['name', 'path', 'readOnly'])) return undefined;
    return {
      name: mountPoint.at('name').string(checkName),
      // The reference code looks at a path only in its command line's form; one is as empty in JSON.
      path: mountPoint.at('path').string(checkAbsolute),
      readOnly: mountPoint.at('readOnly').boolean() ?? false,
    };
  });
  reportDuplicates(list, 'name');
  return mountPoints;
}

function readPorts(list: Place): AciPort[] {
  const ports = list.list((place): AciPort | undefined => {
    if (!place.isObject(['name', 'protocol', 'port', 'count', 'socketActivated'])) return undefined;
    const port = place.at('port').requiredInteger(1, 65_535);
    const count = place.at('count').integer(1, 65_535) ?? 1;
    if (port + count - 1 > 65_535) place.at('count').report(`ends at port ${port + count - 1}, and the last is 65535`);
    return {
      name: place.at('name').string(checkName),
      protocol: place.at('protocol').string((value) => (value === '' ? 'must not be empty' : undefined)),
      port,
      count,
      socketActivated: place.at('socketActivated').boolean() ?? false,
    };
  });
  reportDuplicates(list, 'name');
  return ports;
}
