// What an app asks to be held to: the isolators of the specification, each with its value checked. One with another name is kept by its name, for
// the account that the caller gets of it.
import { errnoNumber } from '../../seccomp/errno.ts';
import { isCapabilityName } from '../../spec/capabilities.ts';
import { type Place, reportDuplicates, shorten } from '../place.ts';
import { checkIdentifier } from './names.ts';
import { parseQuantity, type Quantity } from './quantity.ts';

export type AciIsolator =
  | { readonly name: 'os/linux/seccomp-remove-set' | 'os/linux/seccomp-retain-set'; readonly value: SeccompSet }
  | {
      readonly name: 'os/linux/capabilities-remove-set' | 'os/linux/capabilities-retain-set';
      readonly value: readonly string[];
    }
  | { readonly name: 'os/linux/no-new-privileges'; readonly value: boolean }
  | { readonly name: 'os/linux/selinux-context' | 'os/linux/apparmor-profile'; readonly value: string }
  | { readonly name: 'os/linux/oom-score-adj' | 'os/linux/cpu-shares'; readonly value: number }
  | { readonly name: ResourceName; readonly value: Resource }
  | { readonly name: 'os/unix/sysctl'; readonly value: ReadonlyMap<string, string> }
  | { readonly name: string; readonly value: 'unknown' };

type ResourceName =
  | 'resource/cpu'
  | 'resource/memory'
  | 'resource/block-bandwidth'
  | 'resource/block-iops'
  | 'resource/network-bandwidth';

export interface SeccompSet {
  readonly names: readonly string[];
  /** `undefined`: the process is ended with SIGSYS. */
  readonly errno: string | undefined;
}

export interface Resource {
  readonly request: Quantity | undefined;
  readonly limit: Quantity | undefined;
}

/** Those of which more than one would contradict each other. */
const pairs = [
  ['os/linux/seccomp-remove-set', 'os/linux/seccomp-retain-set'],
  // The reference code does not look at this pair; the text forbids it.
  ['os/linux/capabilities-remove-set', 'os/linux/capabilities-retain-set'],
] as const;

const readers: Readonly<Record<string, (value: Place) => AciIsolator['value'] | undefined>> = {
  'os/linux/seccomp-remove-set': (value) => readSeccomp(value, '@appc.io/empty'),
  'os/linux/seccomp-retain-set': (value) => readSeccomp(value, '@appc.io/all'),
  'os/linux/capabilities-remove-set': readCapabilities,
  'os/linux/capabilities-retain-set': readCapabilities,
  'os/linux/no-new-privileges': (value) => value.boolean() ?? required(value),
  'os/linux/selinux-context': readSelinux,
  'os/linux/apparmor-profile': (value) => (value.isObject(['name']) ? value.at('name').string(nonEmpty) : undefined),
  'os/linux/oom-score-adj': (value) => value.requiredInteger(-1000, 1000),
  'os/linux/cpu-shares': (value) => value.requiredInteger(2, 262_144),
  'resource/cpu': (value) => readResource(value, false),
  'resource/memory': (value) => readResource(value, false),
  'resource/block-bandwidth': (value) => readResource(value, true),
  'resource/block-iops': (value) => readResource(value, true),
  'resource/network-bandwidth': (value) => readResource(value, true),
  'os/unix/sysctl': (value) => (value.isObject('any') ? value.record((member) => member.string()) : undefined),
};

/** Of an app or of a pod. */
export function readIsolators(list: Place): AciIsolator[] {
  const isolators = list.list((isolator): AciIsolator | undefined => {
    if (!isolator.isObject(['name', 'value'])) return undefined;
    const name = isolator.at('name').string(checkIdentifier);
    const read = Object.hasOwn(readers, name) ? readers[name] : undefined;
    if (read === undefined) return { name, value: 'unknown' };
    const value = read(isolator.at('value'));
    // The table above pairs each name with the reader of its value.
    return value === undefined ? undefined : ({ name, value } as AciIsolator);
  });
  reportContradictions(list);
  return isolators;
}

/** All that are known may stand once: of two amounts, sets or answers no one could say which counts. */
function reportContradictions(list: Place): void {
  const known = list
    .list((isolator) => isolator)
    .filter((isolator) => Object.hasOwn(readers, String(isolator.at('name').value)));
  const seen = new Map<unknown, Place>();
  for (const isolator of known) {
    const name = isolator.at('name').value;
    const other = pairs.find((pair) => pair.some((member) => member === name))?.find((member) => member !== name);
    if (seen.has(name)) isolator.report(`${name} may stand only once`);
    if (seen.has(other)) isolator.report(`${name} may not stand together with ${other}`);
    seen.set(name, isolator);
  }
}

