// apt with a state of its own: fetches from the machine's own sources of packages, as any user, and leaves /etc/apt, /var/lib/apt and
// /var/cache/apt alone.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execute, SetupError, which } from './steps.mjs';

/**
 * @typedef {object} PackageSource
 * @property {string} uri
 * @property {string} suite
 * @property {readonly string[]} components
 * @property {string} options what stood in brackets, or the fields that mean the same: `signed-by=...`
 */

/**
 * @param {string} directory where its state lives; made when missing
 * @param {{ type: 'deb' | 'deb-src', architecture?: string }} kind
 */
export function privateApt(directory, { type, architecture }) {
  const file = which('apt-get');
  if (file === undefined) throw new SetupError('apt-get is not on PATH');
  const absolute = path.resolve(directory);
  for (const name of ['etc', 'state/lists/partial', 'cache/archives/partial', 'log']) {
    mkdirSync(path.join(absolute, name), { recursive: true });
  }
  writeFileSync(path.join(absolute, 'etc', 'sources.list'), sourcesList(type));
  const settings = {
    'Dir::Etc::SourceList': path.join(absolute, 'etc', 'sources.list'),
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::State': path.join(absolute, 'state'),
    'Dir::State::status': architecture === undefined ? '/var/lib/dpkg/status' : '/dev/null',
    'Dir::Cache': path.join(absolute, 'cache'),
    'Dir::Log': path.join(absolute, 'log'),
    // As root apt would fetch as the user _apt, who may not be able to write here.
    ...(process.getuid?.() === 0 ? { 'APT::Sandbox::User': 'root' } : {}),
    ...(architecture === undefined ? {} : { 'APT::Architecture': architecture, 'APT::Architectures': architecture }),
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  return {
    update: () => execute(file, ['-q', ...options, 'update'], { cwd: absolute }),
    /** @param {string} name @param {string} target */
    downloadSource: (name, target) =>
      execute(file, ['-q', ...options, 'source', '--download-only', name], { cwd: target }),
    /** @param {readonly string[]} names @param {string} target */
    download: (names, target) => execute(file, ['-q', ...options, 'download', ...names], { cwd: target }),
    /** The lists are some hundred MB once parsed; they are worth nothing after the download. */
    clean: () => rmSync(absolute, { recursive: true, force: true }),
  };
}

/** @param {'deb' | 'deb-src'} type */
function sourcesList(type) {
  const lines = machineSources().map(({ uri, suite, components, options }) =>
    [type, options === '' ? '' : `[${options}]`, uri, suite, ...components].filter((word) => word !== '').join(' '),
  );
  if (lines.length === 0) throw new SetupError('apt has no source of packages on this machine: /etc/apt names none');
  return `${lines.join('\n')}\n`;
}

/**
 * Where this machine gets its packages: `/etc/apt/sources.list`, `sources.list.d/*.list` and `sources.list.d/*.sources`.
 *
 * @returns {PackageSource[]}
 */
export function machineSources() {
  const directory = '/etc/apt/sources.list.d';
  const names = existsSync(directory) ? readdirSync(directory).sort() : [];
  const files = ['/etc/apt/sources.list', ...names.map((name) => path.join(directory, name))];
  const sources = files
    .filter((file) => existsSync(file))
    .flatMap((file) => {
      if (file.endsWith('.list')) return parseOneLineStyle(readFileSync(file, 'utf8'));
      if (file.endsWith('.sources')) return parseDeb822Style(readFileSync(file, 'utf8'));
      return [];
    });
  return sources.filter(({ uri }) => !uri.startsWith('cdrom:'));
}

/**
 * `deb [signed-by=/a.gpg] http://host/debian bookworm main contrib`, sources.list(5).
 *
 * @param {string} text
 * @returns {PackageSource[]}
 */
function parseOneLineStyle(text) {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (match === null) return [];
    const [, options = '', uri = '', suite = '', components = ''] = match;
    return [{ uri, suite, components: words(components), options: withoutArchitectures(options) }];
  });
}

/**
 * Stanzas of fields; every URI goes with every suite, sources.list(5).
 *
 * @param {string} text
 * @returns {PackageSource[]}
 */
function parseDeb822Style(text) {
  const stanzas = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .split(/\n\s*\n/);
  return stanzas.map(parseFields).flatMap((fields) => {
    if (!words(fields.get('types')).includes('deb') || fields.get('enabled') === 'no') return [];
    const signedBy = fields.get('signed-by');
    // A key in the stanza itself has no form on one line: its source is left out.
    if (signedBy?.includes('BEGIN PGP')) return [];
    const options = [signedBy === undefined ? '' : `signed-by=${words(signedBy).join(',')}`];
    if (fields.get('trusted') === 'yes') options.push('trusted=yes');
    return words(fields.get('uris')).flatMap((uri) =>
      words(fields.get('suites')).map((suite) => ({
        uri,
        suite,
        components: words(fields.get('components')),
        options: options.filter((option) => option !== '').join(' '),
      })),
    );
  });
}

/**
 * `Name: value` lines; a line that starts with a blank continues the one before. Names are lower case in the result.
 *
 * @param {string} stanza
 * @returns {Map<string, string>}
 */
export function parseFields(stanza) {
  const fields = new Map();
  let name = '';
  for (const line of stanza.split('\n')) {
    const match = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(line);
    if (match !== null) {
      name = match[1].toLowerCase();
      fields.set(name, match[2]);
    } else if (/^\s/.test(line) && name !== '') {
      fields.set(name, `${fields.get(name)}\n${line.trim()}`);
    }
  }
  return fields;
}

/** @param {string} options */
function withoutArchitectures(options) {
  return words(options)
    .filter((option) => !option.startsWith('arch'))
    .join(' ');
}

/** @param {string | undefined} text */
function words(text) {
  return (text ?? '').split(/\s+/).filter((word) => word !== '');
}
