// A container engine for tests, where the machine has none: Debian's, unpacked and not installed, because its package starts a daemon that changes the
// machine's network.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { inProject } from './paths.mjs';
import { privateApt } from './private-apt.mjs';
import { execute, step, which } from './steps.mjs';

/** runc, and the libraries of all of these, come with the packages that tests need anyway. */
const packages = ['docker.io', 'containerd', 'tini'];
const programs = ['docker', 'dockerd', 'containerd', 'runc'];
const target = inProject('build', 'engine');

/** Unpacks it, unless all of it is on PATH or was unpacked before; test/helpers/engine.ts finds it there. */
export async function ensureEngine() {
  const missing = programs.filter((name) => which(name) === undefined);
  if (missing.length === 0 || existsSync(target)) return;
  if (which('apt-get') === undefined || which('dpkg-deb') === undefined) return;
  await step('unpacking a container engine', async () => {
    const work = `${target}.new`;
    rmSync(work, { recursive: true, force: true });
    const archives = path.join(work, 'archives');
    mkdirSync(archives, { recursive: true });
    const apt = privateApt(path.join(work, 'apt'), { type: 'deb' });
    await apt.update();
    await apt.download(packages, archives);
    for (const name of readdirSync(archives)) await execute('dpkg-deb', ['-x', path.join(archives, name), work]);
    apt.clean();
    rmSync(archives, { recursive: true, force: true });
    renameSync(work, target);
  });
}
