// The pod manifest (App Container specification 0.8.11, pods.md): which images run together, with which volumes.
import { isIP } from 'node:net';
import type { SpecIssue } from '../../errors/errors.ts';
import { parseJson } from '../json.ts';
import { type Place, readDocument, reportDuplicates, shorten } from '../place.ts';
import { type AciIsolator, type Resource, readIsolators } from './isolators.ts';
import {
  type AciApp,
  type AciManifest,
  readAnnotations,
  readApp,
  readKind,
  readLabels,
  readTexts,
  readVersion,
} from './manifest.ts';
import { checkAbsolute, checkIdentifier, checkImageId, checkName } from './names.ts';
import { lesser } from './quantity.ts';

export interface AciPod {
  readonly acVersion: string;
  readonly apps: readonly AciPodApp[];
  readonly volumes: readonly AciVolume[];
  readonly isolators: readonly AciIsolator[];
  readonly annotations: ReadonlyMap<string, string>;
  readonly ports: readonly AciExposedPort[];
  readonly userAnnotations: ReadonlyMap<string, string>;
  readonly userLabels: ReadonlyMap<string, string>;
  /** What was passed over. */
  readonly notes: readonly SpecIssue[];
}

export interface AciPodApp {
  readonly name: string;
  readonly image: {
    readonly id: string;
    readonly name: string | undefined;
    readonly labels: ReadonlyMap<string, string>;
  };
  /** Takes the place of the image's own. */
  readonly app: AciApp | undefined;
  readonly readOnlyRootFS: boolean;
  readonly mounts: readonly AciMount[];
  readonly annotations: ReadonlyMap<string, string>;
}

/** By name of the volume, over a mount point's own name. */
export interface AciMount {
  readonly volume: string;
  readonly path: string;
}

export type AciVolume =
  | {
      readonly kind: 'host';
      readonly name: string;
      readonly source: string;
      readonly readOnly: boolean;
      readonly recursive: boolean;
    }
  | {
      readonly kind: 'empty';
      readonly name: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly readOnly: boolean;
    };

export interface AciExposedPort {
  readonly name: string;
  readonly hostPort: number;
  readonly hostIP: string | undefined;
  /** In place of the app's own port of that name. */
  readonly podPort: number | undefined;
}

/** @throws {ImageError} `SBX_IMAGE_INVALID` with every issue, each with its path; where it is not JSON, with line and column. */
export function parseAciPod(document: string | Uint8Array): AciPod {
  return readDocument(parseJson(document, 'the pod manifest'), 'the pod manifest', readPod);
}

const podKeys = [
  'acKind',
  'acVersion',
  'apps',
  'volumes',
  'isolators',
  'annotations',
  'ports',
  'userAnnotations',
  'userLabels',
];

function readPod(place: Place): Omit<AciPod, 'notes'> {
  if (place.isObject(podKeys)) readKind(place.at('acKind'), 'PodManifest');
  const apps = place.at('apps').list(readPodApp);
  if (apps.length === 0) place.at('apps').report('must name an app');
  reportDuplicates(place.at('apps'), 'name');
  const volumes = place.at('volumes').list(readVolume);
  reportDuplicates(place.at('volumes'), 'name');
  const known = new Set(volumes.map(({ name }) => name));
  place.at('apps').list((app) =>
    app.at('mounts').list((mount) => {
      const volume = mount.at('volume');
      return typeof volume.value === 'string' && !known.has(volume.value)
        ? volume.report(`there is no volume '${volume.value}'`)
        : undefined;
    }),
  );
  reportDuplicates(place.at('ports'), 'name');
  return {
    acVersion: readVersion(place.at('acVersion')),
    apps,
    volumes,
    isolators: readIsolators(place.at('isolators')),
    annotations: readAnnotations(place.at('annotations')),
    ports: place.at('ports').list(readExposedPort),
    userAnnotations: readTexts(place.at('userAnnotations')),
    userLabels: readTexts(place.at('userLabels')),
  };
}

function readPodApp(place: Place): AciPodApp | undefined {
  if (!place.isObject(['name', 'image', 'app', 'readOnlyRootFS', 'mounts', 'annotations'])) return undefined;
  const image = place.at('image');
  if (!image.isObject(['id', 'name', 'labels'])) return undefined;
  return {
    name: place.at('name').string(checkName),
    image: {
      id: image.at('id').string(checkImageId),
      name: image.at('name').optionalString(checkIdentifier),
      labels: readLabels(image.at('labels')),
    },
    app: place.at('app').present ? readApp(place.at('app')) : undefined,
    readOnlyRootFS: place.at('readOnlyRootFS').boolean() ?? false,
    mounts: place.at('mounts').list((mount): AciMount | undefined => {
      if (!mount.isObject(['volume', 'path', 'appVolume'])) return undefined;
      const own = mount.at('appVolume');
      if (own.present) own.report('volumes of a mount of its own are not served; name it in volumes of the pod');
      return { volume: mount.at('volume').string(checkName), path: mount.at('path').string(checkAbsolute) };
    }),
    annotations: readAnnotations(place.at('annotations')),
  };
}

