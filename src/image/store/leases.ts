// Which layers the sandboxes of this process may be using. A lease is written before a layer is used, and counts as long as its process is there.
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isOfLivingProcess, nameOfProcess } from './place.ts';

const leased = new Set<string>();

export function lease(store: string, layers: readonly string[]): void {
  const file = join(store, 'leases', nameOfProcess());
  const missing = layers.filter((name) => !leased.has(`${file}/${name}`));
  if (missing.length === 0 && existsSync(file)) return;
  appendFileSync(file, layers.map((name) => `${name}\n`).join(''), { mode: 0o600 });
  for (const name of layers) leased.add(`${file}/${name}`);
}

/** Layers that somebody may be using; forgets processes that are gone. */
export function layersInUse(store: string): ReadonlySet<string> {
  const directory = join(store, 'leases');
  const used = new Set<string>();
  for (const name of readdirSync(directory)) {
    const file = join(directory, name);
    if (!isOfLivingProcess(name)) rmSync(file, { force: true });
    else for (const layer of readFileSync(file, 'utf8').split('\n')) used.add(layer);
  }
  used.delete('');
  return used;
}
