#!/usr/bin/env node
// The checks of native/ that need no sandbox: compilers and analysers over every source, unit tests under sanitizers, the fuzzer. `npm test` runs
// this; the last line is `N passed, N failed, N skipped`.
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { languageFlags, launcherSources, warningFlags } from '../../scripts/lib/native.mjs';
import { inProject, projectRoot } from '../../scripts/lib/paths.mjs';
import { execute, SetupError, which } from '../../scripts/lib/steps.mjs';

const isCI = process.env.CI !== undefined && process.env.CI !== '' && process.env.CI !== 'false';
const FUZZ_SECONDS = isCI ? 60 : 5;
const totals = { passed: 0, failed: 0, skipped: 0 };

const output = inProject('build', 'test', 'native');
const sanitizers = ['-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
const inTest = (/** @type {string} */ name) => inProject('native', 'test', name);
const inNative = (/** @type {string} */ name) => inProject('native', name);
const built = (/** @type {string} */ name) => path.join(output, name);

// All that find defects, without these:
const tidyChecks = [
  '-*',
  'bugprone-*',
  'clang-analyzer-*',
  '-bugprone-easily-swappable-parameters', // mount(2) and its kin are made of them
  '-bugprone-reserved-identifier', // _GNU_SOURCE
  '-bugprone-branch-clone', // one line for each kind of record is easier to read
  '-bugprone-narrowing-conversions', // -Wconversion says the same, with fewer mistakes
  '-bugprone-implicit-widening-of-multiplication-result', // of constants
  '-clang-analyzer-valist.Uninitialized', // wrong after va_start in a file that is not the first
  '-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling', // wants memcpy_s, which no C library here has
];

rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
await compilers();
await analysers();
await unitTests();
await fuzz();
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
if (totals.failed > 0) process.exitCode = 1;

/** Each has warnings of its own; a source is compiled by itself, for `-o` goes with only one. */
async function compilers() {
  for (const compiler of ['gcc', 'clang', 'musl-gcc', 'aarch64-linux-gnu-gcc']) {
    const theirs = compiler === 'clang' ? ['-Wno-unknown-warning-option'] : [];
    await check(`${compiler} has nothing to warn of`, compiler, async () => {
      for (const source of launcherSources()) {
        await run(compiler, [
          ...languageFlags,
          '-O2',
          ...warningFlags,
          ...theirs,
          '-Werror',
          '-c',
          '-o',
          '/dev/null',
          source,
        ]);
      }
    });
  }
}

async function analysers() {
  await check('gcc -fanalyzer finds nothing', 'gcc', async () => {
    for (const source of launcherSources()) {
      await run('gcc', [...languageFlags, '-O2', '-fanalyzer', '-Werror', '-c', '-o', '/dev/null', source]);
    }
  });
  await check('cppcheck finds nothing', 'cppcheck', () =>
    run('cppcheck', [
      ...['--quiet', '--std=c11', '-D_GNU_SOURCE', '-D__x86_64__', '--enable=warning,performance,portability'],
      ...['--inline-suppr', '--error-exitcode=1', ...launcherSources()],
    ]),
  );
  // Half a minute in one process.
  await check('clang-tidy finds nothing', 'clang-tidy', () =>
    Promise.all(
      [0, 1].map((half) =>
        run('clang-tidy', [
          ...['--quiet', '--warnings-as-errors=*', `--checks=${tidyChecks.join(',')}`],
          ...[...launcherSources().filter((_, index) => index % 2 === half), '--', ...languageFlags],
        ]),
      ),
    ),
  );
}

async function unitTests() {
  await unitTest('plan_test', [], ['plan.c', 'filter.c', 'call.c']);
  await unitTest('compiled_test', [], ['compiled_format.c', 'compiled_groups.c', 'plan.c', 'filter.c']);
  await unitTest('paths_test', ['-pthread', '-Wl,--wrap=sys_openat2'], ['paths.c', 'sys.c']);
  await unitTest(
    'unpack_test',
    ['-Wl,--wrap=sys_openat2'],
    [
      'unpack.c',
      'unpack_records.c',
      'removal.c',
      'paths.c',
      'status.c',
      'channel.c',
      'report.c',
      'plan.c',
      'filter.c',
      'sys.c',
    ],
  );
  await unitTest('parts_test', [], ['relay.c', 'channel.c', 'status.c', 'report.c', 'plan.c', 'filter.c', 'sys.c']);
}

/**
 * Each `ok` of a program is a check of its own.
 *
 * @param {string} name
 * @param {readonly string[]} flags
 * @param {readonly string[]} sources
 */
async function unitTest(name, flags, sources) {
  const all = [...languageFlags, ...warningFlags, '-Werror', ...sanitizers, ...flags];
  try {
    await run('cc', [...all, '-o', built(name), inTest(`${name}.c`), ...sources.map(inNative)]);
  } catch (error) {
    report(name, error);
    return;
  }
  let text = '';
  try {
    text = await run(built(name), []);
  } catch (error) {
    text = error instanceof SetupError ? error.message : String(error);
  }
  process.stdout.write(text);
  const count = (/** @type {RegExp} */ line) => [...text.matchAll(line)].length;
  const skipped = count(/^ok .*# SKIP/gm);
  const passed = count(/^ok /gm) - skipped;
  const failed = count(/^not ok /gm);
  totals.passed += passed;
  totals.skipped += skipped;
  // A program that ends early has no plan at its end.
  const planned = Number(/^1\.\.(\d+)$/m.exec(text)?.[1] ?? -1);
  totals.failed += failed === 0 && planned !== passed + skipped ? 1 : failed;
}

async function fuzz() {
  await fuzzParser('plan', 'plans', ['plan.c', 'filter.c', 'call.c']);
  await fuzzParser('unpack', 'streams of records', ['unpack_records.c', 'plan.c', 'filter.c']);
}

/**
 * @param {string} name of `NAME_test` and `fuzz_NAME`
 * @param {string} what
 * @param {readonly string[]} parser
 */
async function fuzzParser(name, what, parser) {
  const corpus = built(`corpus_${name}`);
  mkdirSync(corpus, { recursive: true });
  const sources = [inTest(`fuzz_${name}.c`), ...parser.map(inNative)];
  const flags = [...languageFlags, '-O1', '-g', '-fno-sanitize-recover=all'];
  await check(`the fuzzer has ${what} to start from`, 'cc', () => run(built(`${name}_test`), ['--corpus', corpus]));
  await check(`${what} of a fixed sequence of mutations do no harm`, 'cc', async () => {
    const files = readdirSync(corpus).map((file) => path.join(corpus, file));
    const alone = built(`fuzz_${name}_alone`);
    await run('cc', [...flags, '-DSTANDALONE', '-fsanitize=address,undefined', '-o', alone, ...sources]);
    await run(alone, [isCI ? '10' : '2', ...files]);
  });
  await check(`nothing in ${what} that the fuzzer finds in ${FUZZ_SECONDS} s does harm`, 'clang', async () => {
    const found = built(`found_${name}`);
    mkdirSync(found, { recursive: true });
    await run('clang', [...flags, '-fsanitize=fuzzer,address,undefined', '-o', built(`fuzz_${name}`), ...sources]);
    const options = [
      `-max_total_time=${FUZZ_SECONDS}`,
      '-max_len=65536',
      `-artifact_prefix=${output}/`,
      '-verbosity=0',
    ];
    await run(built(`fuzz_${name}`), [...options, found, corpus]);
  });
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 */
function run(command, args) {
  const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=0', UBSAN_OPTIONS: 'print_stacktrace=1' };
  return execute(command, args, { cwd: projectRoot, env });
}

/**
 * @param {string} name
 * @param {string} tool without which there is no check
 * @param {() => Promise<unknown>} action
 */
async function check(name, tool, action) {
  if (which(tool) === undefined) {
    totals.skipped++;
    console.log(`skip  ${name}: ${tool} is not on PATH`);
    return;
  }
  const started = performance.now();
  try {
    await action();
    totals.passed++;
    console.log(`ok    ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    report(name, error);
  }
}

/**
 * @param {string} name
 * @param {unknown} error
 */
function report(name, error) {
  if (!(error instanceof SetupError)) throw error;
  totals.failed++;
  console.log(`FAIL  ${name}\n${error.message}`);
}
