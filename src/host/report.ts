// Puts together what `probe()` returns and `run-sandbox doctor` prints.
import type { BackendReport } from '../backends/backend.ts';
import type { Availability, Feature } from '../features/feature.ts';
import { diagnose } from './findings.ts';
import type { BackendSummary, Facility, HostFacts, HostReport } from './types.ts';

export type { BackendSummary, Facility, Finding, HostFacts, HostReport } from './types.ts';

export interface ReportParts {
  readonly host: HostFacts;
  readonly facilities: readonly Facility[];
  /** Absolute path of the launcher, where there is one for this host. */
  readonly launcher: string | undefined;
  readonly backends: readonly BackendReport[];
}

/** Pure: everything that was found, what each backend makes of it, and what to do. Survives JSON. */
export function hostReport({ host, facilities, launcher, backends }: ReportParts): HostReport {
  return {
    ...host,
    facilities,
    backends: backends.map(summarize),
    findings: diagnose({ host, facilities, launcher }),
  };
}

function summarize({ backend, usable, features }: BackendReport): BackendSummary {
  const record: Partial<Record<Feature, Availability>> = Object.fromEntries(features);
  return { backend, usable, features: record };
}
