// Debian's docker-registry on loopback.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { findCommand } from './requires.ts';

export interface Registry {
  readonly host: string;
  close(): Promise<void>;
}

/** What it stores is in `directory`; `more`: lines of its configuration. */
export async function startRegistry(directory: string, more = ''): Promise<Registry> {
  const host = `127.0.0.1:${await freePort()}`;
  const config = `${directory}.yml`;
  writeFileSync(
    config,
    `version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: ${directory}\nhttp:\n  addr: ${host}\n${more}`,
  );
  const process = spawn(findCommand('docker-registry') ?? '', ['serve', config], { stdio: 'ignore' });
  // The hook's own time ends a registry that never comes up.
  while (!(await answers(host))) await new Promise((resolve) => setTimeout(resolve, 100));
  return { host, close: () => end(process) };
}

async function end(process: ChildProcess): Promise<void> {
  process.kill('SIGKILL');
  if (process.exitCode === null && process.signalCode === null) await once(process, 'exit');
}

async function answers(host: string): Promise<boolean> {
  try {
    return [200, 401].includes((await fetch(`http://${host}/v2/`)).status);
  } catch {
    // Nobody listens there yet.
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
