// dist/ from src/.
import { chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inProject, projectRoot } from './paths.mjs';
import { filesBelow, hashInputs, isCurrent, writeStamp } from './stamps.mjs';
import { execute, step } from './steps.mjs';

const command = inProject('dist', 'cli', 'main.cjs');

/** @returns {string | undefined} the hash to build for; undefined when dist/ is current */
export function staleTypeScript() {
  const configuration = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'scripts/lib/typescript.mjs'].map(
    (name) => inProject(name),
  );
  const hash = hashInputs([...configuration, ...filesBelow(inProject('src'))]);
  return isCurrent('dist', hash, [command, inProject('dist', 'index.js')]) ? undefined : hash;
}

/** What each way through the command line begins with; what several share goes to the first. */
const ways = {
  version: ['src/cli/version.ts'],
  // The last is imported dynamically, when negotiation has chosen it.
  run: ['src/cli/dispatch.ts', 'src/cli/run.ts', 'src/backends/native/index.ts'],
};

/**
 * The command line in few files, one of them for a plain run; what only some calls need stays in chunks of its own, as the dynamic imports have it.
 * CommonJS: Node takes 4 ms less to start it (docs/decisions/0008).
 */
async function bundleCommand(output) {
  const { rolldown } = await import('rolldown');
  rmSync(join(output, 'cli'), { recursive: true, force: true });
  const bundle = await rolldown({
    input: { main: inProject('src', 'cli', 'main.ts') },
    platform: 'node',
    external: ['diff', 'fzstd', 'zod'],
    tsconfig: inProject('tsconfig.build.json'),
    // As tsc does for the rest: what Node 20 cannot read yet (`using`) is written out.
    transform: { target: 'es2023' },
  });
  const { output: files } = await bundle.write({
    dir: join(output, 'cli'),
    format: 'cjs',
    sourcemap: true,
    entryFileNames: '[name].cjs',
    chunkFileNames: 'chunks/[name].cjs',
    codeSplitting: {
      groups: Object.entries(ways).map(([name, entries], index, { length }) => groupOf(name, entries, length - index)),
    },
  });
  await bundle.close();
  for (const file of files)
    if (file.type === 'chunk') writeFileSync(join(output, 'cli', file.fileName), inAscii(file.code));
}

/** One character that is not in Latin-1 makes V8 hold and read all of a file as two bytes each. They are in strings, where an escape means the same, and comments. */
function inAscii(code) {
  return code.replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function groupOf(name, entries, priority) {
  let loaded;
  return {
    debugName: name,
    priority,
    name(file, graph) {
      loaded ??= loadedBy(
        entries.map((entry) => inProject(entry)),
        graph,
      );
      return loaded.has(file) ? name : null;
    },
  };
}

/** `entries` and all that they import statically. */
function loadedBy(entries, graph) {
  const files = new Set(entries);
  for (const file of files) for (const imported of graph.getModuleInfo(file)?.importedIds ?? []) files.add(imported);
  return files;
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
    await bundleCommand(fresh);
    chmodSync(inProject('dist.new', 'cli', 'main.cjs'), 0o755);
    rmSync(inProject('dist'), { recursive: true, force: true });
    renameSync(fresh, inProject('dist'));
  });
  writeStamp('dist', hash);
}
