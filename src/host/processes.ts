// Processes of this host.
import { readFileSync } from 'node:fs';

/** When a process began, in clock ticks after the boot (proc_pid_stat(5), field 22): with its number, it is of one process only. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // After the name, which may hold anything: field 3 is the first of these.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
