// What this host offers, found by trying. A doctor's question: nothing here is loaded for a run.
import { backendNames } from '../backends/backend.ts';
import type { Facility, HostReport } from '../host/types.ts';
import { reportOf } from './agreement.ts';

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

/** A launcher that is not there or does not run is a finding about this host; the report of the native backend says why. */
async function tryLauncher(): Promise<{ facilities: readonly Facility[]; launcher: string | undefined }> {
  const { tryFacilities, ProbeFailure } = await import('../backends/launcher/facilities.ts');
  const { launcherPath } = await import('../backends/launcher/locate.ts');
  const { readHost } = await import('../host/read.ts');
  let launcher: string | undefined;
  try {
    launcher = launcherPath();
    return { facilities: await tryFacilities(launcher, readHost()), launcher };
  } catch (error) {
    if (launcher !== undefined && !(error instanceof ProbeFailure)) throw error;
    return { facilities: [], launcher };
  }
}
