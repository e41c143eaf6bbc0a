// dist/ from src/.
import { chmodSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { inProject, projectRoot } from './paths.mjs';
import { filesBelow, hashInputs, isCurrent, writeStamp } from './stamps.mjs';
import { execute, step } from './steps.mjs';

const command = inProject('dist', 'cli', 'main.js');

/** @returns {string | undefined} the hash to build for; undefined when dist/ is current */
export function staleTypeScript() {
  const configuration = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'scripts/lib/typescript.mjs'].map(
    (name) => inProject(name),
  );
  const hash = hashInputs([...configuration, ...filesBelow(inProject('src'))]);
  return isCurrent('dist', hash, [command, inProject('dist', 'index.js')]) ? undefined : hash;
}

/**
 * The command line in few files: Node takes some 0.5 ms for each module, and there are seventy on the way of a plain run
 * (docs/decisions/0008). What only some calls need stays in chunks of its own, as the dynamic imports have it.
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
  await bundle.write({
    dir: join(output, 'cli'),
    format: 'esm',
    sourcemap: true,
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
    codeSplitting: { groups: [{ name: 'run', test: isOnTheWayOfARun }] },
  });
  await bundle.close();
}

const seldom = [
  /\/src\/spec\/(schema|schema-issues|json-schema|explain)\.ts$/,
  /\/src\/host\/(read|report|types|findings|cgroups|lsm|container|mountinfo|kernel)\.ts$/,
  /\/src\/host\/findings\//,
  /\/src\/(changes|image)\//,
  /\/src\/backends\/(none|program)\.ts$/,
  /\/src\/backends\/(bubblewrap|chroot|docker|firejail|linux-user-chroot|oci|podman|proot|systemd-nspawn)\//,
  /\/src\/seccomp\/(compile|custom|denied|libseccomp|profile|syscalls)\.ts$/,
  /\/src\/backends\/native\/(probe|needs)\.ts$/,
  /\/src\/backends\/launcher\/compiled\.ts$/,
  /\/src\/run\/(api|around|bwrap|compile|explain|probe|sandbox|wrap)\.ts$/,
  /\/src\/cli\/(main|changes|compile|completion|doctor|explain|help|hint-host|hints|image[\w-]*|manual|profile|reference|render|texts)\.ts$/,
];

function isOnTheWayOfARun(file) {
  return file.startsWith(inProject('src')) && !seldom.some((pattern) => pattern.test(file));
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
    chmodSync(inProject('dist.new', 'cli', 'main.js'), 0o755);
    rmSync(inProject('dist'), { recursive: true, force: true });
    renameSync(fresh, inProject('dist'));
  });
  writeStamp('dist', hash);
}
