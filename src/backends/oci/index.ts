// An OCI runtime, with our init inside: the runtime makes namespaces and mounts from a config.json, init does the rest. Which runtime is found once in
// a process, when this backend is first used: a plan is a pure function, and to try one takes a sandbox.
import { BackendError } from '../../errors/errors.ts';
import { callerFacts } from '../../host/facts.ts';
import { nearest } from '../../spec/nearest.ts';
import type { Backend, BackendReport } from '../backend.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { probeInRoom } from '../launcher/trial.ts';
import { unusable } from '../launcher/unusable.ts';
import { wornInRoom } from '../launcher/worn.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { planOci, type Runtime } from './plan.ts';
import { type RuntimeName, recognized, runtimeNames } from './recognized.ts';

/** Names the runtime to use, instead of the first one that works. */
export const RUNTIME_VARIABLE = 'SANDBOXLIB_OCI_RUNTIME';

/** With the runtime that `named` names, else with the first on PATH that a trial accepts. */
export async function loadOci(
  named: string | undefined = process.env[RUNTIME_VARIABLE],
): Promise<Backend<LauncherPlan>> {
  const found = named === undefined || named === '' ? installed() : namedRuntime(named);
  if (found instanceof BackendError) return unusable('oci', recognized, found);
  const [only, ...others] = found;
  // One needs no trial: the launch is its own.
  if (only !== undefined && others.length === 0) return ociThrough(only);
  const refusals: { backend: string; because: string }[] = [];
  for (const runtime of found) {
    const backend = ociThrough(runtime);
    const { usable } = await backend.probe();
    if (usable.available) return backend;
    refusals.push({ backend: runtime.name, because: usable.because });
  }
  return unusable('oci', recognized, new BackendError('backend oci cannot run here', refusals, 'install crun or runc'));
}

function installed(): Runtime[] | BackendError {
  const found = runtimeNames.flatMap((name) => withFile(name));
  if (found.length > 0) return found;
  const because = `there is none of ${runtimeNames.join(', ')} on PATH`;
  return new BackendError('backend oci cannot run here', [{ backend: 'oci', because }], 'install crun or runc');
}

function namedRuntime(named: string): Runtime[] | BackendError {
  const name = runtimeNames.find((known) => known === named);
  if (name === undefined) {
    const meant = nearest(named, runtimeNames);
    const remedy = meant === undefined ? `known are ${runtimeNames.join(', ')}` : `did you mean '${meant}'?`;
    return new BackendError(`${RUNTIME_VARIABLE} names no OCI runtime: '${named}'`, [], remedy);
  }
  const found = withFile(name);
  if (found.length > 0) return found;
  const because = `there is no ${name} on PATH, and ${RUNTIME_VARIABLE} names it`;
  const remedy = `install ${name}, or unset ${RUNTIME_VARIABLE}`;
  return new BackendError('backend oci cannot run here', [{ backend: 'oci', because }], remedy);
}

function withFile(name: RuntimeName): Runtime[] {
  const file = callerFacts().program(name);
  return file === undefined ? [] : [{ name, file }];
}

function ociThrough(runtime: Runtime): Backend<LauncherPlan> {
  let report: Promise<BackendReport> | undefined;
  const backend: Backend<LauncherPlan> = {
    name: 'oci',
    recognized,
    probe() {
      report ??= probeInRoom(backend, wornInRoom(runtime.name), {
        program: runtime.name,
        remedy: `install ${runtime.name}`,
      });
      return report;
    },
    plan: (spec, granted, caller) => planOci(runtime, spec, granted, caller),
    launch: (plan, request) => launchPlan(launcherPath(), plan, request),
    wrap: (plan, request) => wrapPlan(launcherPath(), plan, request),
  };
  return backend;
}
