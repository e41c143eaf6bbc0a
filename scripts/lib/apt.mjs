// Debian packages that set-up needs, installed where that is possible: as root, on a system with apt.
import { execute, isRoot, SetupError, step, which } from './steps.mjs';

export function canInstall() {
  return isRoot && which('apt-get') !== undefined && which('dpkg-query') !== undefined;
}

/**
 * Installs what is missing of `names`; a no-op when nothing is.
 *
 * @param {readonly string[]} names
 * @throws {SetupError} when one of them cannot be installed; the others are.
 */
export async function installPackages(names) {
  const missing = [];
  for (const name of names) if (!(await isInstalled(name))) missing.push(name);
  if (missing.length === 0) return;
  await step(`installing ${missing.join(' ')}`, async () => {
    try {
      await aptGet('install', ...missing);
    } catch {
      // The usual reason is a machine whose package lists were never fetched or are too old; when it is another one, it is said below.
      await aptGet('update');
      await installOneByOne(missing);
    }
  });
}

/** Another release of Debian may lack one of them; the rest must not be lost with it. */
async function installOneByOne(names) {
  const failures = [];
  for (const name of names) await aptGet('install', name).catch((error) => failures.push(error.message));
  if (failures.length > 0) throw new SetupError(failures.join('\n'));
}

/** @param {string} name */
async function isInstalled(name) {
  try {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own placeholder
    return (await execute('dpkg-query', ['--show', '--showformat=${db:Status-Status}', name])) === 'installed';
  } catch {
    return false;
  }
}

/** @param {string[]} args */
async function aptGet(...args) {
  const options = ['-y', '-qq', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];
  await execute('apt-get', [...options, ...args], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
}
