// Set-up speaks on stderr alone, one line a step; the log of a step is shown only when it failed.
import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import path from 'node:path';

/** A failure that is explained by its message; no stack trace is printed for it. */
export class SetupError extends Error {}

/**
 * Runs one step and says on stderr what it was and how long it took.
 *
 * @template T
 * @param {string} title
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
export async function step(title, action) {
  const started = process.hrtime.bigint();
  process.stderr.write(`${title} ...`);
  try {
    const value = await action();
    process.stderr.write(` ${formatSeconds(process.hrtime.bigint() - started)}\n`);
    return value;
  } catch (error) {
    process.stderr.write(' failed\n');
    throw error;
  }
}

/** @param {bigint} nanoseconds */
function formatSeconds(nanoseconds) {
  const seconds = Number(nanoseconds) / 1e9;
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

/**
 * Runs a program quietly; its whole output is in the error when it fails.
 *
 * @param {string} file
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, uid?: number, gid?: number }} [options]
 * @returns {Promise<string>} its stdout
 */
export function execute(file, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let log = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      log += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      log += text;
    });
    child.on('error', (error) => reject(new SetupError(`cannot start ${file}: ${error.message}`, { cause: error })));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(stdout);
      const end = signal === null ? `exit status ${code}` : `ended by ${signal}`;
      reject(new SetupError(`${[file, ...args].join(' ')}: ${end}\n${log.trimEnd()}`));
    });
  });
}

/**
 * Runs a program whose output people see as it comes.
 *
 * @param {string} file
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<{ status: number | string, output: string }>} exit status or name of the signal; what it wrote to stdout
 */
export function passThrough(file, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...options, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
      process.stdout.write(text);
    });
    child.on('error', (error) => reject(new SetupError(`cannot start ${file}: ${error.message}`, { cause: error })));
    child.on('close', (code, signal) => resolve({ status: code ?? signal, output }));
  });
}

/**
 * Absolute path of a program, or undefined.
 *
 * @param {string} name
 */
export function which(name) {
  // The administrator's directories are not on every user's PATH, but debootstrap and others live there.
  const directories = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  for (const directory of directories) {
    if (!directory.startsWith('/')) continue;
    const file = path.join(directory, name);
    try {
      accessSync(file, constants.X_OK);
      if (statSync(file).isFile()) return file;
    } catch {
      // Not in this directory: the next one is tried.
    }
  }
  return undefined;
}

export const isRoot = process.getuid?.() === 0;
