// A caller of its own: for what a whole process has, such as its descriptors, its environment, its event loop.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { buildCli } from '../helpers/cli.ts';

const project = new URL('../../', import.meta.url);
/** What a module imports to run sandboxes. */
export const index: string = new URL('dist/index.js', project).href;

/** Runs a module that finds `run`, `spawn` and `createSandbox` imported, started by `prefix` as `exec` would. */
export function inNode(
  script: string,
  { prefix = [], env = process.env }: { prefix?: readonly string[]; env?: NodeJS.ProcessEnv } = {},
): SpawnSyncReturns<string> {
  ensureBuilt();
  const module = `import { createSandbox, run, spawn } from ${JSON.stringify(index)};\n${script}`;
  const [command = '', ...args] = [...prefix, process.execPath, '--input-type=module', '-e', module];
  return spawnSync(command, args, { encoding: 'utf8', cwd: '/', env, maxBuffer: 64 * 1024 * 1024 });
}

let built = false;

/** `dist/` of the current sources, which do not change while a file of tests runs: for callers that are processes of their own. */
export function ensureBuilt(): void {
  if (!built && mayBuild()) buildCli();
  built = true;
}

/** A test that became an ordinary user takes what is built. */
function mayBuild(): boolean {
  try {
    accessSync(project, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
