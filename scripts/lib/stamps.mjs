// What was built from what. A stamp is the SHA-256 over names and contents of the inputs, kept below build/: unlike modification times
// it survives a checkout, and reading some hundred small files takes a few milliseconds.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { buildDirectory, projectRoot } from './paths.mjs';

/**
 * Every file below a directory of the project, sorted, as absolute paths.
 *
 * @param {string} directory
 * @param {(file: string) => boolean} [wanted]
 * @returns {string[]}
 */
export function filesBelow(directory, wanted = () => true) {
  const files = [];
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) files.push(...filesBelow(file, wanted));
    else if (wanted(file)) files.push(file);
  }
  return files.sort();
}

/**
 * @param {readonly string[]} files
 * @param {readonly string[]} [facts] what else the result depends on: the compiler, its flags
 */
export function hashInputs(files, facts = []) {
  const hash = createHash('sha256');
  for (const fact of facts) hash.update(`${fact}\0`);
  for (const file of files) {
    const content = readFileSync(file);
    hash.update(`${path.relative(projectRoot, file)}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

/**
 * Whether `outputs` exist and were made from inputs with this hash.
 *
 * @param {string} name
 * @param {string} hash
 * @param {readonly string[]} outputs
 */
export function isCurrent(name, hash, outputs) {
  return readStamp(name) === hash && outputs.every((file) => existsSync(file));
}

/**
 * @param {string} name
 * @param {string} hash
 */
export function writeStamp(name, hash) {
  const file = stampPath(name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.${process.pid}`, hash);
  renameSync(`${file}.${process.pid}`, file);
}

/** @param {string} name */
function readStamp(name) {
  const file = stampPath(name);
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

/** @param {string} name */
function stampPath(name) {
  return path.join(buildDirectory, 'stamps', name);
}
