// Which names of /etc the host view shows: an allow list. Whatever is not named here does not exist in the sandbox: a root caller could
// otherwise read shadow, sudoers, ssh host keys and the private keys of TLS. A name is shown only when every user of the host may read it.
import { posix } from 'node:path';
import type { TopLevelEntry } from '../backends/backend.ts';
import type { HostFiles } from './files.ts';

const names: readonly string[] = [
  // The dynamic loader, and what chooses between installed versions of a program: without them commands do not start.
  ...['ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'alternatives', 'env.d'],
  // Names of users, groups, hosts, protocols and ports. passwd and group hold no secrets: those are in shadow and gshadow.
  ...['passwd', 'group', 'nsswitch.conf', 'hosts', 'host.conf', 'resolv.conf', 'gai.conf'],
  ...['protocols', 'services', 'rpc', 'networks', 'ethertypes', 'netconfig'],
  // Time zone, and which system this is: programs print it, build scripts branch on it.
  ...['localtime', 'timezone', 'os-release', 'lsb-release', 'debian_version', 'alpine-release', 'arch-release'],
  ...['redhat-release', 'fedora-release', 'centos-release', 'rocky-release', 'almalinux-release', 'oracle-release'],
  ...['system-release', 'system-release-cpe', 'SuSE-release', 'gentoo-release', 'slackware-version'],
  // Public certificates and the system's choice of ciphers. Never ssl/private, never pki/tls/private.
  ...['ssl/certs', 'ssl/openssl.cnf', 'ssl/cert.pem', 'ca-certificates', 'ca-certificates.conf', 'crypto-policies'],
  ...['pki/tls/certs', 'pki/tls/cert.pem', 'pki/tls/openssl.cnf', 'pki/ca-trust', 'pki/java'],
  // Locales.
  ...['locale.alias', 'locale.conf', 'locale.gen', 'default/locale'],
  // Shells, terminals and what new accounts look like.
  ...['profile', 'profile.d', 'bash.bashrc', 'bashrc', 'bash', 'zsh', 'zshrc', 'zshenv', 'zprofile', 'fish', 'inputrc'],
  ...['terminfo', 'shells', 'skel', 'login.defs', 'DIR_COLORS'],
  // Kinds of files, manual pages, fonts, paper: read by file(1), man(1) and anything that draws.
  ...['magic', 'magic.mime', 'mime.types', 'mailcap', 'manpath.config', 'man_db.conf', 'papersize', 'fonts', 'groff'],
  // Languages and their package tools. Not npmrc, pip.conf, gemrc, gitconfig, maven/settings.xml: they carry proxies and credentials.
  ...[
    'perl',
    'php',
    'ruby',
    'maven/m2.conf',
    'maven/logging',
    'maven/toolchains.xml',
    'gradle',
    'ghc',
    'emacs',
    'vim',
    'vimrc',
    'nanorc',
    'R',
    'julia',
    'lua',
  ],
  ...['java', 'jvm', 'jvm-common', 'dotnet', 'OpenCL', 'clang', 'gdb', 'libibverbs.d', 'openmpi'],
  // Packaging and document tools of builds.
  ...['dpkg', 'debhelper', 'rpm', 'rpmlint', 'xml', 'sgml', 'texmf', 'libpaper.d', 'asciidoc'],
  // Toolkits and what finds graphics drivers.
  ...[
    'gtk-2.0',
    'gtk-3.0',
    'gtk-4.0',
    'xdg',
    'glvnd',
    'vulkan',
    'X11/rgb.txt',
    'X11/xkb',
    'ImageMagick-6',
    'ImageMagick-7',
  ],
];

/** Versioned names: one directory of /etc tells which there are. */
const families: readonly RegExp[] = [
  /^java-[\w.-]+$/,
  /^python[23](\.\d+)?$/,
  /^postgresql-common$/,
  /^(php|ruby|lua|openmpi|clang|llvm)-?\d[\w.-]*$/,
  /^ld-musl-[\w-]+\.(path|d)$/,
];

/** The entries of /etc that the host view shows, sorted by name; nested ones as `ssl/certs`. */
export function readEtcEntries(files: HostFiles, topLevelNames: ReadonlySet<string>): TopLevelEntry[] {
  const listing = files.readdir('/etc');
  if (listing === undefined) return [];
  const present = new Set(listing);
  const candidates = new Set<string>();
  for (const name of names) if (present.has(firstComponent(name))) candidates.add(name);
  for (const name of listing) if (families.some((family) => family.test(name))) candidates.add(name);
  const shown = (path: string): boolean => isShown(path, candidates, topLevelNames);
  const entries: TopLevelEntry[] = [];
  for (const name of [...candidates].sort()) {
    const entry = readEntry(files, '/etc', name, shown);
    if (entry !== undefined) entries.push(entry);
  }
  return entries;
}

/**
 * One entry of a directory as the sandbox will see it. A symlink stays one where its target is shown too; else its target is bound in its
 * place, such as /run/systemd/resolve/stub-resolv.conf for resolv.conf.
 */
export function readEntry(
  files: HostFiles,
  parent: string,
  name: string,
  shown: (absolutePath: string) => boolean,
): TopLevelEntry | undefined {
  const path = posix.join(parent, name);
  const own = files.lstat(path);
  if (own === undefined || !parentsAreOpen(files, parent, name)) return undefined;
  if (own.kind === 'symlink') {
    const target = files.readlink(path);
    if (target === undefined) return undefined;
    if (shown(posix.resolve(posix.dirname(path), target))) return { name, kind: 'symlink', target };
  }
  const found = own.kind === 'symlink' ? files.stat(path) : own;
  if (found?.kind === 'file' && (found.mode & 0o004) !== 0) return { name, kind: 'file', target: undefined };
  if (found?.kind === 'directory' && (found.mode & 0o005) === 0o005)
    return { name, kind: 'directory', target: undefined };
  return undefined;
}

/** For a nested name: a directory above it that not every user may enter hides it from all but root, and so from the sandbox. */
function parentsAreOpen(files: HostFiles, parent: string, name: string): boolean {
  const above = posix.dirname(name);
  if (above === '.') return true;
  const facts = files.stat(posix.join(parent, above));
  return facts?.kind === 'directory' && (facts.mode & 0o001) !== 0 && parentsAreOpen(files, parent, above);
}

function isShown(path: string, etcNames: ReadonlySet<string>, topLevelNames: ReadonlySet<string>): boolean {
  return path.startsWith('/etc/') ? liesIn(etcNames, path.slice('/etc/'.length)) : liesIn(topLevelNames, path.slice(1));
}

/** Whether `relativePath` or a directory above it is one of `names`. */
function liesIn(names: ReadonlySet<string>, relativePath: string): boolean {
  for (let end = relativePath.length; end > 0; end = relativePath.lastIndexOf('/', end - 1))
    if (names.has(relativePath.slice(0, end))) return true;
  return false;
}

function firstComponent(name: string): string {
  return name.split('/', 1)[0] ?? name;
}
