// Cold start of /bin/true from this process, each way in turn, so that noise hits all alike: medians and ratios to plain spawn.
// Usage: npm run bench [-- ROUNDS]
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createSandbox } from '../dist/index.js';

const rounds = Number(process.argv[2] ?? 60);
const sandbox = await createSandbox({});
const { steps } = sandbox.plan.detail;

function plain(file, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stdout.resume();
    child.stderr.on('data', (chunk) => {
      said += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`${file}: ${said}`))));
  });
}

/** bubblewrap, asked for the same mounts and symlinks, in the same order. */
function sameForBubblewrap() {
  const args = [
    '--unshare-all',
    '--die-with-parent',
    '--new-session',
    '--clearenv',
    '--setenv',
    'PATH',
    '/usr/bin:/bin',
  ];
  for (const step of steps) {
    const path = step.destination ?? step.path;
    if (path === undefined || path.startsWith('/dev')) continue;
    if (step.step === 'symlink') args.push('--symlink', step.target, path);
    if (step.step !== 'mount') continue;
    if (step.kind === 'bind') args.push(step.flags.includes('readonly') ? '--ro-bind' : '--bind', step.source, path);
    if (step.kind === 'tmpfs') args.push('--tmpfs', path);
    if (step.kind === 'proc') args.push('--proc', path);
  }
  return [...args, '--dev', '/dev', '--', '/bin/true'];
}

const ways = [
  ['plain spawn', () => plain('/bin/true', [])],
  ['sandboxlib', () => sandbox.run(['/bin/true']).then((result) => result.assertSuccess())],
];
if (existsSync('/usr/bin/bwrap')) {
  const args = sameForBubblewrap();
  const few = ['--unshare-all', '--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev', '/bin/true'];
  ways.push(['bwrap --unshare-all, same mounts', () => plain('/usr/bin/bwrap', args)]);
  ways.push(['bwrap --unshare-all, one bind of /', () => plain('/usr/bin/bwrap', few)]);
} else {
  console.log('bubblewrap is not installed: not compared');
}

const times = new Map(ways.map(([name]) => [name, []]));
for (const [, run] of ways) await run();
for (let round = 0; round < rounds; round++) {
  for (const [name, run] of ways) {
    const start = performance.now();
    await run();
    times.get(name).push(performance.now() - start);
  }
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const base = median(times.get('plain spawn'));
console.log(`/bin/true from Node ${process.version}, ${rounds} rounds, ${steps.length} steps in the plan`);
for (const [name, values] of times) {
  const value = median(values);
  console.log(
    `${name.padEnd(36)} ${value.toFixed(2).padStart(8)} ms  ${(value / base).toFixed(2).padStart(6)} of plain spawn`,
  );
}
await sandbox.dispose();
