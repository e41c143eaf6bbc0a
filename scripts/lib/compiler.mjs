// A C compiler that makes static executables. musl first: its launcher is a tenth of the size and starts in a third of the time.

import { compilerPackages } from '../packages.mjs';
import { canInstall, installPackages } from './apt.mjs';
import { execute, isRoot, SetupError, which } from './steps.mjs';

/**
 * @typedef {object} Compiler
 * @property {string} command
 * @property {readonly string[]} flags
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
  return which('aarch64-linux-gnu-gcc') === undefined ? undefined : describe('aarch64-linux-gnu-gcc', 'glibc');
}

/**
 * @param {string} command
 * @param {string} library
 * @param {readonly string[]} [flags]
 * @returns {Promise<Compiler>}
 */
async function describe(command, library, flags = []) {
  const version = (await execute(command, ['-dumpfullversion'])).trim();
  return { command, flags, description: `${command} ${version}, ${library}` };
}
