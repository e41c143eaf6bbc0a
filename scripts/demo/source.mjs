// The package that the demonstration builds: Debian's `hello`, fetched once; or a small project of ours where it cannot be had.
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { inProject } from '../lib/paths.mjs';
import { parseFields, privateApt } from '../lib/private-apt.mjs';
import { execute, SetupError, step } from '../lib/steps.mjs';

/**
 * @typedef {object} DemoPackage
 * @property {string} title
 * @property {(target: string) => Promise<void>} unpack makes a fresh copy of the source in `target`, which does not exist yet
 * @property {readonly (readonly string[])[]} build commands, in order
 * @property {readonly string[]} program the result, run in the directory of the build
 */

/**
 * @param {string} state where the source is kept
 * @returns {Promise<DemoPackage>}
 */
export async function demoPackage(state) {
  try {
    return await debianHello(path.join(state, 'hello'));
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(
      `The Debian source package hello cannot be had: ${error.message}\nexamples/greeting stands in for it.\n`,
    );
    return ourGreeting();
  }
}

/**
 * @param {string} directory
 * @returns {Promise<DemoPackage>}
 */
async function debianHello(directory) {
  if (!existsSync(directory)) await step('fetching the Debian source package hello', () => fetchHello(directory));
  const { name, original } = verifiedSource(directory);
  return {
    title: `Debian's ${name}`,
    unpack: async (target) => {
      mkdirSync(target, { recursive: true });
      await execute('tar', [
        '--extract',
        '--no-same-owner',
        '--strip-components=1',
        '--file',
        original,
        '--directory',
        target,
      ]);
    },
    build: [
      ['./configure', '--quiet'],
      ['make', '--silent'],
      ['make', '--silent', 'check'],
    ],
    program: ['./hello'],
  };
}

/** @param {string} directory */
async function fetchHello(directory) {
  const work = `${directory}.${process.pid}`;
  const files = path.join(work, 'files');
  mkdirSync(files, { recursive: true });
  try {
    const apt = privateApt(path.join(work, 'apt'), { type: 'deb-src' });
    await apt.update();
    await apt.downloadSource('hello', files);
    verifiedSource(files);
    renameSync(files, directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Compares every file with the SHA-256 that the .dsc gives for it. apt has done so against the signed lists when it fetched; this is about
 * what was kept since.
 *
 * @param {string} directory
 */
function verifiedSource(directory) {
  const description = readdirSync(directory).find((name) => name.endsWith('.dsc'));
  if (description === undefined)
    throw new SetupError(`${directory} holds no .dsc file; delete it to fetch the package again`);
  const fields = parseFields(readFileSync(path.join(directory, description), 'utf8'));
  const checksums = (fields.get('checksums-sha256') ?? '').split('\n').filter((line) => line !== '');
  for (const line of checksums) {
    const [expected, , name = ''] = line.split(' ');
    const found = createHash('sha256')
      .update(readFileSync(path.join(directory, name)))
      .digest('hex');
    if (found !== expected)
      throw new SetupError(
        `${path.join(directory, name)} is not what ${description} says; delete ${directory} to fetch it again`,
      );
  }
  const original = checksums
    .map((line) => line.split(' ')[2] ?? '')
    .find((name) => /\.orig\.tar\.[a-z0-9]+$/.test(name));
  if (original === undefined) throw new SetupError(`${description} names no original source`);
  return { name: `${fields.get('source')} ${fields.get('version')}`, original: path.join(directory, original) };
}

/** @returns {DemoPackage} */
function ourGreeting() {
  return {
    title: 'examples/greeting',
    unpack: async (target) => cpSync(inProject('examples', 'greeting'), target, { recursive: true }),
    build: [
      ['make', '--silent'],
      ['make', '--silent', 'check'],
    ],
    program: ['./hello'],
  };
}
