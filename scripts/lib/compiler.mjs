// A C compiler that makes static executables. musl first: its launcher is a tenth of the size and starts in a third of the time.

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { compilerPackages } from '../packages.mjs';
import { canInstall, installPackages } from './apt.mjs';
import { buildDirectory } from './paths.mjs';
import { privateApt } from './private-apt.mjs';
import { execute, isRoot, SetupError, step, which } from './steps.mjs';

/**
 * @typedef {object} Compiler
 * @property {string} command
 * @property {readonly string[]} flags for every use
 * @property {readonly string[]} codeFlags for making an executable, before the sources
 * @property {readonly string[]} libraries the same, after the sources
 * @property {string} description name and version, for the manifest
 */

/** The compiler for this machine, installed when there is none and that is possible. */
export async function ensureCompiler() {
  const found = await findMusl();
  if (found !== undefined) return found;
  if (canInstall()) await installPackages(Object.keys(compilerPackages)).catch(reportAndContinue);
  const compiler = (await findMusl()) ?? (await findGlibc());
  if (compiler !== undefined) return compiler;
  throw new SetupError(
    'no C compiler that links static executables: looked for musl-gcc, gcc, cc and clang on PATH; ' +
      `install one, on Debian and Ubuntu: ${isRoot ? '' : 'sudo '}apt-get install gcc musl-tools`,
  );
}

/** A compiler of some kind is often there already, so a failing apt-get need not be the end. @param {Error} error */
function reportAndContinue(error) {
  process.stderr.write(`${error.message}\nlooking for another compiler\n`);
}

/** @returns {Promise<Compiler | undefined>} */
async function findMusl() {
  return which('musl-gcc') === undefined ? undefined : describe('musl-gcc', 'musl');
}

/** @returns {Promise<Compiler | undefined>} */
async function findGlibc() {
  const candidates = process.env['CC'] === undefined ? ['gcc', 'cc', 'clang'] : [process.env['CC']];
  for (const command of candidates) {
    if (which(command) !== undefined) return describe(command, 'glibc');
  }
  return undefined;
}

/**
 * The compiler for 64-bit Arm when its cross compiler is installed.
 *
 * @returns {Promise<Compiler | undefined>}
 */
export async function findCrossCompiler() {
  const command = 'aarch64-linux-gnu-gcc';
  if (which(command) === undefined) return undefined;
  const musl = await fetchMuslForArm();
  if (musl === undefined) return describe(command, 'glibc');
  const ask = async (/** @type {string} */ question) => (await execute(command, [question])).trim();
  const headers = await ask('-print-file-name=include');
  const compilerLibrary = await ask('-print-libgcc-file-name');
  const at = (/** @type {string} */ name) => path.join(musl, 'usr', 'lib', 'aarch64-linux-musl', name);
  return describe(command, 'musl', {
    flags: ['-nostdinc', '-isystem', path.join(musl, 'usr', 'include', 'aarch64-linux-musl'), '-isystem', headers],
    // The calls to outlined atomics look for a helper that asks glibc what the processor can do.
    codeFlags: ['-mno-outline-atomics', '-nostdlib', at('crt1.o'), at('crti.o')],
    libraries: ['-Wl,--start-group', at('libc.a'), compilerLibrary, '-Wl,--end-group', at('crtn.o')],
  });
}

/**
 * musl for arm64 unpacked below build/: installing it would need a foreign architecture on the machine.
 *
 * @returns {Promise<string | undefined>} undefined where it cannot be fetched
 */
async function fetchMuslForArm() {
  const directory = path.join(buildDirectory, 'musl-arm64');
  if (existsSync(directory)) return directory;
  if (which('apt-get') === undefined || which('dpkg-deb') === undefined) return undefined;
  const work = path.join(buildDirectory, `musl-arm64.${process.pid}`);
  mkdirSync(work, { recursive: true });
  try {
    const apt = privateApt(path.join(work, 'apt'), { type: 'deb', architecture: 'arm64' });
    await step('fetching musl for arm64', async () => {
      await apt.update();
      await apt.download(['musl-dev'], work);
    });
    const archive = readdirSync(work).find((name) => name.endsWith('.deb'));
    if (archive === undefined) return undefined;
    await execute('dpkg-deb', ['--extract', path.join(work, archive), path.join(work, 'root')]);
    renameSync(path.join(work, 'root'), directory);
    return directory;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write('musl for arm64 cannot be fetched; building with glibc\n');
    return undefined;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * @param {string} command
 * @param {string} library
 * @param {{ flags?: readonly string[], codeFlags?: readonly string[], libraries?: readonly string[] }} [more]
 * @returns {Promise<Compiler>}
 */
async function describe(command, library, { flags = [], codeFlags = [], libraries = [] } = {}) {
  const version = (await execute(command, ['-dumpfullversion'])).trim();
  return { command, flags, codeFlags, libraries, description: `${command} ${version}, ${library}` };
}
