// A virtual machine of 64-bit Arm, emulated: Debian's kernel, a static busybox, and what a test puts beside them. qemu-user cannot stand in: it has
// neither seccomp filters nor the namespaces and mounts that the launcher makes.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { buildDirectory } from '../../scripts/lib/paths.mjs';
import { privateApt } from '../../scripts/lib/private-apt.mjs';
import { execute, SetupError, which } from '../../scripts/lib/steps.mjs';

const QEMU = 'qemu-system-aarch64';
const BOOT_LIMIT_MS = 120_000;
const memory = '512';

/** @returns {string | undefined} why there can be no machine here */
export function whyNoMachine() {
  for (const tool of [QEMU, 'apt-get', 'dpkg-deb']) if (which(tool) === undefined) return `${tool} is not on PATH`;
  return undefined;
}

/**
 * Kernel and busybox, fetched once and kept below build/.
 *
 * @returns {Promise<{ kernel: string, busybox: string }>}
 * @throws {SetupError} when they cannot be fetched
 */
export async function fetchMachine() {
  const directory = path.join(buildDirectory, 'arm64-vm');
  const found = { kernel: path.join(directory, 'kernel'), busybox: path.join(directory, 'busybox') };
  if (existsSync(directory)) return found;
  const work = `${directory}.${process.pid}`;
  try {
    mkdirSync(work, { recursive: true });
    const apt = privateApt(path.join(work, 'apt'), { type: 'deb', architecture: 'arm64' });
    await apt.update();
    const image = await kernelPackage(apt, work);
    await unpack(apt, image, work, /^\/boot\/vmlinuz-/, path.join(work, 'kernel'));
    await unpack(apt, 'busybox-static', work, /^\/bin\/busybox$/, path.join(work, 'busybox'));
    apt.clean();
    renameSync(work, directory);
    return found;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * `linux-image-cloud-arm64` is empty; the kernel is in what it depends on.
 *
 * @param {ReturnType<typeof privateApt>} apt
 * @param {string} work
 */
async function kernelPackage(apt, work) {
  const archive = await download(apt, 'linux-image-cloud-arm64', work);
  const depends = await execute('dpkg-deb', ['--field', archive, 'Depends']);
  const name = /linux-image-[^\s,]+/.exec(depends)?.[0];
  if (name === undefined) throw new SetupError(`linux-image-cloud-arm64 depends on no kernel: ${depends}`);
  return name;
}

/**
 * @param {ReturnType<typeof privateApt>} apt
 * @param {string} name
 * @param {string} work
 */
async function download(apt, name, work) {
  const target = path.join(work, name);
  mkdirSync(target);
  await apt.download([name], target);
  const archive = readdirSync(target).find((file) => file.endsWith('.deb'));
  if (archive === undefined) throw new SetupError(`apt-get download ${name} left no package`);
  return path.join(target, archive);
}

/**
 * Moves one file of a package to `to`.
 *
 * @param {ReturnType<typeof privateApt>} apt
 * @param {string} name
 * @param {string} work
 * @param {RegExp} wanted
 * @param {string} to
 */
async function unpack(apt, name, work, wanted, to) {
  const archive = await download(apt, name, work);
  const root = path.join(work, `${name}.root`);
  await execute('dpkg-deb', ['--extract', archive, root]);
  const files = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
  const file = files.find((candidate) => wanted.test(candidate.slice(root.length)));
  if (file === undefined) throw new SetupError(`${name} has no file like ${wanted}`);
  renameSync(file, to);
  rmSync(root, { recursive: true });
  rmSync(path.dirname(archive), { recursive: true });
}

/**
 * Boots the machine with `files` in its root and runs `script` as its init, after /proc, /sys and /dev were mounted.
 *
 * @param {{ files: Record<string, Uint8Array>, script: string, directory: string }} options `directory`: for temporary files
 * @returns {Promise<string>} what it wrote to its console
 */
export async function boot({ files, script, directory }) {
  const { kernel, busybox } = await fetchMachine();
  const initramfs = path.join(directory, 'initramfs');
  writeFileSync(initramfs, makeInitramfs(readFileSync(busybox), files, script));
  const args = [
    ...['-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
    ...['-machine', 'virt', '-cpu', 'cortex-a57', '-m', memory, '-kernel', kernel, '-initrd', initramfs],
    ...['-append', 'quiet loglevel=0 panic=-1 console=ttyAMA0'],
  ];
  try {
    return await consoleOf(args);
  } finally {
    rmSync(initramfs, { force: true });
  }
}

/**
 * @param {readonly string[]} args
 * @returns {Promise<string>}
 */
function consoleOf(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(QEMU, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    let complaints = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), BOOT_LIMIT_MS);
    child.stdout.setEncoding('latin1').on('data', (chunk) => {
      text += chunk;
    });
    child.stderr.setEncoding('latin1').on('data', (chunk) => {
      complaints += chunk;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const how = signal ?? `status ${code}`;
      if (code === 0) resolve(text.replaceAll('\r\n', '\n'));
      else reject(new Error(`${QEMU} ended with ${how}\n${complaints}\n${text}`));
    });
  });
}

/** The root of an initramfs cannot be left by pivot_root(2), so everything moves to a tmpfs first. */
const firstScript = `#!/bin/busybox sh
/bin/busybox mount -t tmpfs -o mode=0755 tmpfs /new
/bin/busybox cp -a /bin /files /second /new/
/bin/busybox mkdir /new/proc /new/sys /new/dev /new/tmp
exec /bin/busybox switch_root /new /second
`;

const secondStart = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
chmod 1777 /tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/mqueue
ip link set lo up
exec </dev/null >/dev/console 2>&1
`;

/**
 * @param {Uint8Array} busybox
 * @param {Record<string, Uint8Array>} files
 * @param {string} script
 */
function makeInitramfs(busybox, files, script) {
  const entries = [
    ...['dev', 'new', 'bin', 'files', ...new Set(directoriesOf(files))].map((name) => cpioEntry(name, 0o040755)),
    cpioEntry('dev/console', 0o020600, Buffer.alloc(0), [5, 1]),
    cpioEntry('bin/busybox', 0o100755, busybox),
    cpioEntry('init', 0o100755, Buffer.from(firstScript)),
    cpioEntry('second', 0o100755, Buffer.from(`${secondStart}${script}\nsync\npoweroff -f\n`)),
    ...Object.entries(files).map(([name, content]) => cpioEntry(`files/${name}`, 0o100755, content)),
    cpioEntry('TRAILER!!!', 0),
  ];
  return Buffer.concat(entries);
}

/** @param {Record<string, Uint8Array>} files */
function directoriesOf(files) {
  return Object.keys(files)
    .filter((name) => name.includes('/'))
    .map((name) => `files/${path.dirname(name)}`);
}

let inode = 1;

/**
 * One file in the format "newc", cpio(5): a head of hexadecimal numbers, the name, the content, each padded to four bytes.
 *
 * @param {string} name
 * @param {number} mode
 * @param {Uint8Array} [content]
 * @param {readonly [number, number]} [device]
 */
function cpioEntry(name, mode, content = Buffer.alloc(0), device = [0, 0]) {
  const numbers = [inode++, mode, 0, 0, 1, 0, content.length, 0, 0, ...device, name.length + 1, 0];
  const head = `070701${numbers.map((number) => number.toString(16).padStart(8, '0')).join('')}${name}\0`;
  return Buffer.concat([padded(Buffer.from(head, 'latin1')), padded(content)]);
}

/** @param {Uint8Array} bytes */
function padded(bytes) {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
