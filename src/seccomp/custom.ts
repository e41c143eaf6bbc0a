// From what the spec says to a filter that is ready to install. Loaded only where the spec names a profile: compiling costs more than a run.
import { SpecError } from '../errors/errors.ts';
import type { ReadFilters } from '../spec/normalize.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { checkServable, compileChecked, refusesAlways } from './compile.ts';
import type { Circumstances } from './engine.ts';
import { toOci } from './oci.ts';
import { portsFilter } from './ports.ts';
import { strictProfile } from './strict.ts';

/**
 * What the launcher still does between the installation of a filter and the end of execve(2): it executes the command, and where that fails it looks
 * for the reason and reports it (native/sys.h). The filter is for the command, not for these.
 */
const ofTheLauncher: ReadonlySet<string> = new Set([
  'execve',
  'newfstatat',
  'openat',
  'pread64',
  'close',
  'sendmsg',
  'exit_group',
]);

const keyrings = ['add_key', 'keyctl', 'request_key'];

/** Other than the default one. */
function namesProfile({ seccomp }: SandboxSpec): boolean {
  return seccomp === 'strict' || typeof seccomp === 'object';
}

/** Never throws for what is wrong in `spec`: it is reported together with the rest. */
export function readFilters(spec: SandboxSpec, host: Omit<Circumstances, 'capabilities'>): ReadFilters {
  const { bindTcp, connectTcp } = spec.landlock ?? {};
  const ports = bindTcp === undefined && connectTcp === undefined ? undefined : portsFilter(host.architecture);
  return { ...readSeccomp(spec, host), portsFilter: ports };
}

function readSeccomp(
  spec: SandboxSpec,
  host: Omit<Circumstances, 'capabilities'>,
): Pick<ReadFilters, 'seccomp' | 'issues'> {
  const { seccomp, seccompUnknownSyscalls: unknownSyscalls = 'error', capabilities = [] } = spec;
  if (!namesProfile(spec)) return { seccomp: undefined, issues: [] };
  const given = seccomp === 'strict' ? strictProfile : seccomp;
  try {
    const checked = checkServable(given, { ...host, capabilities, unknownSyscalls });
    const { filter, pass } = compileChecked(checked, host.architecture, ofTheLauncher);
    return {
      seccomp: {
        kind: seccomp === 'strict' ? 'strict' : 'custom',
        profile: toOci(checked),
        filter: Buffer.from(filter.buffer, filter.byteOffset, filter.byteLength).toString('base64'),
        pass,
        deniesKeyrings: refusesAlways(checked, host.architecture, keyrings),
      },
      issues: [],
    };
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    return { seccomp: undefined, issues: error.issues };
  }
}
