// What a single value must look like. Each check gives the reason why not, or nothing. The schema and normalization share them, so that
// options of the command line, which never meet the schema, are held to the same rules.
import { hasParentComponent } from './paths.ts';

/** The largest id; 4294967295 is -1 for the kernel and means "no id". */
export const ID_MAX = 4_294_967_294;
/** MAX_ARG_STRLEN of execve(2) without the final NUL: one argument, or one `NAME=value`. */
export const ARGUMENT_BYTES_MAX = 131_071;
/** PATH_MAX without the final NUL. */
const PATH_BYTES_MAX = 4095;
const COMPONENT_BYTES_MAX = 255;
/** HOST_NAME_MAX of Linux (sethostname(2)). */
const HOSTNAME_BYTES_MAX = 64;
/** Linux takes no more lines in uid_map (user_namespaces(7)). */
export const ID_MAPPINGS_MAX = 340;
export const TERMINAL_MAX = 65_535;
/** Larger than any real passwd, group, subuid or subgid; a hostile one must not make us read for long. */
export const ACCOUNT_FILE_BYTES_MAX: number = 4 * 1024 * 1024;

export type Problem = string | undefined;

/** Every string that the kernel will see. */
export function checkText(value: string): Problem {
  if (value.includes('\0')) return 'must not contain a NUL character';
  if (loneSurrogate.test(value)) return 'must be well-formed Unicode: it holds half of a surrogate pair';
  return undefined;
}

const loneSurrogate = /\p{Surrogate}/u;

export function checkPath(value: string): Problem {
  if (value === '') return 'must not be empty';
  const problem = checkText(value);
  if (problem !== undefined) return problem;
  if (value.length * 3 > COMPONENT_BYTES_MAX) {
    if (Buffer.byteLength(value) > PATH_BYTES_MAX) return `must not be longer than ${PATH_BYTES_MAX} bytes`;
    const long = value.split('/').some((name) => Buffer.byteLength(name) > COMPONENT_BYTES_MAX);
    if (long) return `has a name of more than ${COMPONENT_BYTES_MAX} bytes in it, which no file system takes`;
  }
  return undefined;
}

/** A path inside the sandbox. */
export function checkPathInside(value: string): Problem {
  const problem = checkPath(value);
  if (problem !== undefined) return problem;
  if (!value.startsWith('/')) return `must be an absolute path inside the sandbox, not '${value}'`;
  if (hasParentComponent(value)) return `must not have '..' in it: '${value}'`;
  return undefined;
}

export function checkRootString(value: string): Problem {
  const problem = checkPath(value);
  if (problem !== undefined || value === 'host' || value === '.' || value === '..' || value.includes('/'))
    return problem;
  return `must be 'host' or a path with a slash in it; for a directory here write './${value}'`;
}

export function checkHostname(value: string): Problem {
  const problem = checkText(value);
  if (problem !== undefined) return problem;
  const bytes = Buffer.byteLength(value);
  if (bytes === 0 || bytes > HOSTNAME_BYTES_MAX) return `must have 1 to ${HOSTNAME_BYTES_MAX} bytes (sethostname(2))`;
  return undefined;
}

export function checkEnvName(name: string): Problem {
  if (name === '') return 'the name of a variable must not be empty';
  const problem = checkText(name);
  if (problem !== undefined) return `the name of a variable ${problem}`;
  if (name.includes('=')) return "the name of a variable must not contain '='";
  return undefined;
}

/** A name of `env.inherit`: a variable, or the beginning of names and a final `*`. */
export function checkInheritName(name: string): Problem {
  const star = name.indexOf('*');
  if (star !== -1 && star !== name.length - 1) return "'*' may only be the last character";
  return name === '*' ? undefined : checkEnvName(star === -1 ? name : name.slice(0, -1));
}

export function checkEnvValue(name: string, value: string): Problem {
  const problem = checkText(value);
  if (problem !== undefined) return problem;
  if ((name.length + value.length) * 3 < ARGUMENT_BYTES_MAX) return undefined;
  const bytes = Buffer.byteLength(name) + 1 + Buffer.byteLength(value);
  if (bytes <= ARGUMENT_BYTES_MAX) return undefined;
  return `name, '=' and value together must not be longer than ${ARGUMENT_BYTES_MAX} bytes (execve(2)), and are ${bytes}`;
}

export function checkInteger(value: number, min: number, max: number): Problem {
  if (!Number.isInteger(value)) return `must be a whole number, not ${value}`;
  if (value < min) return `must be at least ${min}, not ${value}`;
  if (value > max) return `must be at most ${max}, not ${value}`;
  return undefined;
}

export function checkId(value: number): Problem {
  return checkInteger(value, 0, ID_MAX);
}
