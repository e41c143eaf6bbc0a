import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { rootAccounts } from '../../../src/image/root-accounts.ts';
import { nodeSpecHost } from '../../../src/spec/host.ts';

const roots: string[] = [];
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true });
});

function makeRoot(): string {
  const root = nodeSpecHost().realpath(mkdtempSync(join(tmpdir(), 'root-'))) ?? '';
  roots.push(root);
  mkdirSync(join(root, 'etc'));
  return root;
}

test('accounts are read inside of the root, whatever its links say', () => {
  const root = makeRoot();
  const { read, owner } = rootAccounts(nodeSpecHost(), root);
  expect(read('/etc/passwd')).toBeUndefined();
  symlinkSync('/etc/other', join(root, 'etc/passwd'));
  expect(read('/etc/passwd')).toBeUndefined();
  writeFileSync(join(root, 'etc/other'), 'inside');
  expect(read('/etc/passwd')).toBe('inside');
  // Of the host, this would be there.
  symlinkSync('../../../../../etc/hostname', join(root, 'etc/group'));
  expect(read('/etc/group')).toBeUndefined();
  expect(owner('/etc/passwd')).toEqual({ uid: process.getuid?.(), gid: process.getgid?.() });
  expect(owner('/etc/none')).toBeUndefined();
});

test('nothing but a regular file is read', () => {
  const root = makeRoot();
  mkdirSync(join(root, 'etc/passwd'));
  chmodSync(join(root, 'etc/passwd'), 0o755);
  expect(rootAccounts(nodeSpecHost(), root).read('/etc/passwd')).toBeUndefined();
});
