// JSON lines for programs: what happens, on a descriptor of their choice. Readers ignore members that they do not know.
import { isNodesOwn, openedFile } from '../host/descriptors.ts';
import type { RunEvent, RunResult } from '../run/types.ts';
import { writeAll } from './write.ts';

export interface StatusLine {
  readonly event: 'planned' | 'started' | 'syscall' | 'result' | 'error';
  readonly [member: string]: unknown;
}

export class StatusWriter {
  readonly #fd: number | undefined;
  readonly #finalOnStderr: boolean;

  /** `finalOnStderr`: where there is no descriptor, the last line goes to stderr. */
  constructor(fd: number | undefined, finalOnStderr: boolean) {
    this.#fd = fd;
    this.#finalOnStderr = finalOnStderr;
  }

  event(event: RunEvent): void {
    if (this.#fd === undefined) return;
    if (event.kind === 'planned') this.#write(this.#fd, { event: 'planned', backend: event.backend });
    else if (event.kind === 'started') this.#write(this.#fd, { event: 'started', pid: event.pid });
    else if (event.kind === 'syscall') this.#write(this.#fd, { event: 'syscall', ...event.call });
  }

  /** Exactly one of these two closes the stream. */
  result(result: RunResult, exitStatus: number): void {
    const { command, outcome, exitCode, signal, usage, enforcement, syscalls } = result;
    const { id, directory, entries } = result.changes ?? {};
    const changes = result.changes && { id, directory, number: entries?.length };
    this.#final({
      event: 'result',
      command,
      outcome,
      exitCode,
      signal,
      exitStatus,
      usage,
      enforcement,
      syscalls,
      changes,
    });
  }

  error(error: Error, exitStatus: number): void {
    const { name, cause, ...members } = Object.fromEntries(Object.entries(error));
    const because = cause instanceof Error ? { cause: cause.message } : {};
    this.#final({ event: 'error', ...members, ...because, message: error.message, exitStatus });
  }

  #final(line: StatusLine): void {
    const fd = this.#fd ?? (this.#finalOnStderr ? 2 : undefined);
    if (fd !== undefined) this.#write(fd, line);
  }

  /** A reader that went away misses the rest: the run is not its business alone. */
  #write(fd: number, line: StatusLine): void {
    writeAll(fd, `${JSON.stringify(line)}\n`);
  }
}

/** Why nothing can be written to `fd` for the caller. */
export function checkDescriptor(fd: number): string | undefined {
  const opened = openedFile(fd);
  const remedy = `open it as in: run-sandbox --status-fd ${fd} ... ${fd}>FILE`;
  if (opened === undefined || isNodesOwn(fd, opened)) return `descriptor ${fd} is not open here; ${remedy}`;
  return opened.writable ? undefined : `descriptor ${fd} is not open for writing; ${remedy}`;
}
