// The launcher's status lines, read as they come. Readers ignore members that they do not know.
import { type ExecReason, InternalError } from '../../errors/errors.ts';

export interface StartedLine {
  readonly event: 'started';
  /** Of the sandbox's init. */
  readonly pid: number;
  /** Of the launcher that says it. */
  readonly supervisor: number;
  /** Of a sandbox that holds them: its descriptors, in the order of `podNamespaces`. */
  readonly namespaces?: readonly number[];
}

export interface FailedLine {
  readonly event: 'failed';
  readonly step: string;
  readonly index?: number;
  readonly syscall?: string;
  readonly errno?: string;
  readonly path?: string;
  readonly reason?: ExecReason;
  readonly interpreter?: string;
  readonly detail?: string;
}

export interface EndedLine {
  readonly event: 'ended';
  readonly cause: 'command' | 'limit' | 'terminated' | 'signalled';
  readonly limit?: 'wallMs' | 'outputBytes' | 'cpuMs' | 'memoryBytes' | 'pids';
  readonly by?: NodeJS.Signals;
  readonly code?: number;
  readonly signal?: NodeJS.Signals;
  /** The call for which the seccomp filter ended the command: its number, and AUDIT_ARCH_* of its ABI. */
  readonly denied?: { readonly number: number; readonly audit: number };
  readonly stdoutTruncated: boolean;
  readonly stderrTruncated: boolean;
  /** The launcher lives on until the rest of these streams has been read, and says so of each. */
  readonly outputPending?: readonly (1 | 2)[];
  readonly outputBytes?: number;
  readonly wallMs: number;
  readonly cpuUserMs: number;
  readonly cpuSystemMs: number;
  readonly memoryBytes?: number;
  readonly pids?: number;
  readonly maxResidentBytes?: number;
  readonly readBytes?: number;
  readonly writtenBytes?: number;
  readonly voluntaryContextSwitches?: number;
  readonly involuntaryContextSwitches?: number;
}

/** A call that the filter asks about; it holds its slot until it is acknowledged. */
export interface SyscallLine {
  readonly event: 'syscall';
  readonly slot: number;
  readonly answer: 'log' | 'errno' | 'kill' | 'ask';
  readonly pid?: number;
  readonly number: number;
  readonly audit: number;
  readonly args: readonly string[];
}

/** As many bytes of the command's output follow the line, where output is collected (step `collect`). */
export interface OutputLine {
  readonly event: 'output';
  readonly stream: 1 | 2;
  readonly bytes: number;
}

/** The reader of a stream that was pending at the end has it all. */
export interface DeliveredLine {
  readonly event: 'delivered';
  readonly stream: 1 | 2;
}

export type StatusLine = StartedLine | FailedLine | EndedLine | SyscallLine | OutputLine | DeliveredLine;

/** Splits what arrives into lines; call it with every chunk. */
export function statusReader(onLine: (line: StatusLine) => void): (chunk: Buffer) => void {
  let rest = '';
  return (chunk) => {
    rest += chunk.toString('latin1');
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const text = rest.slice(0, end);
      rest = rest.slice(end + 1);
      onLine(parseStatusLine(text));
    }
  };
}

export function parseStatusLine(text: string): StatusLine {
  let line: unknown;
  try {
    // A reviver is called for each member, and nearly no line has anything to decode.
    line = text.includes('\\u') ? JSON.parse(text, decodeBytes) : JSON.parse(text);
  } catch (cause) {
    throw notOurs(text, cause);
  }
  if (!isStatusLine(line)) throw notOurs(text);
  return line;
}

const causes: ReadonlySet<unknown> = new Set<EndedLine['cause']>(['command', 'limit', 'terminated', 'signalled']);

/** As far as it has to be for what is made of it: SANDBOXLIB_LAUNCHER may name any program. */
function isStatusLine(value: unknown): value is StatusLine {
  if (typeof value !== 'object' || value === null) return false;
  const line = value as Partial<Record<keyof FailedLine | keyof EndedLine | keyof OutputLine, unknown>>;
  switch (line.event) {
    case 'failed':
      return typeof line.step === 'string';
    case 'ended':
      return (
        causes.has(line.cause) &&
        (line.outputPending === undefined || Array.isArray(line.outputPending)) &&
        (typeof line.code === 'number' || typeof line.signal === 'string' || line.cause !== 'command')
      );
    case 'output':
      return (line.stream === 1 || line.stream === 2) && Number.isSafeInteger(line.bytes);
    case 'syscall':
      return typeof (value as Partial<SyscallLine>).slot === 'number';
    default:
      return typeof line.event === 'string';
  }
}

const SHOWN_CHARACTERS = 200;

function notOurs(text: string, cause?: unknown): InternalError {
  return new InternalError(`the launcher wrote ${JSON.stringify(text.slice(0, SHOWN_CHARACTERS))}`, { cause });
}

/** The launcher escapes each byte beyond ASCII by its value; names are UTF-8 nearly always. */
function decodeBytes(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? Buffer.from(value, 'latin1').toString('utf8') : value;
}
