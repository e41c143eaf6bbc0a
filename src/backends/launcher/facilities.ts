// `launcher probe`: each facility of this host, tried in a throwaway child.
import { spawn } from 'node:child_process';
import type { Feature } from '../../features/feature.ts';
import { readHost } from '../../host/read.ts';
import type { Facility, HostFacts } from '../../host/types.ts';
import type { BackendReport } from '../backend.ts';
import { noTreeRemedy } from './cgroups.ts';
import { launcherPath, remedyForLauncher } from './locate.ts';

/** Every trial has its own time limit inside the launcher; this one is for a launcher that does not answer at all. */
const PROBE_TIMEOUT_MS = 120_000;

/** The launcher did not do its work at all: a fact about this host like any other, and so no error of the library. */
export class ProbeFailure extends Error {
  readonly remedy: string;
  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

const attempts = new Map<string, Promise<readonly Facility[]>>();

/**
 * Lines of `launcher probe`, tried once per process and launcher.
 *
 * @throws {ProbeFailure} when the launcher cannot be run or does not finish.
 */
export function tryFacilities(
  launcher: string,
  host: Pick<HostFacts, 'user' | 'cgroups'>,
): Promise<readonly Facility[]> {
  let attempt = attempts.get(launcher);
  if (attempt === undefined) {
    attempt = runProbe(launcher, probeArguments(host));
    attempts.set(launcher, attempt);
    // A failure may have been one of the moment; the next caller tries again. Whoever awaits this attempt still sees it.
    attempt.catch(() => attempts.delete(launcher));
  }
  return attempt;
}

function probeArguments({ user, cgroups }: Pick<HostFacts, 'user' | 'cgroups'>): string[] {
  const words: string[] = [];
  for (const [controller, { directory }] of Object.entries(cgroups.parents))
    words.push(`--cgroup-${controller}`, directory);
  if (user.newuidmap !== undefined) words.push('--newuidmap', user.newuidmap.path);
  if (user.newgidmap !== undefined) words.push('--newgidmap', user.newgidmap.path);
  const [uids] = user.subuid;
  const [gids] = user.subgid;
  if (uids !== undefined) words.push('--subuid', `${uids.start}:${uids.size}`);
  if (gids !== undefined) words.push('--subgid', `${gids.start}:${gids.size}`);
  return words;
}

function runProbe(launcher: string, words: readonly string[]): Promise<readonly Facility[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(launcher, ['probe', ...words], { stdio: ['ignore', 'pipe', 'pipe'], env: {}, cwd: '/' });
    const output: Buffer[] = [];
    const complaints: Buffer[] = [];
    const timer = setTimeout(() => child.kill('SIGKILL'), PROBE_TIMEOUT_MS);
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => complaints.push(chunk));
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new ProbeFailure(`cannot run the launcher ${launcher}: ${error.message}`, remedyFor(error)));
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(parseFacilities(Buffer.concat(output).toString('utf8')));
      else reject(brokenLauncher(launcher, code, signal, Buffer.concat(complaints).toString('utf8')));
    });
  });
}

function remedyFor(error: NodeJS.ErrnoException): string {
  if (error.code === 'EACCES') return 'make it executable, on a file system that is not mounted noexec';
  return 'reinstall the package, or in a checkout build the launcher';
}

function brokenLauncher(launcher: string, code: number | null, signal: string | null, complaint: string): ProbeFailure {
  const how = signal === null ? `exit status ${code}` : `signal ${signal}`;
  const said = complaint.trim() === '' ? '' : `: ${complaint.trim()}`;
  return new ProbeFailure(`"${launcher} probe" ended with ${how}${said}`, remedyForLauncher(launcher));
}

/** Readers ignore members that they do not know, and lines that are no facility. */
export function parseFacilities(text: string): Facility[] {
  return text.split('\n').flatMap((line) => {
    const facility = line === '' ? undefined : parseFacility(line);
    return facility === undefined ? [] : [facility];
  });
}

function parseFacility(line: string): Facility | undefined {
  const value = parseObject(line);
  if (value === undefined) return undefined;
  const { facility, ok, detail, errno, step } = value;
  if (typeof facility !== 'string' || typeof ok !== 'boolean') return undefined;
  return {
    facility,
    ok,
    detail: typeof detail === 'string' ? detail : '',
    ...(typeof errno === 'string' ? { errno } : {}),
    ...(typeof step === 'string' ? { step } : {}),
  };
}

type FacilityMembers = { readonly [Name in keyof Facility]?: unknown };

function parseObject(line: string): FacilityMembers | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Of a backend that works: what does not depend on its tool but on this host is tried by itself. */
export async function withTriedFacilities(report: BackendReport): Promise<BackendReport> {
  return withFacilities(report, await tryFacilities(launcherPath(), readHost()));
}

interface Needed {
  readonly facility: string;
  readonly remedy: string;
}

const needed: Readonly<Partial<Record<Feature, Needed>>> = {
  'limits.cpuMs': { facility: 'cgroup.cpuacct', remedy: noTreeRemedy },
  'limits.cpus': { facility: 'cgroup.cpu', remedy: noTreeRemedy },
  'limits.memoryBytes': { facility: 'cgroup.memory', remedy: noTreeRemedy },
  'limits.pids': { facility: 'cgroup.pids', remedy: noTreeRemedy },
  'seccomp.notify': {
    facility: 'seccomp.notify',
    remedy: 'use Linux 5.5 or later, and no other supervisor of system calls around this process',
  },
  'limits.memoryBytes.approximate': { facility: 'smaps_rollup', remedy: 'use Linux 5.4 or later' },
  'limits.pids.approximate': { facility: 'rlimit.nproc', remedy: 'use Linux 5.14 or later, as an ordinary user' },
  'landlock.paths': { facility: 'landlock.truncate', remedy: 'use Linux 6.2 or later, with Landlock' },
  'landlock.tcp': { facility: 'landlock.tcp', remedy: 'use Linux 6.7 or later, with Landlock' },
  'landlock.scopes': { facility: 'landlock.scope', remedy: 'use Linux 6.12 or later, with Landlock' },
};

/** Pure: a report in which these features are there only where they were tried with success. */
export function withFacilities(report: BackendReport, facilities: readonly Facility[]): BackendReport {
  const features = new Map(report.features);
  for (const [feature, { facility: name, remedy }] of Object.entries(needed) as [Feature, Needed][]) {
    const facility = facilities.find((candidate) => candidate.facility === name);
    if (features.get(feature)?.available !== true || facility?.ok === true) continue;
    const call = [facility?.step, facility?.errno].filter((part) => part !== undefined).join(': ');
    const because = `${name}: ${facility?.detail ?? 'not tried by this launcher'}${call === '' ? '' : ` (${call})`}`;
    features.set(feature, { available: false, because, remedy });
  }
  return { ...report, features };
}
