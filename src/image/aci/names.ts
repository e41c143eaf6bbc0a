// The words that App Container documents are made of (App Container specification 0.8.11, types). Each check gives the reason why not, or nothing.
import { checkPath } from '../../spec/checks.ts';
import { hasParentComponent } from '../../spec/paths.ts';
import { parseImageId } from '../digest.ts';
import { checkVariable, shorten } from '../place.ts';

type Problem = string | undefined;

/** The version of the specification that all of this follows. */
export const AC_VERSION = '0.8.11';

/** The text allows one separator between two words; the reference code takes `a--b` and `a//b` too. The text holds: two spellings of one name are one too many. */
const identifier = /^[a-z0-9]+([-._~/][a-z0-9]+)*$/;
const name = /^[a-z0-9]+(-[a-z0-9]+)*$/;

/** The text has no bound; names become variables and paths, which have one. */
const NAME_LENGTH_MAX = 1024;

export function checkIdentifier(value: string): Problem {
  return value.length <= NAME_LENGTH_MAX && identifier.test(value)
    ? undefined
    : describeName(value, 'an AC Identifier', `'-', '.', '_', '~' or '/'`);
}

export function checkName(value: string): Problem {
  return value.length <= NAME_LENGTH_MAX && name.test(value) ? undefined : describeName(value, 'an AC Name', "'-'");
}

function describeName(value: string, kind: string, separators: string): string {
  if (value === '') return 'must not be empty';
  if (value.length > NAME_LENGTH_MAX) return `must not be longer than ${NAME_LENGTH_MAX} characters`;
  return `'${shorten(value)}' is not ${kind}: lower-case letters and digits, with single ${separators} between them`;
}

/** What a name would be that says as much as `value`: the last component of an image's name as the name of an app (A52). */
export function appNameOf(image: string): string {
  const last = image.split('/').at(-1) ?? '';
  return (
    last
      .toLowerCase()
      .match(/[a-z0-9]+/g)
      ?.join('-') ?? 'app'
  );
}

const number = '(?:0|[1-9][0-9]*)';
const word = `(?:${number}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)`;
/** Semantic Versioning 2.0.0. */
const semver = new RegExp(
  `^(${number})\\.(${number})\\.(${number})(?:-${word}(?:\\.${word})*)?(?:\\+[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*)?$`,
);

export type VersionVerdict = { readonly problem: string } | { readonly note: string | undefined };

/**
 * A document of a later minor version is read with a note: what it has and we do not know is passed over and listed. A later major version may
 * mean something else by the same words, and is refused.
 */
export function judgeVersion(value: string): VersionVerdict {
  const match = semver.exec(value);
  if (match === null) return { problem: `'${shorten(value)}' is not a semantic version such as '${AC_VERSION}'` };
  const [theirs, ours] = [match.slice(1, 4), AC_VERSION.split('.')].map((parts) => parts.map(Number));
  if (theirs === undefined || ours === undefined || theirs.every((part) => part === 0))
    return { problem: "must be the version of the specification that the document follows, not '0.0.0'" };
  const [major = 0] = theirs;
  const [ownMajor = 0] = ours;
  if (major < ownMajor) return { problem: `version ${value} is too old: ${AC_VERSION} is what is read here` };
  if (major > ownMajor) return { problem: `version ${value} is newer than ${AC_VERSION}, which is what is read here` };
  const difference = theirs.map((part, index) => part - (ours[index] ?? 0)).find((part) => part !== 0) ?? 0;
  return {
    note: difference > 0 ? `version ${value} is newer than ${AC_VERSION}: what it added is passed over` : undefined,
  };
}

/**
 * Operating systems and their architectures (A27). The text names fewer for linux than the reference code; all of those are taken, for each names
 * one thing.
 */
export const osArchitectures: Readonly<Record<string, readonly string[]>> = {
  linux: ['amd64', 'i386', 'aarch64', 'aarch64_be', 'armv6l', 'armv7l', 'armv7b', 'ppc64', 'ppc64le', 's390x'],
  freebsd: ['amd64', 'i386', 'arm'],
  darwin: ['x86_64', 'i386'],
};

/** POSIX's letters, and two that programs in the wild use. */
export function checkVariableName(value: string): Problem {
  if (/^[A-Za-z_][A-Za-z_0-9.-]*$/.test(value)) return checkVariable(value);
  return `'${shorten(value)}' is no name of a variable: a letter or '_', then letters, digits, '_', '.' and '-'`;
}

/** RFC 3339 with its upper-case T, and a date that exists. */
export function checkTimestamp(value: string): Problem {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|[+-](\d\d):(\d\d))$/.exec(value);
  const wrong = `'${shorten(value)}' is no time of RFC 3339, such as '2014-10-27T19:32:27Z'`;
  if (match === null) return wrong;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, zoneHour = 0, zoneMinute = 0] = match
    .slice(1)
    .map((part) => Number(part ?? 0));
  const days = new Date(Date.UTC(year, month, 0)).getUTCDate();
  const inRange = month >= 1 && month <= 12 && day >= 1 && day <= days && hour < 24 && minute < 60 && second <= 60;
  return inRange && zoneHour < 24 && zoneMinute < 60 ? undefined : wrong;
}

export function checkWebUrl(value: string): Problem {
  const scheme = URL.canParse(value) ? new URL(value).protocol : undefined;
  return scheme === 'http:' || scheme === 'https:' ? undefined : `'${shorten(value)}' is no http or https URL`;
}

/** Where something lies inside of the image. */
export function checkAbsolute(value: string): Problem {
  const problem = checkPath(value);
  if (problem !== undefined) return problem;
  if (!value.startsWith('/')) return `must be an absolute path, not '${shorten(value)}'`;
  return hasParentComponent(value) ? `must not have '..' in it: '${shorten(value)}'` : undefined;
}

export function checkImageId(value: string): Problem {
  const id = parseImageId(value);
  return 'problem' in id ? id.problem : undefined;
}