const MODE_DEFAULT = 0o755;
const ID_MAX = 4_294_967_294;

function readVolume(place: Place): AciVolume | undefined {
  if (!place.isObject(['name', 'kind', 'source', 'readOnly', 'recursive', 'mode', 'uid', 'gid'])) return undefined;
  const name = place.at('name').string(checkName);
  const kind = place.at('kind').oneOf(['host', 'empty']);
  const readOnly = place.at('readOnly').boolean() ?? false;
  const refuse = (key: string): void => {
    if (place.at(key).present) place.at(key).report(`means nothing for a volume of kind '${kind}'`);
  };
  if (kind === 'host') {
    for (const key of ['mode', 'uid', 'gid']) refuse(key);
    const source = place.at('source').string(checkAbsolute);
    return { kind, name, source, readOnly, recursive: place.at('recursive').boolean() ?? true };
  }
  if (kind === undefined) return undefined;
  for (const key of ['source', 'recursive']) refuse(key);
  return {
    kind,
    name,
    readOnly,
    mode: readMode(place.at('mode')),
    uid: place.at('uid').integer(0, ID_MAX) ?? 0,
    gid: place.at('gid').integer(0, ID_MAX) ?? 0,
  };
}

function readMode(place: Place): number {
  const text = place.optionalString((value) =>
    /^0?[0-7]{3,4}$/.test(value) ? undefined : `'${value}' is no mode in octal, such as '0755'`,
  );
  return text === undefined ? MODE_DEFAULT : Number.parseInt(text, 8);
}

function readExposedPort(place: Place): AciExposedPort | undefined {
  if (!place.isObject(['name', 'hostPort', 'hostIP', 'podPort'])) return undefined;
  return {
    name: place.at('name').string(checkName),
    hostPort: place.at('hostPort').requiredInteger(1, 65_535),
    hostIP: place
      .at('hostIP')
      .optionalString((value) => (isIP(value) === 0 ? `'${shorten(value)}' is no IP address` : undefined)),
    podPort: place.at('podPort').integer(1, 65_535),
  };
}

/**
 * What holds for an app of a pod: the lesser of two amounts; of other isolators the app's own, and the pod's where it has none.
 */
export function boundIsolators(pod: readonly AciIsolator[], app: readonly AciIsolator[]): AciIsolator[] {
  const ofPod = new Map(pod.map((isolator) => [isolator.name, isolator]));
  const bounded = app.map((isolator) => {
    const outer = ofPod.get(isolator.name);
    ofPod.delete(isolator.name);
    if (outer === undefined || !isResource(isolator.value) || !isResource(outer.value)) return isolator;
    const limit = lesser(isolator.value.limit, outer.value.limit);
    const request = lesser(lesser(isolator.value.request, outer.value.request), limit);
    return { name: isolator.name, value: { limit, request } } as AciIsolator;
  });
  return [...bounded, ...ofPod.values()];
}

function isResource(value: AciIsolator['value']): value is Resource {
  return typeof value === 'object' && 'limit' in value;
}

/** What running one app of a pod takes beside its image: for the context of aciToSpec, and the app in place of the image's own. */
export interface PodAppContext {
  readonly app: AciApp | undefined;
  readonly context: {
    readonly appName: string;
    readonly readOnlyRootFS: boolean;
    readonly volumes: readonly AciVolume[];
    readonly mounts: readonly AciMount[];
    readonly isolators: readonly AciIsolator[];
  };
  /** Those of the image, under those of the pod's app. */
  readonly annotations: ReadonlyMap<string, string>;
}

export function contextOfPodApp(
  pod: Pick<AciPod, 'volumes' | 'isolators'>,
  podApp: AciPodApp,
  image: Pick<AciManifest, 'app' | 'annotations'>,
): PodAppContext {
  const app = podApp.app ?? image.app;
  return {
    app,
    context: {
      appName: podApp.name,
      readOnlyRootFS: podApp.readOnlyRootFS,
      volumes: pod.volumes,
      mounts: podApp.mounts,
      isolators: boundIsolators(pod.isolators, app?.isolators ?? []),
    },
    annotations: new Map([...image.annotations, ...podApp.annotations]),
  };
}
