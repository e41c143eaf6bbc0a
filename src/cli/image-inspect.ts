// `run-sandbox image inspect`: what an image says of itself, for a person; with --json its documents, and what was found beside them.
import { printable } from '../errors/errors.ts';
import type { AciApp, AciManifest } from '../image/aci/manifest.ts';
import type { AciPod } from '../image/aci/pod.ts';
import { examineImage } from '../image/examine.ts';
import type { Examined, ExaminedImage } from '../image/examined.ts';
import type { BundleRun } from '../image/oci/bundle.ts';
import type { OciImageConfig } from '../image/oci/config.ts';
import { formatPlatform } from '../image/oci/platform.ts';
import { shorten } from '../image/place.ts';
import { formatCommand } from '../run/result.ts';
import { formatBytes } from '../spec/units.ts';
import { sayUsage } from './failure.ts';
import { type Call, draftOf, orFailure, wantsJson } from './image-call.ts';
import { count, findingLine, headline } from './image-words.ts';
import { jsonText } from './json-text.ts';
import { say } from './say.ts';
import { writeAll } from './write.ts';

/** A label, and what belongs to it: one value beside it, several below. Nothing where there is none. */
type Entry = readonly [label: string, value: string | readonly string[] | undefined];

export async function inspectCommand(call: Call): Promise<number> {
  const [path, ...more] = call.parsed.operands;
  const all = [...call.problems];
  if (path === undefined || more.length > 0) all.push('image inspect needs one file or directory');
  if (all.length > 0 || path === undefined) return sayUsage(all);
  return orFailure(() => inspect(call, path));
}

async function inspect(call: Call, path: string): Promise<number> {
  const examined = await examineImage(path, { limits: draftOf(call).limits, layers: false });
  const { issues } = examined;
  if (wantsJson(call)) writeAll(1, `${jsonText(reportOf(examined))}\n`);
  else {
    // Of what could not even be told there is nothing else to say.
    if (examined.kind !== 'unknown') writeAll(1, textOf(entriesOf(examined)));
    for (const issue of issues) say(`${printable(path)}: ${findingLine(issue)}`, 'red');
  }
  return issues.length === 0 ? 0 : 1;
}

function reportOf({ path, kind, archive, entries, images, documents, issues, notes }: Examined): object {
  const found = images?.map(({ names, digest, layers }) => ({ names, digest, layers }));
  return { path, kind, archive, entries, images: found, documents, issues, notes };
}

function textOf(entries: readonly Entry[]): string {
  return entries
    .flatMap(([label, value]) => {
      if (value === undefined || value.length === 0) return [];
      if (typeof value === 'string') return [`${label}: ${printable(value)}`];
      return [`${label}:`, ...value.map((line) => `  ${printable(line)}`)];
    })
    .map((line) => `${line}\n`)
    .join('');
}

function entriesOf(examined: Examined): Entry[] {
  const { archive, entries, manifest, pod, images = [], config, bundle, notes } = examined;
  return [
    ['image', headline(examined)],
    ...(archive === undefined || entries === undefined
      ? []
      : ([
          [
            'size',
            `${formatBytes(archive.compressedBytes)}, ${formatBytes(archive.bytes)} uncompressed (${archive.compression})`,
          ],
          ['entries', String(entries)],
        ] satisfies Entry[])),
    ...(manifest === undefined ? [] : manifestEntries(manifest, examined.documents)),
    ...(pod === undefined ? [] : podEntries(pod)),
    ...(config === undefined ? [] : configEntries(config)),
    ...(bundle === undefined ? [] : bundleEntries(bundle)),
    ...images.flatMap(imageEntries),
    ['notes', notes.map(findingLine)],
  ];
}

function manifestEntries(manifest: AciManifest, documents: Examined['documents']): Entry[] {
  const { name, labels, app, dependencies, pathWhitelist, annotations } = manifest;
  const [os, arch] = [labels.get('os'), labels.get('arch')];
  return [
    ['name', name],
    ['platform', os === undefined ? undefined : [os, arch].filter(Boolean).join('/')],
    ['labels', pairs(labels)],
    ...(app === undefined ? [] : appEntries(app, isolatorValues(documents))),
    [
      'dependencies',
      dependencies.map(({ imageName, imageID, labels: wanted }) =>
        [imageName, imageID, ...pairs(wanted)].filter(Boolean).join(' '),
      ),
    ],
    ['files that stay of those of its dependencies', pathWhitelist],
    ['annotations', pairs(annotations)],
  ];
}

