// The shape of a spec that comes from outside: strict everywhere, and every issue in words. Whether it makes sense on this host is the business
// of normalize(). Loading zod costs more than a run: import this file only when there is something to validate.
import * as z from 'zod';
import { SpecError, type SpecIssue } from '../errors/errors.ts';
import { architectures } from './architectures.ts';
import { capabilityNames, checkCapability } from './capabilities.ts';
import {
  checkEnvName,
  checkEnvValue,
  checkHostname,
  checkInheritName,
  checkPath,
  checkPathInside,
  checkRootString,
  checkText,
  ID_MAPPINGS_MAX,
  ID_MAX,
  type Problem,
  TERMINAL_MAX,
} from './checks.ts';
import { isEnvSpec } from './environment.ts';
import { landlockAccesses, landlockScopes, PORT_MAX } from './landlock.ts';
import { parseMountString } from './mount-string.ts';
import { nearest } from './nearest.ts';
import { type SchemaIssue, toSpecIssues } from './schema-issues.ts';
import type { SandboxSpec } from './types.ts';
import { checkBytes, checkMilliseconds } from './units.ts';
import { describeValue, kindOfObject } from './words.ts';

/** @throws {SpecError} with every issue. What is returned is a copy, without members that are `undefined`. */
export function validateSpec(value: unknown): SandboxSpec {
  const result = sandboxSpec.safeParse(value);
  const issues = [
    ...strangeObjects(value, []),
    ...(result.success ? [] : toSpecIssues(result.error.issues as readonly SchemaIssue[], value, knownKeys)),
    ...prototypeIssues(value),
  ];
  if (issues.length > 0) throw new SpecError(issues);
  const { $schema: _, ...spec } = result.data ?? {};
  return withoutUndefined(spec) as SandboxSpec;
}

/** What the JSON Schema says beyond the types; `id`: the interface of types.ts. */
export interface Annotation {
  readonly id?: string;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly enum?: readonly string[];
}

export const annotations: z.core.$ZodRegistry<Annotation> = z.registry<Annotation>();

const keysOf = new Map<string, readonly string[]>();

function knownKeys(id: string): readonly string[] {
  return keysOf.get(id) ?? [];
}

/** A strict object. The message of an issue about its keys is its name: schema-issues.ts makes a sentence of it. */
function object<Shape extends z.core.$ZodShape>(id: string, shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  const keys = Object.keys(shape);
  keysOf.set(
    id,
    keys.filter((key) => key !== '$schema'),
  );
  const schema = z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? id : undefined),
  });
  annotations.add(schema, { id });
  return schema;
}

function text(check: (value: string) => Problem, annotation: Annotation = {}): z.ZodString {
  const schema = z.string().check((context) => {
    const message = check(context.value);
    if (message !== undefined) context.issues.push({ code: 'custom', message, input: context.value, continue: true });
  });
  annotations.add(schema, annotation);
  return schema;
}

function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): z.ZodInt {
  return z.int().min(min).max(max);
}

const withoutNul = '^[^\\u0000]*$';
const bytes = z.union([
  integer(0),
  text(checkBytes, { pattern: '^[0-9]+(\\.[0-9]+)? ?(B|kB|KiB|MB|MiB|GB|GiB|TB|TiB)$' }),
]);
const milliseconds = z.union([integer(0), text(checkMilliseconds, { pattern: '^[0-9]+(\\.[0-9]+)? ?(ms|s|min|h)$' })]);
const plainText = text(checkText, { pattern: withoutNul });
const path = text(checkPath, { minLength: 1, pattern: withoutNul });
const pathInside = text(checkPathInside, { pattern: '^/[^\\u0000]*$' });
const id = integer(0, ID_MAX);

const rootSpec = object('RootSpec', {
  path: path.optional(),
  image: path.optional(),
  entrypoint: z.array(plainText).optional(),
  readonly: z.boolean().optional(),
  writablePaths: z.union([z.enum(['all', 'none']), z.array(pathInside)]).optional(),
  changes: z.enum(['discard', 'keep', 'capture']).optional(),
});

const mountSpec = object('MountSpec', {
  type: z.enum(['bind', 'tmpfs', 'overlay', 'proc', 'dev', 'sysfs', 'image']),
  source: path.optional(),
  destination: pathInside,
  readonly: z.boolean().optional(),
  sizeBytes: bytes.optional(),
  mode: integer(0, 0o7777).optional(),
  optional: z.boolean().optional(),
  changes: z.enum(['discard', 'capture']).optional(),
});

const mountString = text((value) => {
  const problem = checkText(value);
  if (problem !== undefined) return problem;
  const parsed = parseMountString(value);
  return 'problem' in parsed ? parsed.problem : undefined;
});

const workspaceSpec = object('WorkspaceSpec', {
  path,
  access: z.enum(['ro', 'rw', 'overlay']).optional(),
  changes: z.enum(['discard', 'capture']).optional(),
});

// The names are checked with their values, so that a message points at the variable.
const variableName = z.string();
annotations.add(variableName, { minLength: 1, pattern: '^[^=\\u0000]+$' });

const variables = z.record(variableName, z.string()).check((context) => {
  for (const [name, value] of Object.entries(context.value)) {
    const message = checkEnvName(name) ?? checkEnvValue(name, value);
    if (message !== undefined)
      context.issues.push({ code: 'custom', path: [name], message, input: value, continue: true });
  }
});

const namedEnvSpec = object('EnvSpec', {
  inherit: z.array(text(checkInheritName)).optional(),
  set: variables.optional(),
});
// Else zod would take it for the form that was meant, as long as its names are no more than unknown.
const envSpec = namedEnvSpec.check((context) => {
  const { value: input } = context;
  if (!isEnvSpec(input as Record<string, string>)) context.issues.push({ code: 'custom', input, continue: false });
});
// The copy takes the place of the first.
annotations.remove(namedEnvSpec);
annotations.add(envSpec, { id: 'EnvSpec' });

