// As become-user.ts, for a backend that serves only users with an account: this process becomes one of the machine's own, where it has any.
import { existsSync, readFileSync } from 'node:fs';
import { whyWithoutAccount } from './closed-backends.ts';

interface Account {
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** Of people, that is, as login.defs(5) has it: not of the system. */
function ofPeople({ uid, home }: Account): boolean {
  return uid >= 1000 && uid < 60_000 && existsSync(home);
}

const accounts = readFileSync('/etc/passwd', 'utf8')
  .split('\n')
  .map((line) => line.split(':'))
  .map(([, , uid, gid, , home = '']): Account => ({ uid: Number(uid), gid: Number(gid), home }));

const [account] = process.getuid?.() === 0 ? accounts.filter(ofPeople) : [];
if (account !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(account.gid);
  process.setuid?.(account.uid);
}

/** Why this process could not become an ordinary user with an account; `undefined` where it is one. */
export function whyNoAccount(): string | undefined {
  return process.getuid?.() === 0 ? 'the machine has no account of a person' : whyWithoutAccount();
}
