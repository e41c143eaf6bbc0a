// Runs of images, and what they take beside a sandbox: programs around the command, or a copy where nothing can be mounted.
import type { BackendName } from '../backends/backend.ts';
import { ImageError, InternalError } from '../errors/errors.ts';
import type { Feature } from '../features/feature.ts';
import type { Agreement } from '../features/negotiate.ts';
import { type PreparedImages, prepareImages } from '../image/prepare.ts';
import { capturedViews } from '../spec/captures.ts';
import type { NormalizedSpec, RootSpec, SandboxSpec } from '../spec/types.ts';
import { agree, type Request } from './agreement.ts';
import type { PlanStage } from './around.ts';
import type { CallOptions } from './options.ts';
import { namesImage, type Prepared, planFor, requestOf } from './plan.ts';
import type { Soon } from './soon.ts';

/** As `prepare`, for a spec that names images: they are found, fetched and unpacked first. */
export async function withImages(spec: SandboxSpec, options: CallOptions): Promise<Prepared> {
  // Before anything is fetched: whether there is a backend that could show it.
  const request = requestOf(spec, options);
  const first = await agree(request);
  const copies = namesImage(spec) && !first.granted.has('root.image') ? await agreeToCopy(request, first) : undefined;
  const images = await prepareImages(spec, options.image, options.pod?.place);
  if (copies !== undefined && images.images.root !== undefined) return await withCopy(images, options, copies);
  const prepared = await planFor(images.spec, options, images);
  const { preStart, postStop } = images.handlers ?? {};
  if (preStart === undefined && postStop === undefined) return prepared;
  return { ...prepared, begin: await withHandlers(images, prepared) };
}

/** Each run has a pair of them, so that a sandbox that was prepared once starts them with each of its commands. */
async function withHandlers(images: PreparedImages, { spec }: Prepared): Promise<NonNullable<Prepared['begin']>> {
  const { HandlersRun } = await import('./around.ts');
  const { root } = images.images;
  refuseAround(images, spec);
  return ({ options }, runProgram, captures) => {
    const capturesRoot = spec.root.changes === 'capture';
    const ofMounts = capturesRoot ? captures.slice(1) : captures;
    const plan: PlanStage = async (above, keeps) => {
      const [top, ...below] = [...above, ...(root?.layers ?? [])];
      const changed = typeof images.spec.root === 'object' ? images.spec.root : {};
      const ofRoot = spec.root.readonly
        ? changed
        : { ...changed, changes: keeps === undefined ? 'discard' : 'capture' };
      const stacked =
        root === undefined || top === undefined ? undefined : { ...root, layers: [top, ...below] as const };
      const staged = { ...images, images: { ...images.images, root: stacked } };
      const prepared = await planFor({ ...images.spec, root: ofRoot as RootSpec }, options, staged);
      return {
        ...prepared,
        keeper: undefined,
        commandOf: undefined,
        captures: keeps === undefined ? ofMounts : [keeps, ...ofMounts],
      };
    };
    const handlers = { preStart: asCommand(images.handlers?.preStart), postStop: asCommand(images.handlers?.postStop) };
    const name = images.summary?.reference ?? '';
    const stages = {
      options,
      writes: !spec.root.readonly,
      ranges: spec.idMappings.needsHelper,
      captured: capturesRoot ? captures[0] : undefined,
    };
    return new HandlersRun(name, handlers, stages, plan, runProgram);
  };
}

/**
 * Only who can do without `root.image` comes here. A directory as the root nobody does without: the command would find the host in place of the image. proot
 * promises none, but shows one.
 */
async function agreeToCopy(request: Request, first: Agreement<BackendName>): Promise<Agreement<BackendName>> {
  const skipped = first.skipped.filter(({ feature }) => feature === 'root.image');
  if (first.backend === 'proot') return first;
  const required = new Set<Feature>([...request.required].filter((feature) => feature !== 'root.image'));
  const optional = request.optional === 'all' ? [...required] : [...request.optional];
  required.add('root.path');
  const needs = new Map([['root.path', 'a copy of the image is the root'] as const]);
  const second = await agree({
    ...request,
    required,
    optional: optional.filter((feature) => feature !== 'root.path' && feature !== 'root.image'),
    needs,
  });
  return { ...second, skipped: [...second.skipped, ...skipped] };
}

/** Each run has a copy of its own, so that what one writes the next does not see. */
async function withCopy(
  images: PreparedImages,
  options: CallOptions,
  agreement: Agreement<BackendName>,
): Promise<Prepared> {
  const { root } = images.images;
  const { preStart, postStop } = images.handlers ?? {};
  const name = images.summary?.reference ?? '';
  if (root === undefined) throw new InternalError('a copy of an image that is none');
  if (preStart !== undefined || postStop !== undefined)
    throw new ImageError('SBX_IMAGE_UNSUPPORTED', `${name} has programs around its command, which take overlays`);
  const { CopiedRun } = await import('./copied.ts');
  // The copy is the caller's.
  const { uidMappings, gidMappings: _gidMappings, ...spec } = images.spec;
  const ranges = uidMappings !== undefined;
  const summary = images.summary === undefined ? undefined : { ...images.summary, root: 'copy' as const };
  const planOver = (directory: string, notes: readonly string[]): Soon<Prepared> =>
    planFor(
      spec,
      options,
      { ...images, summary },
      { agreement, adapt: (given) => asCopied(given, directory, agreement, notes) },
    );
  // What is looked at before a run is not launched: any directory does.
  const prepared = await planOver(root.layers[0].directory, []);
  const { missingMountPoints } = prepared.spec.root;
  return { ...prepared, begin: () => new CopiedRun({ layers: root.layers, ranges }, missingMountPoints, planOver) };
}

function asCommand(words: readonly string[] | undefined): readonly [string, ...string[]] | undefined {
  const [first, ...rest] = words ?? [];
  return first === undefined ? undefined : [first, ...rest];
}

/** With a bound each would have its writes in memory, where the next does not see them. */
function refuseAround({ summary }: PreparedImages, spec: NormalizedSpec): void {
  if (capturedViews(spec).length === 0 || spec.limits.diskBytes === undefined) return;
  throw new ImageError(
    'SBX_IMAGE_UNSUPPORTED',
    `${summary?.reference} has programs around its command, so that what is captured cannot be bounded`,
    {},
    { remedy: 'leave limits.diskBytes out, or capture nothing' },
  );
}

/** What an image becomes where it cannot be mounted: a directory. */
function asCopied(
  spec: NormalizedSpec,
  directory: string,
  { granted }: Agreement<BackendName>,
  notes: readonly string[],
): NormalizedSpec {
  const { root } = spec;
  const what =
    root.changes === 'capture' ? 'what is written to it cannot be captured' : 'what is written to it goes with the run';
  return {
    ...spec,
    root: {
      ...root,
      kind: 'directory',
      path: directory,
      layers: [{ directory, opaque: [] }],
      image: undefined,
      readonly: root.readonly && granted.has('root.readonly'),
      changes: 'keep',
      coveredDirectories: [],
      hostsFile: undefined,
    },
    notes: [
      ...spec.notes,
      `the image ${root.image} is copied for each run, for it cannot be mounted here; ${what}`,
      ...notes,
    ],
  };
}
