// How a script of ours ends: a failure that explains itself is printed without a stack.
import { SetupError } from './steps.mjs';

/** @param {() => Promise<void>} action */
export async function main(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
