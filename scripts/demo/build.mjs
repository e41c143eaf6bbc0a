// Builds a package in a sandbox: the toolchain of the root, the source writable at /build, no network.
import { SetupError } from '../lib/steps.mjs';

/**
 * @typedef {import('../../src/index.ts')} Library
 * @typedef {{ root: string | undefined }} Where
 */

/**
 * The same for every command of the build.
 *
 * @param {string} source
 * @param {Where} where
 */
export function buildSpec(source, { root }) {
  return {
    ...(root === undefined ? {} : { root }),
    mounts: [{ type: 'bind', source, destination: '/build', readonly: false }],
    cwd: '/build',
    network: 'none',
    limits: { wallMs: '15min', outputBytes: '16MiB' },
  };
}

/**
 * @param {Library} library
 * @param {import('./source.mjs').DemoPackage} demo
 * @param {string} source
 * @param {Where} where
 */
export async function buildInSandbox({ createSandbox }, demo, source, where) {
  const sandbox = await createSandbox(buildSpec(source, where));
  try {
    const steps = [];
    for (const command of demo.build) steps.push(await runStep(sandbox, command));
    const { result } = await runStep(sandbox, demo.program);
    return { steps, output: String(result.stdout), enforcement: result.enforcement };
  } finally {
    await sandbox.dispose();
  }
}

/**
 * @param {import('../../src/index.ts').Sandbox} sandbox
 * @param {readonly string[]} command
 */
async function runStep(sandbox, command) {
  const result = await sandbox.run(command, { stderr: 'stdout' });
  if (result.exitCode === 0) return { command, result };
  throw new SetupError(`${command.join(' ')} in the sandbox: ${describeOutcome(result)}\n${result.stdout}`);
}

/** @param {{ outcome: Record<string, unknown> }} result */
function describeOutcome({ outcome }) {
  return Object.values(outcome).join(' ');
}
