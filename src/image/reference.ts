// How a person names an image: a path, a layout, an archive, or a name at a registry.
import { ImageError } from '../errors/errors.ts';
import { checkDigest } from './digest.ts';
import { shorten } from './place.ts';

export type ImageReference =
  /** A file or a directory, told by its content. */
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'oci' | 'oci-archive' | 'docker-archive'; readonly path: string; readonly ref: string | undefined }
  | RegistryReference;

export interface RegistryReference {
  readonly kind: 'registry';
  /** Host, and a port where one is named. */
  readonly registry: string;
  readonly repository: string;
  /** `latest` where there is neither a tag nor a digest. */
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

const DEFAULT_REGISTRY = 'docker.io';
/** The distribution spec's bound on a name together with its host. */
const NAME_LENGTH_MAX = 255;

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const repositoryForm = new RegExp(`^${component}(?:/${component})*$`);
const tagForm = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const hostForm =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?$/;

/** @throws {ImageError} `SBX_IMAGE_REFERENCE`, with what to write instead. */
export function parseImageReference(text: string): ImageReference {
  if (text === '') throw refuse(text, 'it is empty');
  if (text.includes('\0')) throw refuse(text, 'it has a NUL character in it');
  if (/^(?:\/|\.\.?(?:\/|$))/.test(text)) return { kind: 'path', path: text };
  const [, scheme, rest = ''] = /^(oci|oci-archive|docker-archive):(.*)$/s.exec(text) ?? [];
  if (scheme !== undefined) return fileReference(scheme as 'oci', rest, text);
  const [, transport, name = ''] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/s.exec(text) ?? [];
  if (transport === undefined) return registryReference(text, text);
  if (transport === 'docker') return registryReference(name, text);
  throw refuse(
    text,
    `'${transport}://' is no way to name an image; a registry's is written [REGISTRY/]NAME[:TAG][@DIGEST]`,
  );
}

/** `DIR` or `FILE`, and a name in it after the last colon. */
function fileReference(kind: 'oci' | 'oci-archive' | 'docker-archive', rest: string, text: string): ImageReference {
  // What follows the path may be a whole name of its own: docker-archive:FILE:example.org:5000/app:1
  const at = rest.indexOf(':');
  const path = at === -1 ? rest : rest.slice(0, at);
  const ref = at === -1 ? undefined : rest.slice(at + 1);
  if (path === '') throw refuse(text, `a path must follow '${kind}:'`);
  if (ref === '') throw refuse(text, 'nothing follows the colon; leave it out for the only image');
  return { kind, path, ref };
}

function registryReference(name: string, text: string): RegistryReference {
  const at = name.indexOf('@');
  const digest = at === -1 ? undefined : name.slice(at + 1);
  const beforeDigest = at === -1 ? name : name.slice(0, at);
  const slash = beforeDigest.lastIndexOf('/');
  const colon = beforeDigest.indexOf(':', slash + 1);
  const tag = colon === -1 ? undefined : beforeDigest.slice(colon + 1);
  const path = colon === -1 ? beforeDigest : beforeDigest.slice(0, colon);

  const problem = digest === undefined ? undefined : checkDigest(digest);
  if (problem !== undefined) throw refuse(text, problem);
  if (tag !== undefined && !tagForm.test(tag))
    throw refuse(text, `'${shorten(tag)}' is no tag: 1 to 128 letters, digits, '_', '.' and '-', not first '.' or '-'`);
  const { registry, repository } = splitHost(path, text);
  if (/\.(aci|tar|tgz|tar\.(gz|xz|bz2|zst))$/.test(path) && slash === -1)
    throw refuse(text, `for a file write './${path}'`);
  if (!repositoryForm.test(repository)) throw refuse(text, whyNoRepository(repository));
  if (registry.length + 1 + repository.length > NAME_LENGTH_MAX)
    throw refuse(text, `a name has at most ${NAME_LENGTH_MAX} characters`);
  return { kind: 'registry', registry, repository, tag: tag ?? (digest === undefined ? 'latest' : undefined), digest };
}

/** The first part is a host where it has a dot or a port, or is `localhost`: Docker's rule, by which `app/web` is a repository. */
function splitHost(path: string, text: string): { readonly registry: string; readonly repository: string } {
  const slash = path.indexOf('/');
  const first = slash === -1 ? '' : path.slice(0, slash);
  if (first === '' || !(/[.:[]/.test(first) || first === 'localhost' || first !== first.toLowerCase())) {
    return { registry: DEFAULT_REGISTRY, repository: path.includes('/') ? path : `library/${path}` };
  }
  const match = hostForm.exec(first);
  if (match === null || Number(match[1] ?? 1) > 65_535 || Number(match[1] ?? 1) === 0)
    throw refuse(text, `'${shorten(first)}' is no host of a registry`);
  const repository = path.slice(slash + 1);
  const isDocker = first === DEFAULT_REGISTRY || first === 'index.docker.io';
  if (!isDocker) return { registry: first, repository };
  return { registry: DEFAULT_REGISTRY, repository: repository.includes('/') ? repository : `library/${repository}` };
}

function whyNoRepository(name: string): string {
  if (name !== name.toLowerCase()) return `'${shorten(name)}' has upper-case letters, which no repository has`;
  return `'${shorten(name)}' is no repository: lower-case letters and digits, with '.', '_', '__' or '-' between them, in parts divided by '/'`;
}

function refuse(text: string, problem: string): ImageError {
  return new ImageError('SBX_IMAGE_REFERENCE', `'${shorten(text)}' names no image: ${problem}`);
}

/** As it is written: with everything that was left out. */
export function formatReference({ registry, repository, tag, digest }: RegistryReference): string {
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}
