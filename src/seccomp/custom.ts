// From what the spec says to a filter that is ready to install. Loaded only where the spec names a profile: compiling costs more than a run.
import { SpecError, type SpecIssue } from '../errors/errors.ts';
import type { ReadFilters } from '../spec/normalize.ts';
import type { NormalizedOnSyscall, NormalizedSeccomp, SandboxSpec } from '../spec/types.ts';
import { checkServable, compileChecked, refusesAlways } from './compile.ts';
import type { Circumstances } from './engine.ts';
import { type CheckedProfile, type CheckedRule, toOci } from './oci.ts';
import { checkSyscallRules, unconfinedProfile } from './on-syscall.ts';
import { portsFilter } from './ports.ts';
import { defaultProfile } from './profile.ts';
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
  const issues: SpecIssue[] = [];
  const attempt = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof SpecError)) throw error;
      issues.push(...error.issues);
      return undefined;
    }
  };
  const named = namesProfile(spec) ? attempt(() => checkNamed(spec, host)) : undefined;
  const seccomp = named && attempt(() => compileNamed(named, spec, host));
  const rules = spec.onSyscall && attempt(() => checkSyscallRules(spec.onSyscall ?? []));
  // What is wrong with the profile was said already.
  const profile = namesProfile(spec) ? named : rules && checkUnnamed(spec, host);
  const onSyscall = rules && profile && attempt(() => compileAsking(profile, rules, spec, host));
  return { seccomp, onSyscall, portsFilter: ports, issues };
}

type Host = Omit<Circumstances, 'capabilities'>;

function checkNamed(
  { seccomp, seccompUnknownSyscalls = 'error', capabilities = [] }: SandboxSpec,
  host: Host,
): CheckedProfile {
  const given = seccomp === 'strict' ? strictProfile : seccomp;
  return checkServable(given, { ...host, capabilities, unknownSyscalls: seccompUnknownSyscalls });
}

/** The profiles that the spec only has a word for, and for which nothing needs to be compiled unless something is asked. */
function checkUnnamed({ seccomp, capabilities = [] }: SandboxSpec, host: Host): CheckedProfile {
  return checkServable(seccomp === 'unconfined' ? unconfinedProfile : defaultProfile({ capabilities }), host);
}

function compileNamed(checked: CheckedProfile, { seccomp }: SandboxSpec, { architecture }: Host): NormalizedSeccomp {
  const { filter, pass } = compileChecked(checked, architecture, ofTheLauncher);
  return {
    kind: seccomp === 'strict' ? 'strict' : 'custom',
    profile: toOci(checked),
    filter: base64(filter),
    pass,
    deniesKeyrings: refusesAlways(checked, architecture, keyrings),
  };
}

function compileAsking(
  checked: CheckedProfile,
  rules: readonly CheckedRule[],
  { onSyscall = [] }: SandboxSpec,
  { architecture }: Host,
): NormalizedOnSyscall {
  const { filter, pass } = compileChecked(checked, architecture, ofTheLauncher, rules);
  const deniesKeyrings = refusesAlways(checked, architecture, keyrings);
  return { rules: onSyscall, filter: base64(filter), pass, deniesKeyrings };
}

function base64(filter: Uint8Array): string {
  return Buffer.from(filter.buffer, filter.byteOffset, filter.byteLength).toString('base64');
}
