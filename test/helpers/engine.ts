// A container engine for the time of the tests, where root can have one. It is in a network and a mount namespace of its own, so that it changes nothing of
// the machine's; what it keeps is in memory there. Its socket is the only thing of it that is to be seen from outside.
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ordinaryUser } from './as-user.ts';

const READY_MS = 60_000;
const END_MS = 30_000;
const POLL_MS = 50;
const GROUPS = '/sys/fs/cgroup';
const GROUP_PREFIX = 'sandboxlib-test-engine-';

/** Unpacked by the set-up where they are not installed (scripts/lib/engine.mjs). */
const unpacked = ['usr/bin', 'usr/sbin'].map((name) =>
  fileURLToPath(new URL(`../../build/engine/${name}`, import.meta.url)),
);

/**
 * Starts an engine, lets PATH and DOCKER_HOST lead to it, and returns what ends it. Where none can be had, or the caller has named one, it does nothing:
 * test/helpers/closed-backends.ts says what is skipped then.
 */
export async function startEngine(): Promise<(() => Promise<void>) | undefined> {
  process.env['PATH'] = [process.env['PATH'], ...unpacked.filter((name) => existsSync(name))].join(delimiter);
  if (process.getuid?.() !== 0 || process.env['DOCKER_HOST'] !== undefined || !hasPrograms()) return undefined;
  const directory = mkdtempSync(join(tmpdir(), 'sandboxlib-test-engine-'));
  chmodSync(directory, 0o755);
  const group = `${GROUP_PREFIX}${process.pid}`;
  removeGroups(isOfNobody);
  const socket = join(directory, 'engine.sock');
  let said = '';
  const engine = spawn('setpriv', engineArgs(directory, socket, group), { stdio: ['ignore', 'ignore', 'pipe'] });
  engine.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4096);
  });
  const end = async (): Promise<void> => {
    await endEngine(engine);
    removeGroups((name) => name === group);
    rmSync(directory, { recursive: true, force: true });
  };
  if (!(await isReady(engine, socket))) {
    await end();
    process.stderr.write(`no container engine for the tests:\n${said}\n`);
    return undefined;
  }
  // Who reaches it is root of the machine: nobody else does.
  chownSync(socket, ordinaryUser.uid ?? 0, ordinaryUser.gid ?? 0);
  chmodSync(socket, 0o600);
  process.env['DOCKER_HOST'] = `unix://${socket}`;
  return end;
}

function hasPrograms(): boolean {
  const directories = (process.env['PATH'] ?? '').split(delimiter);
  const names = ['docker', 'dockerd', 'containerd', 'runc', 'unshare', 'setpriv', 'ip'];
  return names.every((name) => directories.some((directory) => existsSync(join(directory, name))));
}

/** Ends when this process does, however that ends. Of /etc it has a copy in memory, for it writes a key there. */
function engineArgs(directory: string, socket: string, group: string): string[] {
  const memory = join(directory, 'memory');
  mkdirSync(memory);
  const script = [
    'set -e',
    'ip link set lo up',
    'mount -t tmpfs tmpfs /run',
    'mount -t tmpfs tmpfs "$1"',
    'mkdir "$1/data" "$1/exec" "$1/etc" "$1/work"',
    'mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" overlay /etc',
    'exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$2" --cgroup-parent "/$3"' +
      ' --storage-driver vfs --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false',
  ].join('\n');
  return [
    ...['--pdeathsig', 'TERM', 'unshare', '--mount', '--net', 'sh', '-c', script, 'sh'],
    ...[memory, socket, group],
  ];
}

async function isReady(engine: ChildProcess, socket: string): Promise<boolean> {
  const deadline = performance.now() + READY_MS;
  while (engine.exitCode === null && engine.signalCode === null && performance.now() < deadline) {
    if (await answers(socket)) return true;
    await delay(POLL_MS);
  }
  return false;
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({ socketPath: socket, path: '/_ping' }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asked.on('error', () => resolve(false));
    asked.end();
  });
}

/** It ends its containerd first. */
async function endEngine(engine: ChildProcess): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    if (engine.exitCode !== null || engine.signalCode !== null) resolve();
    else engine.once('exit', () => resolve());
  });
  engine.kill('SIGTERM');
  await Promise.race([ended, delay(END_MS, undefined, { ref: false })]);
  if (engine.exitCode === null && engine.signalCode === null) throw new Error(`dockerd (${engine.pid}) does not end`);
}

/** Those that all containers of an engine were in; each removed its own. */
function removeGroups(chosen: (name: string) => boolean): void {
  const trees = existsSync(GROUPS) ? readdirSync(GROUPS).map((tree) => join(GROUPS, tree)) : [];
  for (const tree of [GROUPS, ...trees]) {
    const names = statSync(tree).isDirectory() ? readdirSync(tree).filter(chosen) : [];
    for (const name of names) rmdirSync(join(tree, name));
  }
}

/** Of tests that were killed: their engine ended with them, and nobody was left to remove its groups. */
function isOfNobody(name: string): boolean {
  return name.startsWith(GROUP_PREFIX) && !existsSync(`/proc/${name.slice(GROUP_PREFIX.length)}`);
}
