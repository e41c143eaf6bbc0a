// Our own rows. A way to start sandboxes that is yet to come gets its row here, and is measured everywhere.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createSandbox } from '../../dist/index.js';
import { start } from './start.mjs';

export const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/**
 * Of a sandbox that was made once.
 *
 * @param {import('../../dist/index.js').SandboxSpec} spec
 * @param {readonly string[]} command
 * @returns {Promise<{ ways: import('./harness.mjs').Way[], dispose(): Promise<void> }>}
 */
export async function ours(spec, command) {
  const sandbox = await createSandbox(spec);
  const options = { stdin: 'ignore' };
  return {
    ways: [
      {
        name: 'sandboxlib, run() of a sandbox',
        once: async () => void (await sandbox.run(command, options)).assertSuccess(),
      },
      // Here a row for one that is kept warm.
    ],
    dispose: () => sandbox.dispose(),
  };
}

let plans = 0;

/**
 * A compiled plan of the default sandbox.
 *
 * @param {readonly string[]} options
 * @param {readonly string[]} command
 * @param {string} directory
 * @returns {import('./harness.mjs').Way & { file: string }} the program too, for who starts it in another way
 */
export function compiledWay(options, command, directory) {
  const file = join(directory, `plan-${++plans}`);
  execFileSync(process.execPath, [cli, 'compile', '-q', '-o', file, ...options, '--', ...command]);
  return { name: 'sandboxlib, a compiled plan', once: () => start([file]), file };
}
