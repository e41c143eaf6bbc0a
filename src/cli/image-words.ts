// What an image is, in one line. Names in it are somebody else's text: nothing of them moves a cursor.
import { formatPath, printable } from '../errors/errors.ts';
import type { Examined, ExaminedImage, Finding } from '../image/examined.ts';
import { formatPlatform } from '../image/oci/platform.ts';

export function findingLine({ where, path, message }: Finding): string {
  return [where, path.length === 0 ? '' : formatPath(path), message].filter((part) => part !== '').join(': ');
}

export function headline({ kind, archive, entries, manifest, pod, images, config }: Examined): string {
  switch (kind) {
    case 'aci':
      return `App Container image ${manifest?.name ?? 'without a name'}, ${archive?.imageId}`;
    case 'image-manifest':
      return `image manifest of ${manifest?.name ?? 'an App Container image'}`;
    case 'pod-manifest':
      return `pod manifest of ${count(pod?.apps.length ?? 0, 'app')}`;
    case 'oci-layout':
      return `OCI layout, ${imageWords(images ?? [])}`;
    case 'oci-archive':
      return `OCI archive, ${imageWords(images ?? [])}`;
    case 'docker-archive':
      return `archive of docker save, ${imageWords(images ?? [])}`;
    case 'bundle':
      return 'OCI bundle';
    case 'bundle-config':
      return 'configuration of an OCI bundle';
    case 'oci-index':
      return 'index of OCI images';
    case 'oci-manifest':
      return 'manifest of an OCI image';
    case 'oci-config':
      return `configuration of an OCI image${config === undefined ? '' : ` for ${printable(formatPlatform(config.platform))}`}`;
    case 'tar':
      return `archive of ${count(entries ?? 0, 'entry', 'entries')}, ${archive?.digest}`;
    case 'directory':
      return 'directory';
    case 'unknown':
      return 'unknown';
  }
}

export function imageLine({ names, digest, config }: ExaminedImage): string {
  const platform = config === undefined ? [] : [formatPlatform(config.platform)];
  return printable([...names, ...platform, digest].join(' '));
}

function imageWords(images: readonly ExaminedImage[]): string {
  const [only] = images;
  if (only !== undefined && images.length === 1) return imageLine(only);
  return `${count(images.length, 'image')}: ${images.map(imageLine).join('; ')}`;
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
