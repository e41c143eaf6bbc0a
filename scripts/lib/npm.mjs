// The packages of package-lock.json, installed when they are not.
import { existsSync, readFileSync } from 'node:fs';
import { inProject, projectRoot } from './paths.mjs';
import { execute, step } from './steps.mjs';

export async function ensureNodeModules() {
  if (hasNodeModules()) return;
  // --include=dev: NODE_ENV=production in the environment must not leave out the compiler.
  await step('installing npm packages', () => execute('npm', ['ci', '--include=dev'], { cwd: projectRoot }));
}

/**
 * Whether node_modules holds what package-lock.json asks for. npm keeps its own account of what it installed; optional packages for other
 * platforms are missing from it rightly.
 */
export function hasNodeModules() {
  const account = inProject('node_modules', '.package-lock.json');
  if (!existsSync(account)) return false;
  const wanted = packagesOf(inProject('package-lock.json'));
  const installed = packagesOf(account);
  return Object.entries(wanted).every(([name, entry]) => {
    if (name === '') return true;
    const found = installed[name];
    if (found === undefined) return entry.optional === true || entry.peer === true;
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, integrity?: string, optional?: boolean, peer?: boolean }>}
 */
function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages;
}
