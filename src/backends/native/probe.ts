// What the launcher can do on this host: it tries each facility in throwaway children, and a table says which features need which.
import { spawn } from 'node:child_process';
import type { MissingFeature } from '../../errors/errors.ts';
import type { Availability, Feature } from '../../features/feature.ts';
import { diagnose } from '../../host/findings.ts';
import { readHost } from '../../host/read.ts';
import type { Facility, Finding, HostFacts, UserFacts } from '../../host/types.ts';
import { type Architecture, architectures } from '../../spec/architectures.ts';
import type { BackendReport } from '../backend.ts';
import { remedyForLauncher } from '../launcher/locate.ts';
import { mechanismOf } from './applied.ts';
import { describeEmulation, findEmulation, INSTALL } from './binfmt.ts';
import { always, type Need, needsOf, needsOfEmulation } from './needs.ts';
import { recognized } from './recognized.ts';

/** Every trial has its own time limit inside the launcher; this one is for a launcher that does not answer at all. */
const PROBE_TIMEOUT_MS = 120_000;

/** Tries everything on this host, leaves nothing behind, and says of each recognized feature whether it is there, or why not. */
export async function probeNative(launcher: string): Promise<BackendReport> {
  const host = readHost();
  try {
    return judge(await tryFacilities(launcher, host.user), host, launcher);
  } catch (error) {
    if (!(error instanceof ProbeFailure)) throw error;
    return refuseAll({ available: false, because: error.message, remedy: error.remedy });
  }
}

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
export function tryFacilities(launcher: string, user: UserFacts): Promise<readonly Facility[]> {
  let attempt = attempts.get(launcher);
  if (attempt === undefined) {
    attempt = runProbe(launcher, probeArguments(user));
    attempts.set(launcher, attempt);
    // A failure may have been one of the moment; the next caller tries again. Whoever awaits this attempt still sees it.
    attempt.catch(() => attempts.delete(launcher));
  }
  return attempt;
}

/** Pure: what the trials mean for each feature. */
export function judge(facilities: readonly Facility[], host: HostFacts, launcher: string | undefined): BackendReport {
  const findings = diagnose({ host, facilities, launcher });
  const tried = new Map(facilities.map((facility) => [facility.facility, facility]));
  const decide = (needs: readonly Need[], feature: Feature | undefined, mechanism: string): Availability => {
    for (const need of needs) {
      const failure = unmet(need, tried);
      if (failure !== undefined) return unavailable(failure, feature, findings);
    }
    return { available: true, mechanism };
  };
  const features = new Map<Feature, Availability>();
  for (const feature of recognized) {
    if (feature !== 'architecture')
      features.set(feature, decide(needsOf(feature, host), feature, mechanismOf(feature)));
  }
  const foreign = architectures.filter((name) => name !== host.architecture);
  const answers = new Map(
    foreign.map((name): [Architecture, Availability] => {
      const found = findEmulation(name, host.emulation);
      if ('feature' in found) return [name, lacking(found)];
      const answer = decide(needsOfEmulation(found), 'architecture', describeEmulation(found));
      return [name, answer.available ? answer : { remedy: INSTALL, ...answer }];
    }),
  );
  features.set('architecture', anyOf(answers));
  return { backend: 'native', usable: decide(always, undefined, 'namespaces'), features, architectures: answers };
}

function lacking({ because, remedy }: MissingFeature): Availability {
  return { available: false, because, ...(remedy === undefined ? {} : { remedy }) };
}

/** What some architecture has, the feature has; which one, the mechanism tells. The most able refusal speaks for all. */
function anyOf(answers: ReadonlyMap<Architecture, Availability>): Availability {
  const mechanisms = [...answers].flatMap(([name, answer]) =>
    answer.available ? [`${name}: ${answer.mechanism}`] : [],
  );
  if (mechanisms.length > 0) return { available: true, mechanism: mechanisms.join('; ') };
  const refusals = [...answers.values()].filter((answer) => !answer.available);
  return (
    refusals.find(({ because }) => because.startsWith('binfmt_misc')) ??
    refusals[0] ?? { available: false, because: 'no other architecture is known' }
  );
}

/** The first alternative's failure speaks for all of them. */
function unmet(need: Need, tried: ReadonlyMap<string, Facility>): Facility | undefined {
  const alternatives = (typeof need === 'string' ? [need] : need).map((name) => find(name, tried));
  return alternatives.some((facility) => facility.ok) ? undefined : alternatives[0];
}

function find(name: string, tried: ReadonlyMap<string, Facility>): Facility {
  return tried.get(name) ?? { facility: name, ok: false, detail: 'not tried by this launcher' };
}

function unavailable(failure: Facility, feature: Feature | undefined, findings: readonly Finding[]): Availability {
  const call = [failure.step, failure.errno].filter((part) => part !== undefined).join(': ');
  const because = `${failure.facility}: ${failure.detail}${call === '' ? '' : ` (${call})`}`;
  const finding =
    feature === undefined
      ? findings.find(({ severity }) => severity === 'error')
      : findings.find(({ severity, features }) => severity !== 'info' && features.includes(feature));
  return finding === undefined
    ? { available: false, because }
    : { available: false, because: `${because}; ${finding.cause}`, remedy: finding.remedy };
}

/** What a host without a working launcher offers: nothing, for one and the same reason. */
export function refuseAll(usable: Availability): BackendReport {
  return {
    backend: 'native',
    usable,
    features: new Map([...recognized].map((feature) => [feature, usable])),
    architectures: new Map(architectures.map((name) => [name, usable])),
  };
}

function probeArguments(user: UserFacts): string[] {
  const words: string[] = [];
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
