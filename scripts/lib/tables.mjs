// The generated tables of docs/: what they are made from, and whether those that are committed are those of a run.
//
// A run leaves what it tried in build/test/ (test/helpers/trials-reporter.ts). What was committed is kept as data too, in test/tables/: on a host that
// cannot try everything, say as an ordinary user in a closed checkout, the rest must still be the same.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { cellsOf, differences, faultsOf, keepWhatIsOutOfReach, tried } from './cells.mjs';
import { renderMatrix } from './matrix.mjs';
import { inProject, projectRoot } from './paths.mjs';
import { isExpectedSkip } from './skips.mjs';
import { isRoot, SetupError } from './steps.mjs';

const UPDATE = 'npm run tables';

/** Where a run leaves its trials. */
export const trialsDirectory = inProject('build', 'test');

/** Those of an earlier run say nothing about this one. */
export function forgetTrials() {
  for (const { name } of matrices) rmSync(path.join(trialsDirectory, `${name}.json`), { force: true });
}

const matrices = [
  {
    name: 'attacks',
    document: 'docs/security.md',
    shape: async () => ({
      rows: techniqueNames(),
      backends: await backendNames(),
      kindOf: () => undefined,
    }),
    style: {
      heading: 'technique',
      count: 'cases',
      nameOf: (row) => `[${row}](../${techniqueFile(row)})`,
      words: {
        held: 'held',
        refused: 'refused',
        untried: 'not tried',
        nothing: '',
        failed: '**SUCCEEDED**',
        missing: '**NOT RUN**',
      },
    },
  },
  {
    name: 'features',
    document: 'docs/backends.md',
    shape: async () => {
      const registry = await registeredBackends();
      const { features } = await importBuilt('features', 'feature.js');
      const { asking } = await importTypeScript('test/conformance/asking.ts');
      return {
        rows: features,
        backends: registry.map(({ name }) => name),
        always: 'what every backend does',
        kindOf: (feature, backend) => {
          if (registry.find(({ name }) => name === backend).recognized.has(feature)) return 'trial';
          return asking[feature] === undefined ? 'nothing' : 'refusal';
        },
      };
    },
    style: {
      heading: 'feature',
      nameOf: (row) => (row.includes(' ') ? row : `\`${row}\``),
      words: {
        held: (cell) => `yes, ${tried(cell)}`,
        refused: 'refused',
        untried: 'not tried',
        nothing: '',
        failed: '**FAILED**',
        missing: '**NOT RUN**',
      },
    },
  },
];

/**
 * Compares the committed tables with what the last run tried; with `write` brings them up to date first.
 *
 * @param {{ write: boolean }} options
 * @returns {Promise<string[]>} remarks about what this host could not try
 * @throws {SetupError} with all that is wrong
 */
export async function settleTables({ write }) {
  /** @type {string[]} */
  const faults = [];
  /** @type {string[]} */
  const remarks = [];
  for (const matrix of matrices) {
    const { cells, kept } = await cellsOfRun(matrix, write);
    const text = renderMatrix(cells, matrix.style);
    if (write) writeTable(matrix, cells, text);
    // A promise that nobody tried is no better than one that broke.
    faults.push(...faultsOf(cells).map((fault) => `${matrix.document}: ${fault}`));
    // Before the first whole run was committed there is nothing to compare with; that no attack succeeded, and that each was tried, holds all the same.
    if (!existsSync(committedFile(matrix))) {
      remarks.push(`${matrix.document}: no table "${matrix.name}" is committed yet; run "${UPDATE}" and commit`);
      continue;
    }
    faults.push(...differences(readCommitted(matrix), cells).map((line) => `${matrix.document}: ${line}`));
    faults.push(...compareSection(matrix.document, matrix.name, text));
    if (kept.length > 0)
      remarks.push(
        `${matrix.document}: ${kept.length} cells stand as committed: this host could try less of them, or more`,
      );
  }
  const ids = await renderAttackIds();
  if (write) writeSection('docs/security.md', 'attack-ids', ids);
  faults.push(...compareSection('docs/security.md', 'attack-ids', ids));
  if (faults.length > 0)
    throw new SetupError(
      `${faults.join('\n')}\nWhere the run is right and the committed table is not: run "${UPDATE}" and commit.`,
    );
  return remarks;
}

