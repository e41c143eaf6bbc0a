import { describe, expect, test } from 'vitest';
import type { ImageError } from '../../../src/errors/errors.ts';
import { AciArchiveRules, type ArchiveEntry } from '../../../src/image/aci/archive.ts';

type Type = ArchiveEntry['type'];

function judge(...entries: readonly (readonly [string, Type])[]): string {
  const rules = new AciArchiveRules();
  for (const [path, type] of entries) rules.entry({ path, type });
  try {
    rules.finish();
  } catch (error) {
    return String(error);
  }
  return 'good';
}

const manifest = ['manifest', 'file'] as const;
const rootfs = ['rootfs', 'directory'] as const;

describe('an App Container archive', () => {
  test('has a manifest and a rootfs, in any order and by any spelling that tar has (A04, A07)', () => {
    expect(judge(manifest, rootfs)).toBe('good');
    expect(
      judge(['./', 'directory'], ['./rootfs/', 'directory'], ['./rootfs/a', 'symlink'], ['./manifest', 'file']),
    ).toBe('good');
    expect(judge(manifest, ['rootfs/bin/sh', 'file'])).toBe('good');
  });

  test.each<[string, readonly (readonly [string, Type])[]]>([
    ['there is no image manifest', [rootfs]],
    ['there is no rootfs', [manifest]],
    ["'manifest' must be a regular file, and is a symlink", [['manifest', 'symlink'], rootfs]],
    ["'rootfs' must be a directory, and is a symlink", [manifest, ['rootfs', 'symlink']]],
    ["'rootfs' must be a directory, and is a file", [manifest, ['rootfs', 'file']]],
    ["'manifest/x' lies below 'manifest', which is a file", [manifest, ['manifest/x', 'file'], rootfs]],
    ["'README' has no place", [manifest, rootfs, ['README', 'file']]],
    ["'/manifest' is not a path below the top", [['/manifest', 'file'], rootfs]],
    ["'rootfs/../etc/passwd' is not a path below the top", [manifest, rootfs, ['rootfs/../etc/passwd', 'file']]],
    ["'' is not a path below the top", [manifest, rootfs, ['', 'file']]],
  ])('%s: refused', (message, entries) => expect(judge(...entries)).toContain(message));

  test('rootfsX is not rootfs, although the reference code looks at the beginning alone (A04)', () => {
    expect(judge(manifest, rootfs, ['rootfsX/etc/passwd', 'file'])).toContain("'rootfsX/etc/passwd' has no place");
    expect(judge(manifest, ['rootfsX', 'directory'])).toContain('there is no rootfs');
    expect(judge(['manifests', 'file'], rootfs)).toContain('there is no image manifest');
  });

  test('a second manifest is refused, which the reference code would join to the first (A05)', () => {
    expect(judge(manifest, rootfs, manifest)).toContain("'manifest' stands twice");
    expect(judge(manifest, rootfs, ['./rootfs/', 'directory'])).toContain("'./rootfs/' stands twice");
    expect(judge(manifest, ['rootfs/a', 'file'], ['rootfs//a', 'file'])).toContain('stands twice');
  });

  test('tells what each entry is', () => {
    const rules = new AciArchiveRules();
    expect(rules.entry({ path: 'manifest', type: 'file' })).toBe('manifest');
    expect(rules.entry({ path: 'rootfs/a', type: 'character-device' })).toBe('rootfs');
    expect(rules.entry({ path: 'x', type: 'file' })).toBeUndefined();
  });

  test('has a bounded account of what is wrong', () => {
    const rules = new AciArchiveRules();
    for (let index = 0; index < 5000; index += 1) rules.entry({ path: `x${index}`, type: 'file' });
    try {
      rules.finish();
      expect.unreachable();
    } catch (error) {
      const { issues } = error as ImageError;
      expect(issues).toHaveLength(103);
      expect(issues[100]?.message).toBe('and 4900 more');
    }
  });
});
