// Starting other programs, as plainly as it can be done.
import { spawn } from 'node:child_process';

/**
 * Runs a program to its end, its output thrown away.
 *
 * @param {readonly string[]} argv
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<void>}
 * @throws where it does not end with status 0, with the last of what it said
 */
export function start(argv, options = {}) {
  return new Promise((resolve, reject) => {
    const [file, ...args] = argv;
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let said = '';
    child.stdout?.resume();
    child.stderr?.on('data', (chunk) => {
      said += chunk;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const last = said.trim().split('\n').at(-1);
      if (code === 0) resolve();
      else reject(new Error(`${file} ended with ${code ?? signal}: ${last}`));
    });
  });
}
