// Which backends there are, what each knows, and in which order they are tried. The code of one is loaded only when it is to run something.
import type { Feature } from '../features/feature.ts';
import type { Backend, BackendName } from './backend.ts';
import { recognized as bubblewrapFeatures } from './bubblewrap/recognized.ts';
import { recognized as chrootFeatures } from './chroot/recognized.ts';
import { recognized as dockerFeatures } from './docker/recognized.ts';
import { recognized as firejailFeatures } from './firejail/recognized.ts';
import { recognized as helperFeatures, views as helperViews } from './linux-user-chroot/recognized.ts';
import { recognized as nativeFeatures } from './native/recognized.ts';
import { noneFeatures } from './none-recognized.ts';
import { recognized as ociFeatures } from './oci/recognized.ts';
import { recognized as podmanFeatures } from './podman/recognized.ts';
import { recognized as prootFeatures, views as prootViews } from './proot/recognized.ts';
import { recognized as nspawnFeatures } from './systemd-nspawn/recognized.ts';

export interface RegisteredBackend {
  readonly name: BackendName;
  readonly recognized: ReadonlySet<Feature>;
  /** What it shows where it may be missing, without a promise, and why it is none. */
  readonly views?: ReadonlyMap<Feature, string>;
  /** Serves only those who ask for it by name. */
  readonly byNameOnly: boolean;
  readonly load: () => Promise<Backend>;
}

/** In order of preference. */
export const registry: readonly RegisteredBackend[] = [
  {
    name: 'native',
    recognized: nativeFeatures,
    byNameOnly: false,
    load: async () => (await import('./native/index.ts')).native as Backend,
  },
  {
    name: 'bubblewrap',
    recognized: bubblewrapFeatures,
    byNameOnly: false,
    load: async () => (await import('./bubblewrap/index.ts')).bubblewrap as Backend,
  },
  {
    name: 'oci',
    recognized: ociFeatures,
    byNameOnly: false,
    load: async () => (await (await import('./oci/index.ts')).loadOci()) as Backend,
  },
  {
    name: 'linux-user-chroot',
    recognized: helperFeatures,
    views: helperViews,
    byNameOnly: false,
    load: async () => (await import('./linux-user-chroot/index.ts')).linuxUserChroot as Backend,
  },
  {
    name: 'systemd-nspawn',
    recognized: nspawnFeatures,
    byNameOnly: false,
    load: async () => (await import('./systemd-nspawn/index.ts')).systemdNspawn as Backend,
  },
  {
    name: 'podman',
    recognized: podmanFeatures,
    byNameOnly: true,
    load: async () => (await import('./podman/index.ts')).podman as Backend,
  },
  {
    name: 'docker',
    recognized: dockerFeatures,
    byNameOnly: true,
    load: async () => (await import('./docker/index.ts')).loadDocker() as Backend,
  },
  {
    name: 'firejail',
    recognized: firejailFeatures,
    byNameOnly: true,
    load: async () => (await import('./firejail/index.ts')).firejail as Backend,
  },
  {
    name: 'proot',
    recognized: prootFeatures,
    views: prootViews,
    byNameOnly: true,
    load: async () => (await import('./proot/index.ts')).proot as Backend,
  },
  {
    name: 'chroot',
    recognized: chrootFeatures,
    byNameOnly: false,
    load: async () => (await import('./chroot/index.ts')).chroot,
  },
  {
    name: 'none',
    recognized: new Set(noneFeatures),
    byNameOnly: true,
    load: async () => (await import('./none.ts')).none as Backend,
  },
];

const loaded = new Map<BackendName, Backend>();

/** The backend itself once it is loaded, so that a run need not wait; before that a promise of it. */
export function loadBackend(name: BackendName): Backend | Promise<Backend> {
  return loaded.get(name) ?? load(name);
}

async function load(name: BackendName): Promise<Backend> {
  const entry = registry.find((candidate) => candidate.name === name) as RegisteredBackend;
  const backend = await entry.load();
  loaded.set(name, backend);
  return backend;
}