function appEntries(app: AciApp, isolators: readonly string[]): Entry[] {
  const { preStart, postStop } = app.eventHandlers;
  return [
    ['command', commandWords(app.exec)],
    ['before it', preStart && formatCommand(preStart)],
    ['after it', postStop && formatCommand(postStop)],
    [
      'user',
      `${app.user}, group ${app.group}${app.supplementaryGIDs.length > 0 ? `, also ${app.supplementaryGIDs.join(', ')}` : ''}`,
    ],
    ['working directory', app.workingDirectory],
    ['environment', pairs(app.environment)],
    [
      'mount points',
      app.mountPoints.map(({ name, path, readOnly }) => `${name} at ${path}${readOnly ? ', read-only' : ''}`),
    ],
    [
      'ports',
      app.ports.map(
        ({ name, port, protocol, count: number, socketActivated }) =>
          `${name} ${port}${number > 1 ? `-${port + number - 1}` : ''}/${protocol}${socketActivated ? ', socket-activated' : ''}`,
      ),
    ],
    ['isolators', isolators.length === app.isolators.length ? isolators : app.isolators.map(({ name }) => name)],
  ];
}

/** As they are in the document: a person compares them with that. */
function isolatorValues(documents: Examined['documents']): string[] {
  const document = (documents?.['manifest'] ?? documents?.['document']) as
    | { readonly app?: { readonly isolators?: readonly { readonly name: string; readonly value: unknown }[] } }
    | undefined;
  return (document?.app?.isolators ?? []).map(({ name, value }) => `${name} ${shorten(oneLine(value))}`);
}

function oneLine(value: unknown): string {
  return jsonText(value ?? null).replaceAll(/\n\s*/g, ' ');
}

function podEntries({ apps, volumes, annotations }: AciPod): Entry[] {
  return [
    ['apps', apps.map(({ name, image }) => [name, image.name, image.id].filter(Boolean).join(' '))],
    ['volumes', volumes.map((volume) => `${volume.name} ${volume.kind === 'host' ? volume.source : 'empty'}`)],
    ['annotations', pairs(annotations)],
  ];
}

function imageEntries({ names, digest, config, layers }: ExaminedImage): Entry[] {
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  return [
    ['name', names.join(' ')],
    ['digest', digest],
    ...(config === undefined ? [] : configEntries(config)),
    ['size', `${formatBytes(bytes)} in ${count(layers.length, 'layer')}`],
    ['layers', layers.map(({ digest: layer, size }) => `${layer} ${formatBytes(size)}`)],
  ];
}

function configEntries(config: OciImageConfig): Entry[] {
  return [
    ['platform', formatPlatform(config.platform)],
    ['command', commandWords([...config.entrypoint, ...config.cmd])],
    ['user', config.user === '' ? 'root' : config.user],
    ['working directory', config.workingDir === '' ? '/' : config.workingDir],
    ['environment', pairs(config.env)],
    ['volumes', config.volumes],
    ['ports', config.exposedPorts],
    ['stop signal', config.stopSignal],
    ['labels', pairs(config.labels)],
  ];
}

function bundleEntries({ spec, command }: BundleRun): Entry[] {
  const { root, cwd, env } = spec;
  const set = typeof env === 'object' && 'set' in env ? Object.entries(env.set ?? {}) : [];
  return [
    ['root', typeof root === 'string' ? root : root?.path],
    ['command', commandWords(command)],
    ['working directory', cwd],
    ['environment', set.map(([name, value]) => `${name}=${value}`)],
  ];
}

function commandWords(command: readonly string[]): string {
  return command.length === 0 ? 'none: it has to be given' : formatCommand(command);
}

function pairs(values: ReadonlyMap<string, string>): string[] {
  return [...values].map(([name, value]) => `${name}=${value}`);
}