const userSpec = object('UserSpec', {
  uid: id,
  gid: id,
  additionalGids: z.array(id).optional(),
});

const idMapping = object('IdMapping', {
  containerID: id,
  hostID: id,
  size: integer(1, ID_MAX + 1),
});

const idMappings = z.union([z.literal('subordinate'), z.array(idMapping).min(1).max(ID_MAPPINGS_MAX)]);

const networkPolicy = object('NetworkPolicy', {
  allow: z.array(plainText).optional(),
  publish: z.array(plainText).optional(),
});

const limits = object('Limits', {
  wallMs: milliseconds.optional(),
  cpuMs: milliseconds.optional(),
  processCpuMs: milliseconds.optional(),
  cpus: z.number().min(0.01).optional(),
  memoryBytes: bytes.optional(),
  pids: integer(1).optional(),
  openFiles: integer(0).optional(),
  fileBytes: bytes.optional(),
  stackBytes: bytes.optional(),
  coreBytes: bytes.optional(),
  outputBytes: bytes.optional(),
  diskBytes: bytes.optional(),
});

// Everything else of it is checked where it is compiled.
const ociSeccomp = z.looseObject({ defaultAction: plainText });
annotations.add(ociSeccomp, { id: 'OciSeccomp' });

const syscallRule = object('SyscallRule', {
  names: z.array(plainText).min(1),
  action: z.enum(['allow', 'log', 'errno', 'kill', 'ask']),
  errno: plainText.optional(),
  // Checked where it is compiled.
  args: z.array(z.looseObject({ index: integer(0, 5) })).optional(),
});

// The paths are checked with the rest of what the spec means, so that a message points at one.
const landlockPath = z.string();
annotations.add(landlockPath, { pattern: '^/[^\\u0000]*$' });

const landlockSpec = object('LandlockSpec', {
  paths: z.record(landlockPath, z.enum(landlockAccesses)).optional(),
  bindTcp: z.array(integer(0, PORT_MAX)).optional(),
  connectTcp: z.array(integer(1, PORT_MAX)).optional(),
  scopes: z.array(z.enum(landlockScopes)).optional(),
});

const terminalSize = object('TerminalSize', {
  columns: integer(1, TERMINAL_MAX),
  rows: integer(1, TERMINAL_MAX),
});

const capability = text((name) => checkCapability(name, nearest), { enum: capabilityNames });

/** The whole spec, before normalization. */
export const sandboxSpec: z.ZodObject = object('SandboxSpec', {
  // For editors; dropped.
  $schema: z.string().optional(),
  root: z
    .union([text(checkRootString, { minLength: 1, pattern: '^(host|\\.|\\.\\.|[^\\u0000]*/[^\\u0000]*)$' }), rootSpec])
    .optional(),
  mounts: z.array(z.union([mountString, mountSpec])).optional(),
  workspace: z.union([path, workspaceSpec]).optional(),
  cwd: pathInside.optional(),
  env: z.union([envSpec, variables]).optional(),
  hostname: text(checkHostname, { minLength: 1, maxLength: 64, pattern: withoutNul }).optional(),
  umask: integer(0, 0o777).optional(),
  user: z.union([plainText, userSpec]).optional(),
  uidMappings: idMappings.optional(),
  gidMappings: idMappings.optional(),
  network: z.union([z.enum(['none', 'host']), networkPolicy]).optional(),
  limits: limits.optional(),
  seccomp: z.union([z.enum(['default', 'strict', 'unconfined']), ociSeccomp]).optional(),
  seccompUnknownSyscalls: z.enum(['error', 'ignore']).optional(),
  onSyscall: z.array(syscallRule).min(1).optional(),
  capabilities: z.array(capability).optional(),
  landlock: landlockSpec.optional(),
  selinux: plainText.optional(),
  terminal: z.union([z.boolean(), terminalSize]).optional(),
  architecture: z.enum(architectures).optional(),
});

/** zod passes over `__proto__` in a record; nothing may be dropped in silence. */
function prototypeIssues(value: unknown): SpecIssue[] {
  return [['env'], ['env', 'set'], ['landlock'], ['landlock', 'paths'], ['seccomp']]
    .filter((path) => {
      const record = path.reduce<unknown>((outer, key) => (isRecord(outer) ? outer[key] : undefined), value);
      return isRecord(record) && Object.hasOwn(record, '__proto__');
    })
    .map((path) => ({ path: [...path, '__proto__'], message: "'__proto__' cannot be a name here" }));
}

/** Deeper than anything that means something, and far from what the stack takes. */
const DEPTH_MAX = 64;

/** zod takes a Map or a Promise for an object without keys. @throws {SpecError} where something contains itself. */
function strangeObjects(value: unknown, path: readonly (string | number)[]): SpecIssue[] {
  if (!isRecord(value)) return [];
  if (path.length > DEPTH_MAX) {
    throw new SpecError([{ path: path.slice(0, 1), message: 'is nested too deeply, or contains itself' }]);
  }
  if (Array.isArray(value)) return value.flatMap((member, index) => strangeObjects(member, [...path, index]));
  if (kindOfObject(value) !== 'Object') return [{ path, message: `must be plain data, not ${describeValue(value)}` }];
  return Object.entries(value).flatMap(([key, member]) => strangeObjects(member, [...path, key]));
}

function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (!isRecord(value)) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(entries.map(([key, member]) => [key, withoutUndefined(member)]));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
