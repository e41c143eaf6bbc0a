// What the launcher can do on this host: it tries each facility in throwaway children, and a table says which features need which.
import type { MissingFeature } from '../../errors/errors.ts';
import type { Availability, Feature } from '../../features/feature.ts';
import { diagnose } from '../../host/findings.ts';
import { readHost } from '../../host/read.ts';
import type { Facility, Finding, HostFacts } from '../../host/types.ts';
import { type Architecture, architectures } from '../../spec/architectures.ts';
import type { BackendReport } from '../backend.ts';
import { ProbeFailure, tryFacilities } from '../launcher/facilities.ts';
import { mechanismOf } from './applied.ts';
import { describeEmulation, findEmulation, INSTALL } from './binfmt.ts';
import { alwaysConfined, confinedMechanisms, confinedNeeds, refusedFor } from './confined.ts';
import { always, type Need, needsOf, needsOfEmulation } from './needs.ts';
import { recognized } from './recognized.ts';

/** Tries everything on this host, leaves nothing behind, and says of each recognized feature whether it is there, or why not. */
export async function probeNative(launcher: string): Promise<BackendReport> {
  const host = readHost();
  try {
    return judge(await tryFacilities(launcher, host), host, launcher);
  } catch (error) {
    if (!(error instanceof ProbeFailure)) throw error;
    return refuseAll({ available: false, because: error.message, remedy: error.remedy });
  }
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
  const isolated = decide(always, undefined, 'namespaces');
  if (!isolated.available) {
    const failures = always.flatMap((need) => unmet(need, tried) ?? []);
    // Of a host that could isolate, and was too busy to show it, nobody is to conclude that it cannot.
    if (failures.some((failure) => mayPass(failure, host))) return refuseAll(isolated);
    return judgeConfined(isolated, host, facilities, decide);
  }
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
  return { backend: 'native', usable: isolated, features, architectures: answers };
}

const passing: ReadonlySet<string | undefined> = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE', 'EINTR', 'EBUSY']);

/** Whether a trial failed for want of something that may be there at another moment: time, memory, processes, or one of so many user namespaces. */
function mayPass({ step, errno }: Facility, { kernel }: HostFacts): boolean {
  const exhausted = errno === 'ENOSPC' && kernel.sysctls['user.max_user_namespaces'] !== '0';
  return step === 'timeout' || exhausted || passing.has(errno);
}

type Decide = (needs: readonly Need[], feature: Feature | undefined, mechanism: string) => Availability;
type Refusal = Extract<Availability, { available: false }>;

/** Where namespaces are not to be had: what is left without any, and of everything else why it is not. */
function judgeConfined(
  isolated: Refusal,
  host: HostFacts,
  facilities: readonly Facility[],
  decide: Decide,
): BackendReport {
  const basis = decide(
    alwaysConfined,
    undefined,
    'no namespaces: seccomp, rlimits and Landlock in the view of the caller',
  );
  const lost: Availability = basis.available ? { ...isolated, remedy: withDoingWithout(isolated.remedy) } : isolated;
  const usable = basis.available ? basis : isolated;
  const judged = [...recognized].map((feature): [Feature, Availability] => {
    const mechanism = confinedMechanisms[feature];
    if (mechanism === undefined || !basis.available) return [feature, lost];
    return [feature, refusedFor(feature, host, facilities) ?? decide(confinedNeeds(feature), feature, mechanism)];
  });
  const foreign = architectures.filter((name) => name !== host.architecture);
  return {
    backend: 'native',
    usable,
    features: new Map(judged),
    architectures: new Map(foreign.map((name) => [name, lost])),
  };
}

const DOING_WITHOUT =
  'or do without, confined but not isolated: name what is missing as optional (--optional all), and say with landlock.paths which paths it may use';

function withDoingWithout(remedy: string | undefined): string {
  return remedy === undefined ? DOING_WITHOUT : `${remedy}\n${DOING_WITHOUT}`;
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
