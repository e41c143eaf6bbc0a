// The processes of a launcher server that this process started.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, vi } from 'vitest';
import { endServers } from '../../src/backends/launcher/server.ts';

/** For a test file: each test has servers of its own, from the first run on. */
export function serveAll(): void {
  beforeEach(() => {
    vi.stubEnv('SANDBOXLIB_SERVER', 'always');
    vi.stubEnv('SANDBOXLIB_BACKEND', 'native');
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await endServers();
  });
}

const readIfThere = (file: string): string => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // The process is gone by now.
    return '';
  }
};
export const childrenOf = (pid: number | string): string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter(
      (name) =>
        readIfThere(`/proc/${name}/stat`)
          .replace(/^.*\) /s, '')
          .split(' ')[1] === String(pid),
    );
const isServer = (pid: string): boolean => readIfThere(`/proc/${pid}/cmdline`).includes('serve\0--lanes\0');
export const servers = (): string[] => childrenOf(process.pid).filter(isServer);
export const supervisors = (): string[] => servers().flatMap(childrenOf);
export const inits = (): string[] => supervisors().flatMap(childrenOf);

export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never: ${condition.toString()}`);
    await delay(2);
  }
}

/** Without a number kill(2) would take 0, which is everybody here. */
export function sendSignal(pid: string | number | undefined, signal: NodeJS.Signals): void {
  if (!/^[1-9]\d*$/.test(String(pid))) throw new Error(`there is no process to send ${signal} to`);
  process.kill(Number(pid), signal);
}

/** SIGKILLs, in turn to a server, a supervisor and an init of a sandbox, at moments of no kind. */
export async function killAnything(kills: number): Promise<void> {
  const kinds = [servers, supervisors, inits];
  for (let kill = 0; kill < kills; kill++) {
    await delay(kill % 23);
    const victim = kinds[kill % kinds.length]?.().at(-1);
    if (victim === undefined) continue;
    try {
      sendSignal(victim, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}