async function cellsOfRun(matrix, write) {
  const file = path.join(trialsDirectory, `${matrix.name}.json`);
  if (!existsSync(file)) throw new SetupError(`${file} is missing: the run told nothing of what it tried`);
  const absent = isRoot ? {} : { root: 'needs root: the tests run as an ordinary user' };
  const cells = cellsOf(JSON.parse(readFileSync(file, 'utf8')), { absent, ...(await matrix.shape()) });
  return keepWhatIsOutOfReach(cells, readCommitted(matrix), isExpectedSkip, { orMore: !write });
}

const committedFile = ({ name }) => inProject('test', 'tables', `${name}.json`);

/** @returns {import('./cells.mjs').Cell[]} */
function readCommitted(matrix) {
  const file = committedFile(matrix);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : [];
}

function writeTable(matrix, cells, text) {
  mkdirSync(path.dirname(committedFile(matrix)), { recursive: true });
  // One cell a line, so that a difference is read as one.
  writeFileSync(committedFile(matrix), `[\n${cells.map((cell) => JSON.stringify(cell)).join(',\n')}\n]\n`);
  writeSection(matrix.document, matrix.name, text);
}

/** What stands between the marks of a section; all else in the document is by hand. */
function sectionOf(text, document, name) {
  const [open, close] = [`<!-- generated: ${name}; by "${UPDATE}" -->\n\n`, `\n\n<!-- end of ${name} -->\n`];
  const start = text.indexOf(open);
  const end = text.indexOf(close, start);
  if (start === -1 || end === -1)
    throw new SetupError(`${document} lacks ${JSON.stringify(open)} or ${JSON.stringify(close)}`);
  return { start: start + open.length, end };
}

function writeSection(document, name, content) {
  const text = readFileSync(inProject(document), 'utf8');
  const { start, end } = sectionOf(text, document, name);
  writeFileSync(inProject(document), text.slice(0, start) + content + text.slice(end));
}

function compareSection(document, name, content) {
  const text = readFileSync(inProject(document), 'utf8');
  const { start, end } = sectionOf(text, document, name);
  return text.slice(start, end) === content ? [] : [`${document}: the section "${name}" is not the generated one`];
}

const techniqueFile = (name) => `test/security/techniques/${name}.ts`;

/** The files, not what the run says: one that did not load must be missed. */
function techniqueNames() {
  return readdirSync(inProject('test', 'security', 'techniques'))
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.slice(0, -'.ts'.length))
    .sort();
}

async function registeredBackends() {
  return (await importBuilt('backends', 'registry.js')).registry;
}

async function backendNames() {
  return (await registeredBackends()).map(({ name }) => name);
}

/** @param {string[]} parts below dist/ */
function importBuilt(...parts) {
  const file = inProject('dist', ...parts);
  if (!existsSync(file)) throw new SetupError(`${file} is missing: dist/ does not compile`);
  return import(pathToFileURL(file).href);
}

/** A file of the tests that imports nothing but types: Node 20 runs no TypeScript by itself. */
async function importTypeScript(file) {
  const { default: ts } = await import('typescript');
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 };
  const { outputText } = ts.transpileModule(readFileSync(path.join(projectRoot, file), 'utf8'), { compilerOptions });
  return import(`data:text/javascript,${encodeURIComponent(outputText)}`);
}

async function renderAttackIds() {
  const { coverage } = await importTypeScript('test/security/coverage.ts');
  const lines = coverage.map(({ id, attack, triedBy = [], later }) => {
    const places = triedBy.map((place) => {
      const file = place.includes('/') ? place : techniqueFile(place);
      return `[${place.replace(/^test\//, '')}](../${file})`;
    });
    const rest = later === undefined ? '' : `${later.because} (${later.broughtBy})`;
    return `| ${[id, attack, places.join(', '), rest].join(' | ')} |`;
  });
  return ['| id | attack | tried by | not tried yet, and what brings it |', '| --- | --- | --- | --- |', ...lines].join(
    '\n',
  );
}
