// Which of an image's variants runs here. Names are Go's (GOOS, GOARCH), as the OCI image spec has them.
import { ImageError } from '../../errors/errors.ts';
import type { Architecture } from '../../spec/architectures.ts';
import { listSome, type Place } from '../place.ts';

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string | undefined;
}

const keys = ['os', 'architecture', 'variant', 'os.version', 'os.features', 'features'];

export function readPlatform(place: Place): Platform | undefined {
  if (!place.isObject(keys)) return undefined;
  return {
    os: place.at('os').string(),
    architecture: place.at('architecture').string(),
    variant: place.at('variant').optionalString() || undefined,
  };
}

const architectures: Readonly<Record<string, Architecture>> = {
  amd64: 'x64',
  arm64: 'arm64',
  arm: 'arm',
  '386': 'ia32',
  riscv64: 'riscv64',
};

/** Our name of one of Go's; `undefined` for those that no sandbox here runs. */
export function architectureOf(name: string): Architecture | undefined {
  return Object.hasOwn(architectures, name) ? architectures[name] : undefined;
}

/** Of Node's name for a host's architecture: what an image for it is called. */
export function platformOf(architecture: string): Platform {
  const found = Object.entries(architectures).find(([, ours]) => ours === architecture);
  return { os: 'linux', architecture: found?.[0] ?? architecture, variant: undefined };
}

/** `os/architecture[/variant]`, as container tools write it. */
export function parsePlatform(text: string): Platform | { readonly problem: string } {
  const [os = '', architecture = '', variant, ...rest] = text.split('/');
  const word = /^[a-z0-9][a-z0-9._-]*$/;
  const whole = rest.length === 0 && [os, architecture, variant ?? 'v'].every((part) => word.test(part));
  return whole
    ? { os, architecture, variant }
    : { problem: `'${text}' is no platform such as 'linux/arm64' or 'linux/arm/v7'` };
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

/** Where a name is left out: the variant that every processor of the architecture has, or that is meant. */
const plainVariants: Readonly<Record<string, readonly string[]>> = {
  amd64: ['v1'],
  arm64: ['v8'],
  // A later processor runs programs for an earlier one. Emulated and real ones here are of the seventh version or later.
  arm: ['v7', 'v6', 'v5'],
};

/**
 * The one of `offered` that fits `wanted`: of several the first variant that serves, and of equals the first in the list.
 *
 * @throws {ImageError} `SBX_IMAGE_PLATFORM`, with what there is.
 */
export function choosePlatform<T extends { readonly platform: Platform | undefined }>(
  offered: readonly T[],
  wanted: Platform,
  what: string,
): T {
  const fitting = offered.filter(
    ({ platform }) => platform?.os === wanted.os && platform.architecture === wanted.architecture,
  );
  for (const variant of variantsOf(wanted)) {
    const found = fitting.find(({ platform }) => platform?.variant === variant);
    if (found !== undefined) return found;
  }
  const names = offered.flatMap(({ platform }) => (platform === undefined ? [] : [formatPlatform(platform)]));
  // Attestations and the like are listed beside images, under this name.
  const known = [...new Set(names)].filter((name) => name !== 'unknown/unknown');
  const there = known.length === 0 ? 'it names no platform at all' : `there is ${listSome(known)}`;
  throw new ImageError('SBX_IMAGE_PLATFORM', `${what} has no image for ${formatPlatform(wanted)}: ${there}`);
}

function variantsOf({ architecture, variant }: Platform): readonly (string | undefined)[] {
  const plain = Object.hasOwn(plainVariants, architecture) ? (plainVariants[architecture] ?? []) : [];
  if (variant === undefined) return [undefined, ...plain];
  // Who names a variant gets it, an earlier one of arm, or the one that goes without saying.
  const at = plain.indexOf(variant);
  if (architecture === 'arm') return at === -1 ? [variant] : plain.slice(at);
  return at === -1 ? [variant] : [variant, undefined];
}
