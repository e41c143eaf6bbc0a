// From isolators to what a sandbox holds an app to, with an account of each: the specification lets an executor leave an isolator out, and obliges
// it to say so. Where the sandbox is stricter than what was asked for, it stays so: an image does not widen the sandbox that it runs in.
import { errnoNumber } from '../../seccomp/errno.ts';
import { defaultProfile } from '../../seccomp/profile.ts';
import { abis, syscallTable } from '../../seccomp/syscalls.ts';
import type { OciSeccomp, OciSeccompRule, SandboxSpec } from '../../spec/types.ts';
import { joinWords } from '../../spec/words.ts';
import { listSome } from '../place.ts';
import type { AciIsolator, Resource, SeccompSet } from './isolators.ts';
import { toCores, toUnits } from './quantity.ts';

export interface IsolatorAccount {
  readonly name: string;
  /** `modified`: held to something else, which is stricter, or less than all of it. */
  readonly state: 'enforced' | 'modified' | 'ignored';
  readonly because: string;
}

export interface Isolation {
  readonly spec: Pick<SandboxSpec, 'capabilities' | 'seccomp' | 'limits'>;
  readonly account: readonly IsolatorAccount[];
}

/** What a process of an app has where its manifest has no word on capabilities. */
export const defaultCapabilities: readonly string[] = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETUID',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETFCAP',
  'CAP_SYS_CHROOT',
];

export interface IsolationContext {
  /** What the caller lets an app have at most. */
  readonly capabilities: readonly string[];
  readonly network: 'none' | 'host';
}

export function isolate(isolators: readonly AciIsolator[], context: IsolationContext): Isolation {
  const capabilities = capabilitiesOf(isolators, context.capabilities);
  const seccomp = seccompOf(isolators, capabilities.kept);
  const account = isolators.flatMap((isolator) => accountOf(isolator, context));
  return {
    spec: {
      ...(capabilities.kept.length === 0 ? {} : { capabilities: capabilities.kept }),
      ...(seccomp.profile === undefined ? {} : { seccomp: seccomp.profile }),
      ...limitsOf(isolators),
    },
    account: [...capabilities.account, ...seccomp.account, ...account],
  };
}

interface KeptCapabilities {
  readonly kept: readonly string[];
  readonly account: readonly IsolatorAccount[];
}

function capabilitiesOf(isolators: readonly AciIsolator[], granted: readonly string[]): KeptCapabilities {
  const retain = isolatorValue<readonly string[]>(isolators, 'os/linux/capabilities-retain-set');
  const remove = isolatorValue<readonly string[]>(isolators, 'os/linux/capabilities-remove-set');
  const wanted = [...new Set(retain ?? defaultCapabilities.filter((name) => remove?.includes(name) !== true))];
  const kept = wanted.filter((name) => granted.includes(name));
  const left = wanted.filter((name) => !granted.includes(name));
  const name =
    retain !== undefined
      ? 'os/linux/capabilities-retain-set'
      : remove !== undefined
        ? 'os/linux/capabilities-remove-set'
        : 'os/linux/capabilities (the default set)';
  const because =
    left.length === 0
      ? `kept: ${kept.length === 0 ? 'none' : joinWords(kept)}, within a user namespace`
      : `the sandbox gives none but those that its caller names, so not ${joinWords(left)}`;
  return { kept, account: [{ name, state: left.length === 0 ? 'enforced' : 'modified', because }] };
}

/** What a process cannot start or end without; execve(2) of the app itself is the launcher's. */
const lifecycle = ['exit', 'exit_group', 'rt_sigreturn', 'sigreturn', 'restart_syscall'];

interface Filter {
  readonly profile: OciSeccomp | undefined;
  readonly account: readonly IsolatorAccount[];
}

function seccompOf(isolators: readonly AciIsolator[], capabilities: readonly string[]): Filter {
  const remove = isolatorValue<SeccompSet>(isolators, 'os/linux/seccomp-remove-set');
  const retain = isolatorValue<SeccompSet>(isolators, 'os/linux/seccomp-retain-set');
  if (remove !== undefined) return removing(remove, capabilities);
  return retain === undefined ? { profile: undefined, account: [] } : retaining(retain, capabilities);
}

function removing(set: SeccompSet, capabilities: readonly string[]): Filter {
  const name = 'os/linux/seccomp-remove-set';
  if (set.names.includes('@appc.io/empty'))
    return { profile: undefined, account: [{ name, state: 'enforced', because: 'the default profile alone' }] };
  const { known, unknown } = divide(set.names);
  const base = defaultProfile({ capabilities });
  const profile =
    known.length === 0
      ? undefined
      : { ...base, syscalls: [{ names: known, ...answerOf(set) }, ...(base.syscalls ?? [])] };
  const because = 'these calls, and what the default profile refuses beside them';
  if (unknown.length === 0) return { profile, account: [{ name, state: 'enforced', because }] };
  return {
    profile,
    account: [{ name, state: 'modified', because: `no machine has a call ${listSome(unknown)}` }],
  };
}

