// Which backend runs a spec: the first that offers all of it.
import type { Backend, BackendName, BackendReport } from '../backends/backend.ts';
import { loadBackend, registry } from '../backends/registry.ts';
import { BackendError, FeatureError, isSandboxError } from '../errors/errors.ts';
import type { Availability, Feature } from '../features/feature.ts';
import { type Agreement, type Candidate, type NegotiationRequest, negotiate } from '../features/negotiate.ts';
import { mayRefuseUserNamespaces } from '../host/suspicion.ts';
import type { SandboxSpec } from '../spec/types.ts';
import type { Soon } from './soon.ts';

export type Request = Omit<NegotiationRequest<BackendName>, 'candidates'> & {
  /** Of what is optional, what the spec itself can do without: nobody named it. */
  readonly wished: ReadonlySet<Feature>;
  readonly architecture?: SandboxSpec['architecture'] | undefined;
};

/**
 * Nothing is probed where everything is required: the launch is its own probe, and only its failure is looked into. Where something may be
 * missing, it must be known beforehand what; and once a backend that was preferred has failed, the others are looked at too.
 */
export function agree(request: Request): Soon<Agreement<BackendName>> {
  const { optional, wished } = request;
  const everything = optional !== 'all' && [...optional].every((feature) => wished.has(feature));
  if (!everything || foundWanting.has(launcherInUse()) || mayRefuseUserNamespaces()) return agreeByProbing(request);
  const atOnce = (): Agreement<BackendName> => negotiate({ ...request, candidates: registry });
  if (!wished.has('mount.sysfs')) return atOnce();
  return import('../host/sysfs.ts').then(({ mayRefuseSysfs }) =>
    mayRefuseSysfs() ? agreeByProbing(request) : atOnce(),
  );
}

/**
 * In order of preference, and no further than needed: a trial of each costs more than a run. Where so much is optional that a backend may do without
 * namespaces, one that isolates comes before one that only confines, whatever the order of preference.
 */
export async function agreeByProbing(request: Request): Promise<Agreement<BackendName>> {
  const candidates: Candidate<BackendName>[] = [...registry];
  const lesser: Agreement<BackendName>[] = [];
  for (const [index, candidate] of registry.entries()) {
    const asked = request.chosen === undefined ? !candidate.byNameOnly : request.chosen === candidate.name;
    if (!asked) continue;
    const report = reportFor(await reportOf(candidate.name), request.architecture);
    candidates[index] = { ...candidate, report };
    try {
      const agreement = negotiate({ ...request, candidates, chosen: candidate.name });
      if (isolates(agreement)) return agreement;
      lesser.push(agreement);
    } catch (error) {
      if (!(error instanceof FeatureError || error instanceof BackendError)) throw error;
    }
  }
  const rooted = lesser.find(({ granted }) => granted.has('root.path'));
  const best = request.required.has('root.path') ? (rooted ?? lesser[0]) : lesser[0];
  // Nobody: the error has each candidate's reasons.
  return best ?? negotiate({ ...request, candidates });
}

function isolates({ granted }: Agreement<BackendName>): boolean {
  return granted.has('namespace.pid') && granted.has('namespace.mount');
}

/** A backend that cannot even be asked offers nothing, for that reason. */
export async function reportOf(name: BackendName): Promise<BackendReport> {
  const backend = await loadBackend(name);
  try {
    return await probeBackend(backend);
  } catch (error) {
    if (!isSandboxError(error)) throw error;
    const { message, remedy } = error;
    const usable: Availability = { available: false, because: message, ...(remedy === undefined ? {} : { remedy }) };
    return { backend: name, usable, features: new Map([...backend.recognized].map((feature) => [feature, usable])) };
  }
}

/** Launchers with which a launch failed for want of something that this host does not have. */
const foundWanting = new Set<string>();

/** The next run of this process asks the others too. */
export function rememberWanting(): void {
  foundWanting.add(launcherInUse());
}

/** What was found with one launcher says nothing about another. */
function launcherInUse(): string {
  return process.env['SANDBOXLIB_LAUNCHER'] ?? '';
}

/** That some other architecture is to be had helps nobody. */
export function reportFor(report: BackendReport, architecture: SandboxSpec['architecture']): BackendReport {
  const answer = architecture === undefined ? undefined : report.architectures?.get(architecture);
  if (answer === undefined) return report;
  return { ...report, features: new Map([...report.features, ['architecture', answer]]) };
}

export function backendOfEnvironment(): BackendName | undefined {
  const given = process.env['SANDBOXLIB_BACKEND'];
  if (given === undefined || given === '') return undefined;
  const known = registry.find(({ name }) => name === given);
  if (known !== undefined) return known.name;
  const names = registry.map(({ name }) => name).join(', ');
  throw new BackendError(`SANDBOXLIB_BACKEND names no backend: '${given}'`, [], `known are ${names}`);
}

const reports = new WeakMap<Backend, Map<string, Promise<BackendReport>>>();

/** What a host offers does not change under a process often enough to ask twice; a probe that failed to run is asked again. */
export function probeBackend(backend: Backend): Promise<BackendReport> {
  const byLauncher = reports.get(backend) ?? new Map<string, Promise<BackendReport>>();
  reports.set(backend, byLauncher);
  const launcher = launcherInUse();
  const known = byLauncher.get(launcher);
  if (known !== undefined) return known;
  const report = backend.probe();
  byLauncher.set(launcher, report);
  report.catch(() => byLauncher.delete(launcher));
  return report;
}
