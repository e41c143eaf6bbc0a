// The mounts of a runtime bundle. What a sandbox makes by itself (/proc, /dev and what is in it) is taken as made; what it has not is refused.
import { cleanPath } from '../../spec/paths.ts';
import type { MountSpec } from '../../spec/types.ts';
import { checkAbsolute } from '../aci/names.ts';
import type { Place } from '../place.ts';
import type { Unserved } from './unserved.ts';

export interface BundleMounts {
  readonly mounts: readonly MountSpec[];
  /** Something that a sandbox makes by itself was to be read-only. */
  readonly readonlyMounts: boolean;
}

/** By destination: the types of file systems that are there anyway. */
const own: Readonly<Record<string, readonly string[]>> = {
  '/proc': ['proc'],
  '/dev': ['tmpfs', 'devtmpfs'],
  '/dev/pts': ['devpts'],
  '/dev/shm': ['tmpfs'],
  '/dev/mqueue': ['mqueue'],
};

/** Views of the machine, which no sandbox shows: without them the command sees less, and nothing is weaker. Every runtime's own default has them. */
const machineViews: ReadonlySet<string | undefined> = new Set(['cgroup', 'cgroup2']);

/** What mount(8) takes and changes nothing here: the default, or what a sandbox does anyway. */
const idle = new Set([
  'defaults',
  'rw',
  'ro',
  'bind',
  'rbind',
  'nosuid',
  'nodev',
  'private',
  'rprivate',
  'slave',
  'rslave',
  'relatime',
  'strictatime',
  'async',
]);

export function readBundleMounts(place: Place, directory: string, unserved: Unserved): BundleMounts {
  let readonlyMounts = false;
  const mounts = place.list((mount): MountSpec | undefined => {
    if (!mount.isObject(['destination', 'type', 'source', 'options', 'uidMappings', 'gidMappings'])) return undefined;
    const destination = cleanPath(mount.at('destination').string(checkAbsolute));
    const options = mount.at('options').strings();
    const type = options.includes('bind') || options.includes('rbind') ? 'bind' : mount.at('type').optionalString();
    for (const key of ['uidMappings', 'gidMappings'])
      if (mount.at(key).present) unserved(mount.at(key), 'ids of one mount are not mapped');
    if (Object.hasOwn(own, destination) && own[destination]?.includes(type ?? '')) {
      readonlyMounts ||= options.includes('ro');
      return undefined;
    }
    return toMount(mount, type, destination, options, directory, unserved);
  });
  return { mounts, readonlyMounts };
}

function toMount(
  mount: Place,
  type: string | undefined,
  destination: string,
  options: readonly string[],
  directory: string,
  unserved: Unserved,
): MountSpec | undefined {
  const readonly = options.includes('ro');
  if (type === 'bind') {
    refuseOptions(mount.at('options'), options, (option) => idle.has(option), unserved);
    const source = mount.at('source').string();
    return { type, source: source.startsWith('/') ? source : `${directory}/${source}`, destination, readonly };
  }
  if (type === 'tmpfs') {
    refuseOptions(mount.at('options'), options, (option) => idle.has(option) || /^(mode|size)=/.test(option), unserved);
    return { type, destination, readonly, ...tmpfsOptions(mount.at('options'), options) };
  }
  if (type === 'sysfs') {
    if (!readonly) mount.note(`the sysfs at ${destination} is read-only`);
    return { type, destination, optional: true };
  }
  if (machineViews.has(type)) {
    mount.note(`there is no ${destination} (${type}) in a sandbox, and it is left out`);
    return undefined;
  }
  unserved(mount, `a file system of type ${type ?? '(none)'} at ${destination} is not served`);
  return undefined;
}

function refuseOptions(
  place: Place,
  options: readonly string[],
  known: (option: string) => boolean,
  unserved: Unserved,
): void {
  const others = options.filter((option) => !known(option));
  if (others.length > 0) unserved(place, `${others.join(', ')}: not served`);
}

const factors: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

function tmpfsOptions(place: Place, options: readonly string[]): Pick<MountSpec, 'sizeBytes' | 'mode'> {
  const valueOfOption = (name: string): string | undefined =>
    options.findLast((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
  const mode = valueOfOption('mode');
  const size = valueOfOption('size');
  const [, number = '', unit = ''] = /^(\d{1,15})([kmg]?)$/i.exec(size ?? '') ?? [];
  const bytes = Number(number) * (factors[unit.toLowerCase()] ?? Number.NaN);
  if (size !== undefined && (number === '' || !Number.isSafeInteger(bytes)))
    place.report(`size=${size} is no size of a tmpfs such as 64m`);
  if (mode !== undefined && !/^0?[0-7]{3,4}$/.test(mode)) place.report(`mode=${mode} is no mode in octal`);
  return {
    ...(number === '' ? {} : { sizeBytes: bytes }),
    ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
  };
}
