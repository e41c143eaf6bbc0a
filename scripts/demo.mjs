#!/usr/bin/env node
// The demonstration, `npm run sandbox` without a command: builds, checks and runs a Debian package in a sandbox, and beside it a package that
// means harm. With `--root DIR` in that root file system, which needs a toolchain, instead of the host view; `--state DIR` keeps what was
// fetched there instead of build/demo; `--config-cache FILE` keeps there what configure found out, for a later run on the same toolchain.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildInSandbox } from './demo/build.mjs';
import { buildHostile } from './demo/hostile.mjs';
import { demoPackage } from './demo/source.mjs';
import { main } from './lib/main.mjs';
import { inProject } from './lib/paths.mjs';
import { SetupError, which } from './lib/steps.mjs';

const { values: options } = parseArgs({
  options: { root: { type: 'string' }, state: { type: 'string' }, 'config-cache': { type: 'string' } },
});
const state = path.resolve(options.state ?? inProject('build', 'demo'));
const where = { root: options.root === undefined ? undefined : path.resolve(options.root) };

/** As autoconf calls it. */
const CONFIG_CACHE = 'config.cache';

await main(demonstrate);

async function demonstrate() {
  mkdirSync(state, { recursive: true });
  requireToolchain();
  const library = await import('../dist/index.js');
  const cache = options['config-cache'];
  const demo = withCache(await demoPackage(state), cache);
  const work = mkdtempSync(path.join(state, 'work-'));
  try {
    const source = path.join(work, 'source');
    await demo.unpack(source);
    console.log(
      `Building ${demo.title} in ${where.root ?? 'the host view'}, its source writable at /build, no network.`,
    );
    const building = [buildInSandbox(library, demo, source, where), buildHostile(library, work, where)];
    // Both are over before anything is printed or removed, also when one fails.
    await Promise.allSettled(building);
    const [built, hostile] = await Promise.all(building);
    const found = path.join(source, CONFIG_CACHE);
    if (cache !== undefined && existsSync(found)) copyFileSync(found, cache);
    printBuild(built);
    printHostile(hostile);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * @param {import('./demo/source.mjs').DemoPackage} demo
 * @param {string | undefined} cache
 * @returns {import('./demo/source.mjs').DemoPackage}
 */
function withCache(demo, cache) {
  if (cache === undefined) return demo;
  return {
    ...demo,
    unpack: async (target) => {
      await demo.unpack(target);
      if (existsSync(cache)) copyFileSync(cache, path.join(target, CONFIG_CACHE));
    },
    build: demo.build.map((command) => (command[0] === './configure' ? [...command, '--config-cache'] : command)),
  };
}

/** The toolchain is that of the host, or of the root. */
function requireToolchain() {
  if (where.root !== undefined) return;
  const missing = ['gcc', 'make'].filter((name) => which(name) === undefined);
  if (missing.length === 0) return;
  const names = missing.join(' and ');
  throw new SetupError(`the demonstration builds C with the host's own tools: ${names} not found; install ${names}`);
}

/** @param {Awaited<ReturnType<typeof buildInSandbox>>} built */
function printBuild({ steps, output, enforcement }) {
  console.log('');
  for (const { command, result } of steps) {
    console.log(
      `  ${command.join(' ').padEnd(28)} ${formatSeconds(result.usage.wallMs)}${testSummary(String(result.stdout))}`,
    );
  }
  console.log(`\nIt says: ${output.trim()}`);
  console.log(`\nEnforced by the backend ${enforcement.backend}:\n`);
  for (const { feature, mechanism } of enforcement.applied) console.log(`  ${feature.padEnd(24)} ${mechanism}`);
  for (const { feature, because } of enforcement.skipped) console.log(`  ${feature.padEnd(24)} skipped: ${because}`);
}

/**
 * What automake's test driver counted: `# PASS:  5`.
 *
 * @param {string} output
 */
function testSummary(output) {
  const counts = [...output.matchAll(/^# (PASS|FAIL|ERROR): +(\d+)$/gm)].filter(([, , count]) => count !== '0');
  return counts.map(([, verdict, count]) => `, ${verdict} ${count}`).join('');
}

/** @param {number} wallMs */
function formatSeconds(wallMs) {
  return `${(wallMs / 1000).toFixed(2).padStart(7)} s`;
}

/** @param {Awaited<ReturnType<typeof buildHostile>>} hostile */
function printHostile({ attempts, harm }) {
  console.log('\nThe hostile package of examples/hostile, built beside it, tried to\n');
  for (const { answer, what } of attempts) console.log(`  ${what.padEnd(44)} ${answer}`);
  const succeeded = attempts.filter(({ answer }) => answer === 'succeeded');
  const expected = 11;
  if (attempts.length !== expected) harm.push(`${attempts.length} of ${expected} attempts were made`);
  for (const { what } of succeeded) harm.push(`"${what}" succeeded inside`);
  console.log('');
  if (harm.length === 0) {
    console.log(
      'On the host nothing changed: the secret and /etc/passwd are as they were, /usr and /etc hold nothing new,',
    );
    console.log('no connection arrived, no daemon is left, and the builder is alive to tell.');
    return;
  }
  for (const line of harm) console.log(`HARM: ${line}`);
  process.exitCode = 1;
}
