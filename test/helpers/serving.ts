// The processes of a launcher server that this process started.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

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
