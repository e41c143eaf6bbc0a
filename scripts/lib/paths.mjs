// Where things are in this checkout. Plain JavaScript without dependencies: it runs before `npm ci`.
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const projectRoot = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** @param {string[]} parts */
export function inProject(...parts) {
  return path.join(projectRoot, ...parts);
}

/** What is made by set-up and may be deleted at any time. */
export const buildDirectory = inProject('build');
