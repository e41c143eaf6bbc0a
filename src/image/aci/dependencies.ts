// How an App Container image is rendered from others: which images, in which order, and which of their files stay. Pure, over a lookup given in.
import { ImageError } from '../../errors/errors.ts';
import { cleanPath, directoriesAbove } from '../../spec/paths.ts';
import type { AciDependency, AciManifest } from './manifest.ts';

/** An image as it was retrieved. */
export interface AciImage {
  /** `sha512-` and the hash of its uncompressed archive. */
  readonly id: string;
  /** Bytes that were retrieved. */
  readonly size: number;
  readonly manifest: AciManifest;
}

/** One archive to extract, over those before it. The same image may come more than once, each time with other lists. */
export interface RenderStep {
  readonly image: AciImage;
  /** Its own list and those of the images that depend on it, from the inside out. A file stays where all of them let it. */
  readonly pathWhitelists: readonly (readonly string[])[];
}

/** An image that names itself by way of others would be found by its depth too, but not by its name. */
const DEPTH_MAX = 32;
/** Diamonds on diamonds double with each level. */
const STEPS_MAX = 1000;

/**
 * The archives in the order in which they are extracted: depth first, as listed, the image itself last.
 *
 * @throws {ImageError} `SBX_IMAGE_INVALID`, with the chain of names that leads there.
 */
export function renderOrder(
  image: AciImage,
  lookUp: (dependency: AciDependency) => AciImage | undefined,
): RenderStep[] {
  const steps: RenderStep[] = [];
  const visit = (current: AciImage, outer: readonly AciImage[], lists: readonly (readonly string[])[]): void => {
    const chain = [...outer, current];
    if (outer.some(({ id }) => id === current.id)) refuse(chain, 'depends on itself');
    if (chain.length > DEPTH_MAX) refuse(chain, `is more than ${DEPTH_MAX} images deep`);
    const own = current.manifest.pathWhitelist;
    const inner = own.length === 0 ? lists : [own, ...lists];
    for (const dependency of current.manifest.dependencies) {
      const found = lookUp(dependency);
      if (found === undefined) throw missing(chain, dependency);
      const problem = whyNoMatch(dependency, found);
      if (problem !== undefined)
        throw new ImageError('SBX_IMAGE_INVALID', `${chainOf(chain)} -> ${dependency.imageName}: ${problem}`);
      visit(found, chain, inner);
    }
    if (steps.length === STEPS_MAX)
      refuse(chain, `has more than ${STEPS_MAX} images to extract, each counted as often as it comes`);
    steps.push({ image: current, pathWhitelists: inner });
  };
  visit(image, [], []);
  return steps;
}

/** Why an image is not the one that was asked for. Where an ID is given, labels need not be compared: nothing else has that hash. */
export function whyNoMatch(wanted: AciDependency, { id, size, manifest }: AciImage): string | undefined {
  if (manifest.name !== wanted.imageName) return `the image that was found is ${manifest.name}`;
  if (wanted.size !== undefined && wanted.size !== size) return `the image has ${size} bytes, not ${wanted.size}`;
  if (wanted.imageID !== undefined)
    return wanted.imageID === id ? undefined : `the image is ${id}, not ${wanted.imageID}`;
  for (const [name, value] of wanted.labels) {
    const found = manifest.labels.get(name);
    if (found === undefined) return `the image has no label '${name}', which must be '${value}'`;
    if (found !== value) return `the label '${name}' of the image is '${found}', not '${value}'`;
  }
  return undefined;
}

export type PathVerdict = 'listed' | 'parent' | 'removed';

/** Makes the judge of paths: `parent` is a directory that stays only for what lies in it. */
export function whitelistJudge(lists: readonly (readonly string[])[]): (path: string) => PathVerdict {
  const judges = lists.filter((list) => list.length > 0).map(judgeOf);
  return (path) => {
    const clean = cleanPath(path);
    const verdicts = judges.map((judge) => judge(clean));
    if (verdicts.includes('removed')) return 'removed';
    return verdicts.includes('parent') ? 'parent' : 'listed';
  };
}

/** The list is complete: what lies in a listed directory is not listed by that. */
function judgeOf(list: readonly string[]): (path: string) => PathVerdict {
  const listed = new Set(list.map(cleanPath));
  const parents = new Set(['/']);
  for (const path of listed) {
    for (const parent of directoriesAbove(path)) parents.add(parent);
  }
  return (path) => (listed.has(path) ? 'listed' : parents.has(path) ? 'parent' : 'removed');
}

function missing(chain: readonly AciImage[], { imageName, imageID, labels }: AciDependency): ImageError {
  const details = [
    ...(imageID === undefined ? [] : [imageID]),
    ...[...labels].map(([name, value]) => `${name}=${value}`),
  ];
  const which = details.length === 0 ? imageName : `${imageName} (${details.join(', ')})`;
  return new ImageError('SBX_IMAGE_INVALID', `${chainOf(chain)} depends on ${which}, which was not found`);
}

function refuse(chain: readonly AciImage[], problem: string): never {
  throw new ImageError('SBX_IMAGE_INVALID', `${chainOf(chain)} ${problem}`);
}

function chainOf(chain: readonly AciImage[]): string {
  const names = chain.map(({ manifest }) => manifest.name);
  const shown = names.length > 8 ? [...names.slice(0, 4), '...', ...names.slice(-3)] : names;
  return shown.join(' -> ');
}
