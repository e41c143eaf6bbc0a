// The launcher's last line, as the end of a run.
import type { LaunchEnd, Usage } from '../backend.ts';
import type { EndedLine } from './status.ts';

export function launchEnd(line: EndedLine): LaunchEnd {
  const usage: { -readonly [Name in keyof Usage]: Usage[Name] } = {
    wallMs: line.wallMs,
    cpuUserMs: line.cpuUserMs,
    cpuSystemMs: line.cpuSystemMs,
  };
  for (const name of counts) {
    const count = line[name];
    if (count !== undefined) usage[name] = count;
  }
  return {
    code: line.code,
    signal: line.signal,
    cause: causeOf(line),
    ...(line.denied === undefined ? {} : { denied: line.denied }),
    stdoutTruncated: line.stdoutTruncated,
    stderrTruncated: line.stderrTruncated,
    usage,
  };
}

/** What the launcher tells where it knows it. */
const counts = [
  'outputBytes',
  'memoryBytes',
  'pids',
  'maxResidentBytes',
  'readBytes',
  'writtenBytes',
  'voluntaryContextSwitches',
  'involuntaryContextSwitches',
] as const satisfies readonly (keyof Usage & keyof EndedLine)[];

function causeOf(line: EndedLine): LaunchEnd['cause'] {
  switch (line.cause) {
    case 'limit':
      return { kind: 'limit', limit: line.limit ?? 'wallMs' };
    case 'signalled':
      return { kind: 'signalled', signal: line.by ?? 'SIGTERM' };
    case 'terminated':
      return { kind: 'terminated' };
    case 'command':
      return { kind: 'command' };
  }
}
