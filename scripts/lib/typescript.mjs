// dist/ from src/.
import { chmodSync, renameSync, rmSync } from 'node:fs';
import { inProject, projectRoot } from './paths.mjs';
import { filesBelow, hashInputs, isCurrent, writeStamp } from './stamps.mjs';
import { execute, step } from './steps.mjs';

const command = inProject('dist', 'cli', 'main.js');

/** @returns {string | undefined} the hash to build for; undefined when dist/ is current */
export function staleTypeScript() {
  const configuration = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json'].map((name) => inProject(name));
  const hash = hashInputs([...configuration, ...filesBelow(inProject('src'))]);
  return isCurrent('dist', hash, [command, inProject('dist', 'index.js')]) ? undefined : hash;
}

export async function ensureTypeScript() {
  const hash = staleTypeScript();
  if (hash === undefined) return;
  await step('compiling TypeScript', async () => {
    // Beside, then renamed: files of deleted sources do not stay, and a failed build leaves the old dist/ alone. At the same depth, or the
    // paths in the source maps would be wrong.
    const fresh = inProject('dist.new');
    rmSync(fresh, { recursive: true, force: true });
    await execute(
      process.execPath,
      [inProject('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json', '--outDir', fresh],
      { cwd: projectRoot },
    );
    chmodSync(inProject('dist.new', 'cli', 'main.js'), 0o755);
    rmSync(inProject('dist'), { recursive: true, force: true });
    renameSync(fresh, inProject('dist'));
  });
  writeStamp('dist', hash);
}
