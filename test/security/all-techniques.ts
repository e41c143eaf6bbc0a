// Every file of techniques/, each one technique.
import { readdirSync } from 'node:fs';
import type { Technique } from './technique.ts';

const directory = new URL('techniques/', import.meta.url);

export const techniques: readonly Technique[] = await Promise.all(
  readdirSync(directory)
    .filter((name) => name.endsWith('.ts'))
    .sort()
    .map(async (name) => ((await import(new URL(name, directory).href)) as { technique: Technique }).technique),
);
