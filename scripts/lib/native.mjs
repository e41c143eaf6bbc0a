// prebuilds/ from native/: one static launcher for each architecture, and a manifest with their SHA-256. The compiler's side is loaded only when there
// is something to compile: `npm run sandbox` asks this file on every call.
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { inProject, projectRoot } from './paths.mjs';
import { hashInputs, isCurrent, writeStamp } from './stamps.mjs';
import { execute, SetupError, step } from './steps.mjs';

/** Warnings are errors in `npm test` alone: a newer compiler with a new opinion must not keep anybody from using the library. */
export const warningFlags = [
  ...['-Wall', '-Wextra', '-Wconversion', '-Wshadow', '-Wundef', '-Wstrict-prototypes', '-Wmissing-prototypes'],
  ...['-Wold-style-definition', '-Wwrite-strings', '-Wpointer-arith', '-Wcast-align', '-Wcast-qual', '-Wvla'],
  ...['-Wformat=2', '-Wimplicit-fallthrough', '-Wnull-dereference'],
];
export const languageFlags = ['-std=c11', '-D_GNU_SOURCE'];
const codeFlags = [
  ...['-Os', '-static', '-fno-asynchronous-unwind-tables', '-fstack-protector-strong'],
  ...['-ffunction-sections', '-fdata-sections', '-Wl,--gc-sections', '-Wl,-z,noexecstack', '-Wl,-z,relro,-z,now', '-s'],
];

export function launcherSources() {
  return nativeFiles('.c', 'native');
}

/** The architecture of this machine in Node's words, which are those of `prebuilds/`. */
const hostArchitecture = process.arch;

/**
 * Builds the launcher of this machine when native/ changed.
 *
 * @returns {string | undefined} the hash to build for; undefined when it is current
 */
export function staleLauncher() {
  const hash = hashInputs(launcherInputs(), [hostArchitecture]);
  return isCurrent('launcher', hash, [launcherPath(hostArchitecture)]) ? undefined : hash;
}

export async function ensureLauncher() {
  const hash = staleLauncher();
  if (hash === undefined) return;
  requireLinux();
  const { ensureCompiler } = await import('./compiler.mjs');
  const compiler = await ensureCompiler();
  await step(`compiling the launcher (${compiler.description})`, () => buildLauncher(hostArchitecture, compiler));
  writeStamp('launcher', hash);
}

/** The launcher for 64-bit Arm on another machine; returns whether a cross compiler was there. */
export async function ensureCrossLauncher() {
  if (hostArchitecture === 'arm64') return true;
  const { findCrossCompiler } = await import('./compiler.mjs');
  const compiler = await findCrossCompiler();
  if (compiler === undefined) return false;
  const hash = hashInputs(launcherInputs(), ['arm64', compiler.description]);
  if (isCurrent('launcher-arm64', hash, [launcherPath('arm64')])) return true;
  await step(`compiling the launcher for arm64 (${compiler.description})`, () => buildLauncher('arm64', compiler));
  writeStamp('launcher-arm64', hash);
  return true;
}

/**
 * Static programs of the tests: the guest with its small verbs, so that a test needs no shell inside, and what plays linux-user-chroot(8), which cannot be
 * had.
 */
export async function ensureTestPrograms() {
  await ensureTestProgram('guest', 'guest.c');
  await ensureTestProgram('linux-user-chroot', 'linux_user_chroot.c');
  await ensureTestProgram('bare', 'bare.c', ['-nostdlib', '-ffreestanding', '-fno-stack-protector']);
}

/**
 * @param {string} name
 * @param {string} file
 * @param {readonly string[]} flags
 */
async function ensureTestProgram(name, file, flags = []) {
  const source = inProject('native', 'test', file);
  if (!existsSync(source)) return;
  const output = inProject('build', 'test', name);
  const hash = hashInputs([source, ...nativeFiles('.h', 'native', 'test'), ...nativeFiles('.h', 'native')]);
  if (isCurrent(name, hash, [output])) return;
  const { ensureCompiler } = await import('./compiler.mjs');
  const compiler = await ensureCompiler();
  await step(`compiling the test program ${name} (${compiler.description})`, () =>
    compile(compiler, [source], output, flags),
  );
  writeStamp(name, hash);
}

function launcherInputs() {
  return [...launcherSources(), ...nativeFiles('.h', 'native'), inProject('scripts', 'lib', 'native.mjs')];
}

/**
 * @param {string} extension
 * @param {string[]} directory
 */
function nativeFiles(extension, ...directory) {
  const absolute = inProject(...directory);
  const names = readdirSync(absolute).filter((name) => name.endsWith(extension));
  return names.sort().map((name) => path.join(absolute, name));
}

/** @param {string} architecture */
function launcherPath(architecture) {
  return inProject('prebuilds', `linux-${architecture}`, 'launcher');
}

/**
 * @param {string} architecture
 * @param {import('./compiler.mjs').Compiler} compiler
 */
async function buildLauncher(architecture, compiler) {
  await compile(compiler, launcherSources(), launcherPath(architecture));
  writeManifest(architecture, compiler);
}

/**
 * @param {import('./compiler.mjs').Compiler} compiler
 * @param {readonly string[]} sources
 * @param {string} output
 * @param {readonly string[]} more
 */
async function compile(compiler, sources, output, more = []) {
  mkdirSync(path.dirname(output), { recursive: true });
  // Renamed into place: the old one may be running, and writing to that would be ETXTBSY.
  const fresh = `${output}.${process.pid}`;
  const flags = [...languageFlags, ...codeFlags, ...warningFlags, ...compiler.flags, ...compiler.codeFlags, ...more];
  // Relative names, so that the result does not depend on where the checkout is.
  const names = sources.map((source) => path.relative(projectRoot, source));
  await execute(compiler.command, [...flags, '-o', fresh, ...names, ...compiler.libraries], { cwd: projectRoot });
  chmodSync(fresh, 0o755);
  renameSync(fresh, output);
}

/**
 * The manifest names every launcher that is there, so that the package test and `doctor` can tell an altered one.
 *
 * @param {string} architecture
 * @param {import('./compiler.mjs').Compiler} compiler
 */
function writeManifest(architecture, compiler) {
  const file = inProject('prebuilds', 'manifest.json');
  const manifest = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { launchers: {} };
  const content = readFileSync(launcherPath(architecture));
  manifest.launchers[`linux-${architecture}`] = {
    path: `linux-${architecture}/launcher`,
    sha256: createHash('sha256').update(content).digest('hex'),
    sizeBytes: content.length,
    compiler: compiler.description,
  };
  writeFileSync(`${file}.${process.pid}`, `${JSON.stringify(manifest, null, 2)}\n`);
  renameSync(`${file}.${process.pid}`, file);
}

function requireLinux() {
  if (process.platform === 'linux' && (hostArchitecture === 'x64' || hostArchitecture === 'arm64')) return;
  throw new SetupError(
    `the launcher runs on Linux on x64 and arm64, this is ${process.platform} on ${hostArchitecture}; ` +
      'run it in a virtual machine, or use the library with the backend "none", which isolates nothing',
  );
}