function required(value: Place): undefined {
  return value.present ? undefined : value.report('is required');
}

function nonEmpty(value: string): string | undefined {
  return value === '' ? 'must not be empty' : undefined;
}

function readSeccomp(value: Place, wildcard: string): SeccompSet | undefined {
  if (!value.isObject(['set', 'errno'])) return undefined;
  const names = value.at('set').strings((name) => checkSyscall(name, wildcard));
  if (names.length === 0) value.at('set').report('must name a system call');
  const errno = value.at('errno').optionalString(checkErrno);
  return { names, errno: errno === '' ? undefined : errno };
}

/** A special value that is not known here might stand for anything: to leave it out would filter more, or less, than was meant. */
function checkSyscall(name: string, wildcard: string): string | undefined {
  if (name === '') return 'must not be empty';
  if (!name.startsWith('@') || name === wildcard) return undefined;
  return `'${shorten(name)}' is no special value that is known here: '${wildcard}' is`;
}

function checkErrno(name: string): string | undefined {
  if (name === '' || (/^E[A-Z0-9]+$/.test(name) && errnoNumber(name) !== undefined)) return undefined;
  return `'${shorten(name)}' is no name of an error in errno(3), such as 'EPERM'`;
}

function readCapabilities(value: Place): string[] | undefined {
  if (!value.isObject(['set'])) return undefined;
  const set = value
    .at('set')
    .strings((name) =>
      isCapabilityName(name)
        ? undefined
        : `'${shorten(name)}' is no capability of capabilities(7), such as 'CAP_CHOWN'`,
    );
  if (set.length === 0) value.at('set').report('must name a capability');
  return set;
}

function readSelinux(value: Place): string | undefined {
  if (!value.isObject(['user', 'role', 'type', 'level'])) return undefined;
  const part = (text: string): string | undefined =>
    nonEmpty(text) ?? (text.includes(':') ? `must not have ':' in it: '${shorten(text)}'` : undefined);
  const [user, role, type] = ['user', 'role', 'type'].map((key) => value.at(key).string(part));
  return `${user}:${role}:${type}:${value.at('level').string(nonEmpty)}`;
}

/** `ofAll`: the limit is for all devices or interfaces by default, the one form that the specification has. */
function readResource(value: Place, ofAll: boolean): Resource | undefined {
  if (!value.isObject(['default', 'request', 'limit'])) return undefined;
  const byDefault = value.at('default').boolean() ?? false;
  if (byDefault !== ofAll) value.at('default').report(ofAll ? 'must be true' : 'must not be true');
  const request = readQuantity(value.at('request'));
  const limit = readQuantity(value.at('limit'));
  if (ofAll && request !== undefined) value.at('request').report('cannot be asked for: there is only a limit');
  if (ofAll && !value.at('limit').present) value.at('limit').report('is required');
  if (!ofAll && !value.at('limit').present && !value.at('request').present)
    value.note('has neither a limit nor a request, and bounds nothing');
  if (request !== undefined && limit !== undefined && request.nanos > limit.nanos)
    value.at('request').note('is more than the limit, which holds');
  return { request: request ?? limit, limit };
}

/** The reference code takes numbers beside strings. */
function readQuantity(place: Place): Quantity | undefined {
  if (!place.present) return undefined;
  const { value } = place;
  const text = typeof value === 'number' || typeof value === 'bigint' ? String(value) : place.optionalString();
  if (text === undefined) return undefined;
  const quantity = parseQuantity(text);
  return 'problem' in quantity ? place.report(quantity.problem) : quantity;
}

/** Reads a list of named values: labels, annotations, variables. */
export function readNamed(
  list: Place,
  checkName: (name: string) => string | undefined,
  checkValue: (name: string, value: string) => string | undefined = () => undefined,
): ReadonlyMap<string, string> {
  const entries = list.list((entry): [string, string] | undefined => {
    if (!entry.isObject(['name', 'value'])) return undefined;
    const name = entry.at('name').string(checkName);
    return [name, entry.at('value').string((value) => checkValue(name, value))];
  });
  reportDuplicates(list, 'name');
  return new Map(entries);
}
