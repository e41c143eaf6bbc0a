// Our own rows. A way to start sandboxes that is yet to come gets its row here, and is measured everywhere.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createSandbox } from '../../dist/index.js';
import { start } from './start.mjs';

export const cli = fileURLToPath(new URL('../../dist/cli/main.cjs', import.meta.url));

/**
 * Of a sandbox that was made once.
 *
 * @param {import('../../dist/index.js').SandboxSpec} spec
 * @param {readonly string[]} command
 * @returns {Promise<{ ways: import('./harness.mjs').Way[], dispose(): Promise<void> }>}
 */
export async function ours(spec, command) {
  const sandbox = await createSandbox(spec);
  const warm = await createSandbox(spec, { warm: 2 });
  const options = { stdin: 'ignore' };
  const runOf = (each) => async () => void (await each.run(command, options)).assertSuccess();
  return {
    ways: [
      { name: 'sandboxlib, kept warm', once: runOf(warm) },
      { name: 'sandboxlib, by the server', once: runOf(sandbox) },
      { name: 'sandboxlib, a launcher each', once: withoutServer(runOf(sandbox)) },
    ],
    dispose: async () => {
      await Promise.all([sandbox.dispose(), warm.dispose()]);
    },
  };
}

/** Whoever else runs at the same time is without it too. */
function withoutServer(once) {
  return async () => {
    process.env.SANDBOXLIB_SERVER = 'off';
    try {
      await once();
    } finally {
      delete process.env.SANDBOXLIB_SERVER;
    }
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
