// Bounds and capabilities of a runtime bundle (config.md, "rlimits"; config-linux.md, "Control groups").
import { checkCapability } from '../../spec/capabilities.ts';
import { nearest } from '../../spec/nearest.ts';
import type { Limits } from '../../spec/types.ts';
import type { Place } from '../place.ts';
import { hasMembers, readAbsent, type Unserved } from './unserved.ts';

const sets = ['effective', 'permitted', 'bounding', 'inheritable', 'ambient'] as const;

/** The command keeps what it has in all of its sets: sets that differ cannot be made. */
export function readCapabilities(place: Place, unserved: Unserved): readonly string[] {
  if (!place.present || !place.isObject(sets)) return [];
  const check = (name: string): string | undefined => checkCapability(name, nearest);
  const read = Object.fromEntries(sets.map((set) => [set, new Set(place.at(set).strings(check))]));
  const effective = read['effective'] ?? new Set();
  for (const set of ['permitted', 'bounding']) {
    if (!isSame(effective, read[set] ?? new Set()))
      unserved(place.at(set), 'must be the same as effective: sets that differ are not served');
  }
  return [...effective];
}

function isSame(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((name) => b.has(name));
}

const rlimits: Readonly<Record<string, keyof Limits>> = {
  RLIMIT_NOFILE: 'openFiles',
  RLIMIT_FSIZE: 'fileBytes',
  RLIMIT_STACK: 'stackBytes',
  RLIMIT_CORE: 'coreBytes',
  RLIMIT_CPU: 'processCpuMs',
};

/** What getrlimit(2) says where there is no bound. */
const RLIM_INFINITY = 2n ** 64n - 1n;

export function readProcessLimits(place: Place, unserved: Unserved): Limits {
  const entries = place.list((entry): [string, number] | undefined => {
    if (!entry.isObject(['type', 'soft', 'hard'])) return undefined;
    const type = entry.at('type').string();
    if (entry.at('soft').value === RLIM_INFINITY && entry.at('hard').value === RLIM_INFINITY) {
      unserved(entry, `${type}: no bound is what the caller has, and cannot be given`);
      return undefined;
    }
    const soft = entry.at('soft').requiredInteger(0);
    const hard = entry.at('hard').requiredInteger(0);
    const name = Object.hasOwn(rlimits, type) ? rlimits[type] : undefined;
    if (name === undefined) unserved(entry, `${type} is not served`);
    else if (soft !== hard) unserved(entry, `${type}: a soft bound below the hard one is not served`);
    return name === undefined ? undefined : [name, type === 'RLIMIT_CPU' ? soft * 1000 : soft];
  });
  return Object.fromEntries(entries);
}

const resourceKeys = ['devices', 'memory', 'cpu', 'pids', 'blockIO', 'hugepageLimits', 'network', 'rdma', 'unified'];

export function readResources(place: Place, unserved: Unserved): Limits {
  if (!place.present || !place.isObject(resourceKeys)) return {};
  readAbsent(place, ['blockIO', 'hugepageLimits', 'network', 'rdma', 'unified'], 'is not served', unserved);
  readDeviceRules(place.at('devices'), unserved);
  return {
    ...readMemory(place.at('memory'), unserved),
    ...readCpu(place.at('cpu'), unserved),
    ...readPids(place.at('pids')),
  };
}

/** That nothing is allowed but the usual is so in a sandbox: there is no other device in it. */
function readDeviceRules(place: Place, unserved: Unserved): void {
  place.list((rule) => {
    const all =
      rule.at('allow').boolean() === false && rule.at('access').optionalString() === 'rwm' && !rule.at('type').present;
    if (!all) unserved(rule, 'rules for single devices are not served');
    return undefined;
  });
}

/** A negative number stands for no bound. */
function bound(place: Place): number | undefined {
  const value = place.integer(Number.MIN_SAFE_INTEGER);
  return value === undefined || value < 0 ? undefined : value;
}

function readMemory(place: Place, unserved: Unserved): Limits {
  if (!place.present) return {};
  place.isObject([
    'limit',
    'swap',
    'reservation',
    'kernel',
    'kernelTCP',
    'swappiness',
    'disableOOMKiller',
    'useHierarchy',
    'checkBeforeUpdate',
  ]);
  readAbsent(
    place,
    ['reservation', 'kernel', 'kernelTCP', 'swappiness', 'checkBeforeUpdate'],
    'is not served',
    unserved,
  );
  if (place.at('disableOOMKiller').boolean() === true)
    unserved(place.at('disableOOMKiller'), 'what goes beyond the bound is ended');
  const memoryBytes = bound(place.at('limit'));
  const swap = bound(place.at('swap'));
  if (swap !== undefined && swap !== memoryBytes) unserved(place.at('swap'), 'a sandbox with a bound has no swap');
  return memoryBytes === undefined ? {} : { memoryBytes };
}

const PERIOD_DEFAULT = 100_000;

function readCpu(place: Place, unserved: Unserved): Limits {
  if (!place.present) return {};
  place.isObject(['shares', 'quota', 'burst', 'period', 'realtimeRuntime', 'realtimePeriod', 'cpus', 'mems', 'idle']);
  readAbsent(
    place,
    ['shares', 'burst', 'realtimeRuntime', 'realtimePeriod', 'cpus', 'mems', 'idle'],
    'is not served',
    unserved,
  );
  const quota = bound(place.at('quota'));
  const period = place.at('period').integer(1) ?? PERIOD_DEFAULT;
  return quota === undefined || quota === 0 ? {} : { cpus: quota / period };
}

function readPids(place: Place): Limits {
  if (!hasMembers(place)) return {};
  place.isObject(['limit']);
  const pids = bound(place.at('limit'));
  // 0 was "no bound" for runtimes before 1.2 of the spec.
  return pids === undefined || pids === 0 ? {} : { pids };
}