function retaining(set: SeccompSet, capabilities: readonly string[]): Filter {
  const name = 'os/linux/seccomp-retain-set';
  if (set.names.includes('@appc.io/all')) {
    const because = 'a filter cannot be taken off by the image: the default profile stays';
    return { profile: undefined, account: [{ name, state: 'modified', because }] };
  }
  const base = defaultProfile({ capabilities });
  const { known } = divide(set.names);
  const kept = new Set([...known, ...lifecycle]);
  const answer = answerOf(set);
  const others = [...everySyscall()].filter((call) => !kept.has(call));
  const { defaultErrnoRet: _, ...rest } = base;
  const profile: OciSeccomp = {
    ...rest,
    defaultAction: answer.action,
    ...(answer.errnoRet === undefined ? {} : { defaultErrnoRet: answer.errnoRet }),
    syscalls: [{ names: others, ...answer }, ...(base.syscalls ?? [])],
  };
  const allowed = new Set(
    (base.syscalls ?? []).filter(({ action }) => action === 'SCMP_ACT_ALLOW').flatMap(({ names }) => names),
  );
  const refused = set.names.filter((call) => !allowed.has(call));
  if (refused.length === 0) return { profile, account: [{ name, state: 'enforced', because: 'these calls alone' }] };
  const because = `of these the sandbox never allows ${listSome(refused)}`;
  return { profile, account: [{ name, state: 'modified', because }] };
}

function answerOf({ errno }: SeccompSet): Pick<OciSeccompRule, 'action' | 'errnoRet'> {
  const errnoRet = errno === undefined ? undefined : errnoNumber(errno);
  return errnoRet === undefined ? { action: 'SCMP_ACT_KILL_PROCESS' } : { action: 'SCMP_ACT_ERRNO', errnoRet };
}

function divide(names: readonly string[]): { readonly known: string[]; readonly unknown: string[] } {
  const every = everySyscall();
  const plain = [...new Set(names)].filter((name) => !name.startsWith('@'));
  return { known: plain.filter((name) => every.has(name)), unknown: plain.filter((name) => !every.has(name)) };
}

function everySyscall(): ReadonlySet<string> {
  return new Set(abis.flatMap((abi) => [...syscallTable(abi).keys()]));
}

function limitsOf(isolators: readonly AciIsolator[]): Pick<SandboxSpec, 'limits'> {
  const memory = isolatorValue<Resource>(isolators, 'resource/memory')?.limit;
  const cpu = isolatorValue<Resource>(isolators, 'resource/cpu')?.limit;
  if (memory === undefined && cpu === undefined) return {};
  return {
    limits: {
      ...(memory === undefined ? {} : { memoryBytes: toUnits(memory) }),
      ...(cpu === undefined ? {} : { cpus: Math.max(CPUS_MIN, toCores(cpu)) }),
    },
  };
}

/** The least quota that the kernel's control groups take over their usual period. */
const CPUS_MIN = 0.01;

function accountOf({ name, value }: AciIsolator, { network }: IsolationContext): IsolatorAccount[] {
  const say = (state: IsolatorAccount['state'], because: string): IsolatorAccount[] => [{ name, state, because }];
  switch (name) {
    // These have their account already.
    case 'os/linux/capabilities-retain-set':
    case 'os/linux/capabilities-remove-set':
    case 'os/linux/seccomp-remove-set':
    case 'os/linux/seccomp-retain-set':
      return [];
    case 'os/linux/no-new-privileges':
      return value === true
        ? say('enforced', 'PR_SET_NO_NEW_PRIVS')
        : say('modified', 'nothing in a sandbox gains privileges, whatever is asked for');
    case 'resource/memory':
    case 'resource/cpu':
      return [accountOfLimit(name, value as Resource)];
    case 'resource/network-bandwidth':
      return network === 'none'
        ? say('enforced', 'there is no interface but the loopback, which it is not about')
        : say('ignored', "the host's network is shared without a bound");
    case 'resource/block-bandwidth':
    case 'resource/block-iops':
      return say('ignored', 'block devices have no bound here');
    case 'os/linux/cpu-shares':
    case 'os/linux/oom-score-adj':
      return say('ignored', 'a sandbox has no weight of its own among other processes');
    case 'os/linux/selinux-context':
      return say('ignored', 'labels of SELinux are not served');
    case 'os/linux/apparmor-profile':
      return say('ignored', 'this host has no AppArmor');
    case 'os/unix/sysctl':
      return say(
        'ignored',
        `kernel parameters are not set: ${listSome([...(value as ReadonlyMap<string, string>).keys()])}`,
      );
    default:
      return say('ignored', 'it is not known here');
  }
}

function accountOfLimit(name: string, { limit, request }: Resource): IsolatorAccount {
  if (limit === undefined)
    return { name, state: 'ignored', because: 'it has no limit, and nothing is set aside for a sandbox' };
  if (name === 'resource/cpu' && toCores(limit) < CPUS_MIN)
    return { name, state: 'modified', because: `a bound on processors is at least ${CPUS_MIN}` };
  if (request !== undefined && request.nanos !== limit.nanos)
    return { name, state: 'modified', because: 'the limit holds; what is requested is not set aside' };
  return { name, state: 'enforced', because: 'a bound of its control group' };
}

function isolatorValue<T>(isolators: readonly AciIsolator[], name: string): T | undefined {
  return isolators.find((isolator) => isolator.name === name)?.value as T | undefined;
}
