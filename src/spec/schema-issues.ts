// What zod found, in words that a person understands without knowing zod.
import type { SpecIssue } from '../errors/errors.ts';
import { isEnvSpec } from './environment.ts';
import { nearest } from './nearest.ts';
import type { SandboxSpec } from './types.ts';
import { describeValue, joinWords } from './words.ts';

/** The part of zod's issues that is used here. */
export interface SchemaIssue {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly expected?: string;
  readonly origin?: string;
  readonly minimum?: number | bigint;
  readonly maximum?: number | bigint;
  readonly inclusive?: boolean;
  readonly keys?: readonly string[];
  readonly values?: readonly unknown[];
  readonly errors?: readonly (readonly SchemaIssue[])[];
}

type Path = readonly (string | number)[];

/** `knownKeys`: the keys of an object by its name, which is the message of issues about unknown keys. */
export function toSpecIssues(
  issues: readonly SchemaIssue[],
  spec: unknown,
  knownKeys: (id: string) => readonly string[],
): SpecIssue[] {
  return issues.flatMap((issue) => convert(issue, [], spec, knownKeys));
}

function convert(
  issue: SchemaIssue,
  base: Path,
  spec: unknown,
  knownKeys: (id: string) => readonly string[],
): SpecIssue[] {
  const path = [...base, ...issue.path.map((key) => (typeof key === 'number' ? key : String(key)))];
  const value = path.reduce<unknown>(memberOf, spec);
  switch (issue.code) {
    case 'unrecognized_keys':
      return (issue.keys ?? []).map((key) => ({
        path: [...path, key],
        message: unknownKey(key, knownKeys(issue.message)),
      }));
    case 'invalid_union': {
      const branch = chooseBranch(issue.errors ?? [], path, value);
      if (branch !== undefined) return branch.flatMap((inner) => convert(inner, path, spec, knownKeys));
      const accepted = (issue.errors ?? []).flatMap((errors) =>
        errors.filter(({ path: at }) => at.length === 0).flatMap(acceptedWords),
      );
      return [{ path, message: wanted([...new Set(accepted)], value) }];
    }
    case 'invalid_type':
    case 'invalid_value':
      return [{ path, message: wanted(acceptedWords(issue), value) }];
    case 'too_small':
      return [{ path, message: bound('least', issue.minimum, issue, value) }];
    case 'too_big':
      return [{ path, message: bound('most', issue.maximum, issue, value) }];
    default:
      return [{ path, message: issue.message }];
  }
}

function memberOf(value: unknown, key: string | number): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string | number, unknown>)[key] : undefined;
}

/** The alternative that was meant: the one whose kind of value this is. */
function chooseBranch(
  branches: readonly (readonly SchemaIssue[])[],
  path: Path,
  value: unknown,
): readonly SchemaIssue[] | undefined {
  const fitting = branches.filter(
    (issues) => !issues.some((issue) => issue.path.length === 0 && isOtherKind(issue, value)),
  );
  // Both forms of `env` are objects.
  if (fitting.length === 2 && path.length === 1 && path[0] === 'env') {
    return fitting[isEnvSpec(value as NonNullable<SandboxSpec['env']>) ? 0 : 1];
  }
  return fitting[0];
}

function isOtherKind({ code, expected }: SchemaIssue, value: unknown): boolean {
  if (code === 'invalid_value') return typeof value !== 'string';
  // 1.5 and NaN are numbers too, only not the right ones.
  return code === 'invalid_type' && !(typeof value === 'number' && (expected === 'int' || expected === 'number'));
}

const typeWords: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'an array',
  object: 'an object',
  record: 'an object',
};

function acceptedWords({ code, expected, values }: SchemaIssue): string[] {
  if (code === 'invalid_value') return (values ?? []).map((value) => `'${String(value)}'`);
  return expected === undefined ? [] : [typeWords[expected] ?? expected];
}

function wanted(accepted: readonly string[], value: unknown): string {
  if (value === undefined) return `is missing: it must be ${joinWords(accepted, 'or')}`;
  const words = accepted.filter((word) => word.startsWith("'")).map((word) => word.slice(1, -1));
  const meant = typeof value === 'string' ? (synonym(value, words) ?? nearest(value, words)) : undefined;
  const shown = typeof value === 'string' ? `'${value.slice(0, 40)}'` : describePlain(value);
  return `must be ${joinWords(accepted, 'or')}, not ${shown}${meant === undefined ? '' : `; did you mean '${meant}'?`}`;
}

/** Other people's names of architectures: `amd64` is no slip for `arm64`. */
const synonyms: ReadonlyMap<string, string> = new Map([
  ['amd64', 'x64'],
  ['x86_64', 'x64'],
  ['x86-64', 'x64'],
  ['aarch64', 'arm64'],
  ['armhf', 'arm'],
  ['i386', 'ia32'],
  ['i686', 'ia32'],
  ['x86', 'ia32'],
]);

function synonym(value: string, words: readonly string[]): string | undefined {
  const word = synonyms.get(value.toLowerCase());
  return word !== undefined && words.includes(word) ? word : undefined;
}

function describePlain(value: unknown): string {
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : describeValue(value);
}

function bound(
  word: 'least' | 'most',
  limit: number | bigint | undefined,
  { origin, inclusive }: SchemaIssue,
  value: unknown,
): string {
  if (origin === 'array') return `must have at ${word} ${limit} ${limit === 1 ? 'element' : 'elements'}`;
  if (inclusive === false) return `must be ${word === 'least' ? 'more' : 'less'} than ${limit}, not ${String(value)}`;
  return `must be at ${word} ${limit}, not ${String(value)}`;
}

function unknownKey(key: string, known: readonly string[]): string {
  const meant = nearest(key, known);
  const hint = meant === undefined ? `; known are ${joinWords(known)}` : `; did you mean '${meant}'?`;
  return `unknown key '${key}'${hint}`;
}
