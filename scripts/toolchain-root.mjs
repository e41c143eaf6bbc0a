#!/usr/bin/env node
// Makes a Debian root file system with a C toolchain below build/roots, once, and prints its path. Needs root, debootstrap and apt's sources.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { withLock } from './lib/lock.mjs';
import { main } from './lib/main.mjs';
import { buildDirectory } from './lib/paths.mjs';
import { machineSources } from './lib/private-apt.mjs';
import { execute, SetupError, step, which } from './lib/steps.mjs';

const packages = ['gcc', 'libc6-dev', 'make'];
const directory = path.join(buildDirectory, 'roots', 'toolchain');

await main(async () => {
  await withLock(async () => {
    if (!existsSync(directory)) await step('making a Debian with a C toolchain', makeRoot);
  });
  console.log(directory);
});

async function makeRoot() {
  const debootstrap = which('debootstrap');
  if (debootstrap === undefined) throw new SetupError('debootstrap is not on PATH: install debootstrap');
  const { suite, mirror } = distribution();
  const work = `${directory}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    // In a mount namespace of its own: debootstrap mounts /proc in the new root, and would leave it when it is interrupted.
    const options = ['--variant=minbase', `--include=${packages.join(',')}`];
    await execute('unshare', ['--mount', '--propagation', 'private', debootstrap, ...options, suite, work, mirror]);
    renameSync(work, directory);
  } catch (error) {
    rmSync(work, { recursive: true, force: true });
    throw error;
  }
}

/** The release of this machine, from where this machine has it. */
function distribution() {
  const release = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  const source = machineSources().find(({ suite }) => suite === release);
  if (release === undefined || source === undefined)
    throw new SetupError('apt has no source for the release of this machine');
  return { suite: release, mirror: source.uri };
}
