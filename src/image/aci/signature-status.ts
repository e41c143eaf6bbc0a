// What gpgv says, in the lines of --status-fd (GnuPG, doc/DETAILS). Its exit status is not enough: it is 0 for a signature by a key that was revoked or has
// expired, and 2 for a good one beside one by an unknown key. Pure.

export interface Signer {
  /** Of the primary key, in upper case. */
  readonly fingerprint: string;
  /** As the keyring has it. */
  readonly userId: string;
  readonly signedAt: Date;
}

export interface Verdict {
  readonly signers: readonly Signer[];
  /** Any makes all of it bad. */
  readonly problems: readonly string[];
  /** Fingerprints or ids. */
  readonly unknownKeys: readonly string[];
}

/** RFC 4880, 9.4: MD5, SHA-1 and RIPEMD-160, which collide, or are about to. */
const weakHashes: Readonly<Record<string, string>> = { '1': 'MD5', '2': 'SHA-1', '3': 'RIPEMD-160' };
/** Of ERRSIG: there is no such key. */
const NO_KEY = '9';

const reasons: Readonly<Record<string, (user: string) => string>> = {
  BADSIG: (user) => `it is not of these bytes, or was changed (a signature by ${user})`,
  EXPSIG: (user) => `the signature by ${user} has expired`,
  EXPKEYSIG: (user) => `the key of ${user} has expired`,
  REVKEYSIG: (user) => `the key of ${user} was revoked`,
};

interface Line {
  readonly keyword: string;
  readonly words: readonly string[];
}

export function judgeStatus(status: string): Verdict {
  const signers: Signer[] = [];
  const problems: string[] = [];
  const unknownKeys: string[] = [];
  for (const lines of signaturesIn(status)) {
    const found = judge(lines);
    if (found === undefined) continue;
    if ('problem' in found) problems.push(found.problem);
    else if ('unknownKey' in found) unknownKeys.push(found.unknownKey);
    else signers.push(found);
  }
  return { signers, problems, unknownKeys };
}

/** Lines of each signature; those before the first by themselves. */
function signaturesIn(status: string): Line[][] {
  const signatures: Line[][] = [[]];
  for (const text of status.split('\n')) {
    const match = /^\[GNUPG:\] ([A-Z_0-9]+)(?: (.*))?$/.exec(text);
    if (match === null) continue;
    const line = { keyword: match[1] ?? '', words: (match[2] ?? '').split(' ') };
    if (line.keyword === 'NEWSIG') signatures.push([]);
    else signatures.at(-1)?.push(line);
  }
  return signatures;
}

type Judgement = Signer | { readonly problem: string } | { readonly unknownKey: string };

function judge(lines: readonly Line[]): Judgement | undefined {
  const find = (keyword: string): Line | undefined => lines.find((line) => line.keyword === keyword);
  // A message with its own content inside: gpg would check that and not the image.
  if (find('PLAINTEXT') ?? find('UNEXPECTED'))
    return { problem: 'it is no detached signature: it has content of its own' };
  for (const [keyword, because] of Object.entries(reasons)) {
    const line = find(keyword);
    if (line !== undefined) return { problem: because(userOf(line)) };
  }
  const error = find('ERRSIG');
  if (error !== undefined) {
    const [keyId = '', , , , , code = '', fingerprint = '-'] = error.words;
    const key = fingerprint === '-' ? keyId : fingerprint;
    return code === NO_KEY
      ? { unknownKey: key }
      : { problem: `the signature by ${key} cannot be checked (code ${code})` };
  }
  const [good, valid] = [find('GOODSIG'), find('VALIDSIG')];
  if (good === undefined && valid === undefined) return undefined;
  if (good === undefined || valid === undefined) return { problem: 'gpgv does not say that the signature is good' };
  return judgeGood(userOf(good), valid.words);
}

function judgeGood(userId: string, words: readonly string[]): Judgement {
  const [own = '', , created = '', , , , , hash = '', kind = '', primary = own] = words;
  const weak = weakHashes[hash];
  if (weak !== undefined) return { problem: `the signature by ${userId} is by way of ${weak}, which can be forged` };
  // One of text leaves ends of lines out of account.
  if (kind !== '00') return { problem: `the signature by ${userId} is of kind ${kind}, and not of bytes` };
  return { fingerprint: primary, userId, signedAt: new Date(Number(created) * 1000) };
}

/** `KEYID USER`, percent-escaped. */
function userOf({ words }: Line): string {
  const text = words.slice(1).join(' ');
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
