// The same sandbox by other programs, as `run-sandbox explain --as` has it: mounts, namespaces and limits, as far as they can say them.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { explain } from '../../dist/index.js';
import { start } from './start.mjs';

/** Tools of `explain`, by the program that each needs. */
const tools = [
  ['bwrap', 'bwrap'],
  ['oci', 'crun'],
  ['runc', 'runc'],
  ['nspawn', 'systemd-nspawn'],
  ['firejail', 'firejail'],
];

const globalOptions = { crun: ['--cgroup-manager=disabled'], runc: ['--rootless=true'] };

let names = 0;

/** @param {string} program */
export function isInstalled(program) {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return directories.some((directory) => existsSync(join(directory, program)));
}

/**
 * @param {import('../../dist/index.js').SandboxSpec} spec
 * @param {readonly string[]} command
 * @param {string} directory for bundles
 * @param {readonly string[]} [only] programs
 * @returns {Promise<import('./harness.mjs').Way[]>}
 */
export async function samePeers(spec, command, directory, only = tools.map(([, program]) => program)) {
  const ways = [];
  for (const [as, program] of tools.filter(([, name]) => only.includes(name))) {
    const name = `${program}, the same sandbox`;
    if (!isInstalled(program)) ways.push({ name, absent: 'not installed' });
    else if (program === 'systemd-nspawn' && process.getuid() !== 0) ways.push({ name, absent: 'for root alone' });
    else ways.push(await peer(name, as, spec, command, directory));
  }
  return ways;
}

async function peer(name, as, spec, command, directory) {
  const place = join(directory, `${as}-${++names}`);
  mkdirSync(place, { recursive: true });
  try {
    const { equivalent } = await explain(spec, { as });
    const { argv, before, config, lacks } = equivalent;
    if (argv === undefined) return { name, absent: lacks.join('; ') };
    for (const line of before) execFileSync('sh', ['-c', line], { cwd: place, stdio: ['ignore', 'ignore', 'pipe'] });
    if (config === undefined) return { name, once: () => start([...argv, ...command], { cwd: place }) };
    const withCommand = { ...config, process: { ...config.process, args: command } };
    writeFileSync(join(place, 'config.json'), JSON.stringify(withCommand));
    // Without what an ordinary user may not have, and this bench does not ask for; and each container has a name of its own.
    const [runtime] = argv;
    const state = ['--root', join(place, 'state')];
    const once = () =>
      start([runtime, ...globalOptions[runtime], ...state, 'run', `bench-${process.pid}-${++names}`], { cwd: place });
    return { name, once };
  } catch (error) {
    return { name, absent: String(error.message).split('\n')[0] };
  }
}

/** What people type: all namespaces, and the whole host to be seen. */
export const bubblewrap = [
  'bwrap',
  '--unshare-all',
  '--die-with-parent',
  '--ro-bind',
  '/',
  '/',
  '--proc',
  '/proc',
  '--dev',
  '/dev',
];

/** Less than the same: what people type. */
export function shortPeers(command) {
  const all = [
    [
      'unshare',
      ['unshare', '--user', '--map-root-user', '--mount', '--pid', '--fork', '--net', '--ipc', '--uts', '--cgroup'],
    ],
    ['bwrap', bubblewrap],
  ];
  const names = { unshare: 'unshare, all namespaces, the host’s files', bwrap: 'bwrap --unshare-all, one bind of /' };
  return all.map(([program, argv]) =>
    isInstalled(program)
      ? { name: names[program], once: () => start([...argv, '--', ...command]) }
      : { name: names[program], absent: 'not installed' },
  );
}

/** In a variable, for it is no dependency of ours: it brings 19 MB. */
const sandboxRuntime = '@anthropic-ai/sandbox-runtime';

/**
 * The sandbox of agents' tools, where somebody installed it: the host's files read-only, and a network of proxies that let nothing through. It gives a line for a
 * shell for each command, which belongs to what a run costs.
 *
 * @param {readonly string[]} command
 * @returns {Promise<{ ways: import('./harness.mjs').Way[], dispose(): Promise<void> }>}
 */
export async function sandboxRuntimeWay(command) {
  const name = 'sandbox-runtime, no domain allowed';
  const absent = (reason) => ({ ways: [{ name, absent: reason }], dispose: async () => {} });
  let manager;
  try {
    ({ SandboxManager: manager } = await import(sandboxRuntime));
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') return absent(String(error.message).split('\n')[0]);
    return absent(`not installed: npm i --no-save --ignore-scripts ${sandboxRuntime}`);
  }
  try {
    await manager.initialize({
      network: { allowedDomains: [], deniedDomains: [] },
      filesystem: { denyRead: [], allowWrite: [], denyWrite: [] },
    });
  } catch (error) {
    // Of socat, ripgrep and bubblewrap, which it starts, it names the one that is not there.
    await manager.reset();
    return absent(String(error.message).split('\n')[0]);
  }
  const line = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const once = async () => {
    await start(['/bin/sh', '-c', await manager.wrapWithSandbox(line)]);
    manager.cleanupAfterCommand();
  };
  return { ways: [{ name, once }], dispose: () => manager.reset() };
}
