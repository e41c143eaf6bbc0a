// `User` of an image's configuration, by the accounts of the image's own root, as container engines read it.
import { ImageError } from '../../errors/errors.ts';
import type { UserSpec } from '../../spec/types.ts';
import { shorten } from '../place.ts';

/** Text of a file of the root, looked up without leaving it; `undefined` where there is none, or it cannot be read. */
export type ReadAccounts = (path: '/etc/passwd' | '/etc/group') => string | undefined;

/** 4294967295 is -1 for the kernel and no id. */
const ID_MAX = 4_294_967_294;

/**
 * Digits are always a number, also where somebody has them as a name: the other order is CVE-2016-3697. A number without an account has gid 0. A
 * group that is named leaves out those that group(5) lists the user in.
 *
 * @throws {ImageError} `SBX_IMAGE_UNSUPPORTED` where the root does not know the name.
 */
export function resolveImageUser(text: string, read: ReadAccounts): UserSpec {
  if (text === '') return { uid: 0, gid: 0, additionalGids: [] };
  const [user = '', group, ...rest] = text.split(':');
  if (user === '' || group === '' || rest.length > 0)
    throw new ImageError('SBX_IMAGE_INVALID', `the user of the image, '${shorten(text)}', is not USER or USER:GROUP`);
  const account = findAccount(user, read);
  if (group !== undefined) return { uid: account.uid, gid: findGroup(group, read), additionalGids: [] };
  const { uid, gid, name } = account;
  return { uid, gid, additionalGids: name === undefined ? [] : groupsOf(name, read).filter((id) => id !== gid) };
}

interface Account {
  readonly uid: number;
  readonly gid: number;
  readonly name: string | undefined;
}

function findAccount(user: string, read: ReadAccounts): Account {
  const wanted = /^\d+$/.test(user) ? idOf(user, user) : undefined;
  for (const [name = '', , uid = '', gid = ''] of linesOf(read('/etc/passwd'))) {
    if (parseId(uid) === undefined || parseId(gid) === undefined || name === '') continue;
    if (wanted === undefined ? name === user : parseId(uid) === wanted)
      return { uid: Number(uid), gid: Number(gid), name };
  }
  if (wanted !== undefined) return { uid: wanted, gid: 0, name: undefined };
  throw new ImageError(
    'SBX_IMAGE_UNSUPPORTED',
    `the image is to run as '${shorten(user)}', and has no such user in its /etc/passwd`,
    {},
    {
      remedy: 'name another user, by number',
    },
  );
}

function findGroup(group: string, read: ReadAccounts): number {
  if (/^\d+$/.test(group)) return idOf(group, group);
  for (const [name, , gid = ''] of linesOf(read('/etc/group'))) {
    const id = parseId(gid);
    if (name === group && id !== undefined) return id;
  }
  throw new ImageError(
    'SBX_IMAGE_UNSUPPORTED',
    `the image is to run as group '${shorten(group)}', which is not in its /etc/group`,
    {},
    {
      remedy: 'name another group, by number',
    },
  );
}

function groupsOf(user: string, read: ReadAccounts): number[] {
  const ids = linesOf(read('/etc/group')).flatMap(([, , gid = '', members = '']) => {
    const id = parseId(gid);
    return id !== undefined && members.split(',').includes(user) ? [id] : [];
  });
  return [...new Set(ids)];
}

function linesOf(text: string | undefined): string[][] {
  return (text ?? '').split('\n').map((line) => line.split(':'));
}

function parseId(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) <= ID_MAX ? Number(text) : undefined;
}

function idOf(text: string, given: string): number {
  const id = parseId(text);
  if (id === undefined)
    throw new ImageError(
      'SBX_IMAGE_INVALID',
      `the user of the image has an id that is larger than any: ${shorten(given)}`,
    );
  return id;
}
