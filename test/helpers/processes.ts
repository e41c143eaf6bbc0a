// Processes of this host, found by something in their command line that nobody else has there.
import { readdirSync, readFileSync } from 'node:fs';

/** Their pids; those that only wait to be reaped have no command line any more. */
export function processesWith(marker: string): string[] {
  return pids().filter((pid) => commandLine(pid).includes(marker));
}

/** Of every process of this host. */
export function commandLines(): string[] {
  return pids().map(commandLine);
}

function pids(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    // Gone between the two looks.
    return '';
  }
}
