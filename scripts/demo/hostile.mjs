// Builds the hostile package of examples/hostile, and then looks at the host: what the package says of itself is not evidence.
import { createHash, randomUUID } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inProject } from '../lib/paths.mjs';
import { SetupError } from '../lib/steps.mjs';
import { buildSpec } from './build.mjs';

/**
 * @param {import('./build.mjs').Library} library
 * @param {string} work
 * @param {import('./build.mjs').Where} where
 */
export async function buildHostile({ createSandbox }, work, where) {
  const source = path.join(work, 'hostile');
  cpSync(inProject('examples', 'hostile'), source, { recursive: true });
  const sandbox = await createSandbox(buildSpec(source, where));
  if (sandbox.enforcement.backend === 'none')
    throw new SetupError('the hostile package is not built without a sandbox: unset SANDBOXLIB_BACKEND');
  const host = await prepareHost(work);
  try {
    const variables = {
      SECRET: host.secret,
      LOOPBACK_PORT: host.port,
      BUILDER_PID: process.pid,
      DAEMON_NAME: host.daemonName,
      HOME: process.env.HOME ?? '/root',
    };
    const assignments = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    const result = await sandbox.run(['make', '--silent', ...assignments], { stderr: 'stdout' });
    const attempts = parseAttempts(String(result.stdout));
    if (result.exitCode !== 0)
      throw new SetupError(`the hostile package does not build in the sandbox:\n${result.stdout}`);
    return { attempts, harm: await host.inspect() };
  } finally {
    await host.close();
    await sandbox.dispose();
  }
}

/** Things worth attacking that belong to nobody: a secret, a service on the loopback interface. */
async function prepareHost(work) {
  const secret = path.join(work, 'host', 'secret');
  mkdirSync(path.dirname(secret), { recursive: true });
  writeFileSync(secret, randomUUID(), { mode: 0o600 });
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const daemonName = `hostile-daemon-${randomUUID()}`;
  const before = fingerprint(secret);
  return {
    secret,
    daemonName,
    port: server.address().port,
    /** What is different on the host now, one line each. */
    async inspect() {
      const after = fingerprint(secret);
      const changed = Object.keys(before).filter((name) => before[name] !== after[name]);
      return [
        ...changed.map((name) => `${name} changed from ${before[name]} to ${after[name]}`),
        ...(connections === 0 ? [] : [`${connections} connection(s) reached a service of the host`]),
        ...(await daemons(daemonName)).map((pid) => `the daemon is alive as process ${pid}`),
      ];
    },
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

/** @param {string} secret */
function fingerprint(secret) {
  const contents = [secret, '/etc/passwd'].map((file) => [
    file,
    createHash('sha256').update(readFileSync(file)).digest('hex'),
  ]);
  const presence = ['/usr/bin/hostile', '/etc/hostile'].map((file) => [file, existsSync(file) ? 'present' : 'absent']);
  return Object.fromEntries([...contents, ...presence]);
}

/**
 * Processes that carry the name on their command line. One that was killed a moment ago may still be on its way out.
 *
 * @param {string} name
 */
async function daemons(name) {
  for (let attempt = 0; ; attempt++) {
    const found = readdirSync('/proc').filter(
      (pid) => /^\d+$/.test(pid) && commandLine(pid).includes(name) && pid !== String(process.pid),
    );
    if (found.length === 0 || attempt === 40) return found;
    await delay(50);
  }
}

/** @param {string} pid */
function commandLine(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    // It ended between the listing and the look.
    return '';
  }
}

/** @param {string} output */
function parseAttempts(output) {
  return output
    .split('\n')
    .map((line) => line.split('\t'))
    .filter((parts) => parts.length === 3)
    .map(([verb, answer, what]) => ({ verb, answer, what }));
}
