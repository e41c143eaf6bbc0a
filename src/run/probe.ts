// What this host offers, found by trying. A doctor's question: nothing here is loaded for a run.
import { type BackendName, type BackendReport, backendNames } from '../backends/backend.ts';
import { loadBackend } from '../backends/registry.ts';
import { isSandboxError } from '../errors/errors.ts';
import type { Availability } from '../features/feature.ts';
import type { Facility, HostReport } from '../host/types.ts';
import { probeBackend } from './launch.ts';

/** Every backend, every feature: available or why not, and what to do about it. Leaves nothing behind. */
export async function probe(): Promise<HostReport> {
  const [{ hostReport }, { readHost }, tried, backends] = await Promise.all([
    import('../host/report.ts'),
    import('../host/read.ts'),
    tryLauncher(),
    Promise.all(backendNames.map(reportOf)),
  ]);
  return hostReport({ host: readHost(), ...tried, backends });
}

/** A backend that cannot even be asked offers nothing, for that reason. */
async function reportOf(name: BackendName): Promise<BackendReport> {
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

/** A launcher that is not there or does not run is a finding about this host; the report of the native backend says why. */
async function tryLauncher(): Promise<{ facilities: readonly Facility[]; launcher: string | undefined }> {
  const { tryFacilities, ProbeFailure } = await import('../backends/native/probe.ts');
  const { launcherPath } = await import('../backends/launcher/locate.ts');
  const { readHost } = await import('../host/read.ts');
  let launcher: string | undefined;
  try {
    launcher = launcherPath();
    return { facilities: await tryFacilities(launcher, readHost().user), launcher };
  } catch (error) {
    if (launcher !== undefined && !(error instanceof ProbeFailure)) throw error;
    return { facilities: [], launcher };
  }
}
