// Which backends there are, and in which order they are tried. Each is loaded only when it is needed.
import { type Backend, type BackendName, backendNames } from './backend.ts';

/** Tried in this order where the caller names none; the other backends only serve those who ask for them by name. */
export const preference: readonly BackendName[] = ['native'];

const loaders: { readonly [Name in BackendName]: () => Promise<Backend> } = {
  native: async () => (await import('./native/index.ts')).native,
  none: async () => (await import('./none.ts')).none,
};

const loaded = new Map<BackendName, Backend>();

/** The backend itself once it is loaded, so that a run need not wait; before that a promise of it. */
export function loadBackend(name: BackendName): Backend | Promise<Backend> {
  return loaded.get(name) ?? load(name);
}

export function isBackendName(name: string): name is BackendName {
  return (backendNames as readonly string[]).includes(name);
}

async function load(name: BackendName): Promise<Backend> {
  const backend = await loaders[name]();
  loaded.set(name, backend);
  return backend;
}
