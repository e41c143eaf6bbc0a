// Captured changes, for real: what is listed, shown and applied is what the command did, and nothing of it leads anywhere else.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Changes, type Limits, listChanges, type MountSpec, openChanges, run } from '../../src/index.ts';
import { requires } from '../helpers/requires.ts';

/** `limits`: of each run that captures; with `diskBytes` what the command changes is in memory until it has ended. */
export function changesCases(limits: Limits = {}): void {
  requires('linux', 'userns');
  const isRoot = process.getuid?.() === 0;
  let work: string;
  let project: string;
  let kept: Changes[] = [];

  beforeEach(() => {
    work = mkdtempSync(join(tmpdir(), 'changes-'));
    chmodSync(work, 0o755);
    project = join(work, 'project');
    mkdirSync(join(project, 'src/deep'), { recursive: true });
    mkdirSync(join(project, 'old'));
    for (const name of ['a', 'b', 'src/c', 'src/deep/d', 'old/e']) writeFileSync(join(project, name), `${name}\n`);
    symlinkSync('a', join(project, 'link'));
  });
  afterEach(async () => {
    for (const changes of kept) await changes.discard();
    kept = [];
    expect(await listChanges()).toEqual([]);
    rmSync(work, { recursive: true, force: true });
  });

  /** What a shell script, or a program in Python, changes in a view of the project. */
  async function capture(
    script: string,
    interpreter: readonly string[] = ['sh', '-c'],
    mounts: readonly MountSpec[] = [],
  ): Promise<Changes> {
    const workspace = { path: project, access: 'overlay', changes: 'capture' } as const;
    const { changes, stderr } = await run([...interpreter, script], { workspace, limits, mounts });
    expect(stderr).toBe('');
    if (changes === undefined) throw new Error('nothing was captured');
    kept.push(changes);
    return changes;
  }

  function python(script: string): Promise<Changes> {
    requires('command:python3');
    return capture(script, ['python3', '-c']);
  }

  const short = ({ entries }: Changes): string[] =>
    entries.map(({ kind, type, path }) => `${kind} ${type} ${path.slice(project.length + 1)}`);

  test('lists exactly what changed, with sizes, and the project stays as it is', async () => {
    const before = tree(project);
    const changes = await capture(
      'echo more >> a; rm b; mkdir -p n/m; echo x > n/m/k; chmod 755 src/c; touch src/deep/d; ln -sfn b link; cat old/e > /dev/null',
    );
    expect(short(changes)).toEqual([
      'modified file a',
      'deleted file b',
      'modified symlink link',
      'added directory n',
      'added directory n/m',
      'added file n/m/k',
      'modified file src/c',
    ]);
    expect(changes.entries[0]).toMatchObject({ sizeBytes: 7, previousSizeBytes: 2, source: join(project, 'a') });
    expect(tree(project)).toEqual(before);
  });

  test('a directory that was removed and made again has lost what it held', async () => {
    const changes = await capture('rm -r src; mkdir src; echo new > src/new; rm -r old');
    expect(short(changes)).toEqual([
      'deleted directory old',
      'deleted file src/c',
      'deleted directory src/deep',
      'added file src/new',
    ]);
    await changes.apply();
    expect(tree(project)).toEqual({
      a: file('a\n'),
      b: file('b\n'),
      link: 'link to a',
      src: 'directory 755',
      'src/new': file('new\n'),
    });
  });

  test('what was done and undone is no change', async () => {
    expect(short(await capture('cp a x; echo 1 > a; cat x > a; rm x; touch b; mkdir t; rmdir t'))).toEqual([]);
  });

  test('a command that fails, or is ended, has changes too', async () => {
    const workspace = { path: project, access: 'overlay', changes: 'capture' } as const;
    const failed = await run(['sh', '-c', 'echo 1 > a; exit 3'], { workspace, limits });
    const ended = await run(['sh', '-c', 'echo 1 > a; sleep 60'], { workspace, limits: { ...limits, wallMs: 1500 } });
    kept.push(...[failed, ended].flatMap(({ changes }) => (changes === undefined ? [] : [changes])));
    expect([failed.exitCode, ended.outcome.kind]).toEqual([3, 'limit']);
    for (const { changes } of [failed, ended]) expect(changes && short(changes)).toEqual(['modified file a']);
  });

  test('where nothing runs nothing is kept', async () => {
    const workspace = { path: project, access: 'overlay', changes: 'capture' } as const;
    await expect(run(['no-such-program'], { workspace, limits })).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED' });
    expect(await listChanges()).toEqual([]);
  });

  test('several views are captured by one run, the root among them', async () => {
    const other = join(work, 'other');
    mkdirSync(other);
    const root = join(work, 'root');
    for (const name of ['bin', 'etc']) mkdirSync(join(root, name), { recursive: true });
    requires('command:busybox');
    cpSync('/bin/busybox', join(root, 'bin/busybox'));
    writeFileSync(join(root, 'etc/hosts'), 'x');
    const { changes } = await run(
      ['/bin/busybox', 'sh', '-c', 'echo 1 > /etc/hosts; echo 2 > /view/a; echo 3 > /mnt/new'],
      {
        root: { path: root, changes: 'capture' },
        mounts: [
          { type: 'overlay', source: project, destination: '/view', changes: 'capture' },
          { type: 'overlay', source: other, destination: '/mnt', changes: 'capture' },
        ],
        limits,
      },
    );
    if (changes === undefined) throw new Error('nothing was captured');
    kept.push(changes);
    // The mount points that the root lacks are nobody's changes.
    expect(changes.entries.map(({ kind, path, source }) => [kind, path, source])).toEqual([
      ['modified', '/etc/hosts', join(root, 'etc/hosts')],
      ['modified', '/view/a', join(project, 'a')],
      ['added', '/mnt/new', join(other, 'new')],
    ]);
    expect(await changes.diff()).toContain('+++ b/view/a');
    await changes.apply();
    expect(readFileSync(join(other, 'new'), 'utf8')).toBe('3\n');
    expect(readdirSync(root).sort()).toEqual(['bin', 'etc']);
  });

  describe('applied', () => {
    test('the project becomes what the command saw, whatever it did', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 12 }), async (operations) => {
          const script = operations.map((each) => `{ ${each}; } 2>/dev/null`).join('; ');
          // Not what it would have done to the project itself: once one is copied up, overlayfs has other inode numbers for the names of one file (overlayfs.rst),
          // and cp(1) looks at these.
          const seen = join(work, 'seen');
          rmSync(seen, { recursive: true, force: true });
          mkdirSync(seen);
          const before = tree(project);
          const changes = await capture(`${script}; cp -a . /seen`, undefined, [
            { type: 'bind', source: seen, destination: '/seen', readonly: false },
          ]);
          expect(tree(project)).toEqual(before);
          await changes.apply();
          kept.pop();
          expect(tree(project)).toEqual(tree(seen));
        }),
        { numRuns: 40 },
      );
    });

    test('what somebody left who was killed in the middle of it goes, and nothing else', async () => {
      const changes = await capture('echo new > src/c; echo x > added');
      for (const name of [
        `.sandboxlib-${changes.id}-half`,
        `src/.sandboxlib-${changes.id}-half`,
        'src/.sandboxlib-half',
      ])
        writeFileSync(join(project, name), 'half');
      await changes.apply();
      expect(readdirSync(project).sort()).toEqual(['a', 'added', 'b', 'link', 'old', 'src']);
      expect(readdirSync(join(project, 'src')).sort()).toEqual(['.sandboxlib-half', 'c', 'deep']);
    });

    test('it is gone, and a second time there is nothing to apply', async () => {
      const changes = await capture('echo 1 > a');
      expect(await changes.apply()).toEqual({ applied: 1, skipped: [] });
      await expect(openChanges(changes.id)).rejects.toMatchObject({ code: 'SBX_CHANGES_UNKNOWN' });
      expect(existsSync(changes.directory)).toBe(false);
    });

    test.each([
      ['a file that was changed', 'echo 1 > a', () => writeFileSync(join(project, 'a'), 'mine')],
      ['a file that is gone', 'echo 1 > a', () => rmSync(join(project, 'a'))],
      ['a file that was to be deleted', 'rm a', () => writeFileSync(join(project, 'a'), 'mine')],
      ['a file that somebody else made', 'echo 1 > new', () => writeFileSync(join(project, 'new'), 'mine')],
      ['a directory with something new', 'rm -r src', () => writeFileSync(join(project, 'src/deep/new'), 'mine')],
      ['a directory that became a file', 'echo 1 > src/c', () => replaceByFile(join(project, 'src'))],
    ])('%s meanwhile is a conflict, and nothing is applied', async (_what, script, meanwhile) => {
      const changes = await capture(`echo 1 > b; ${script}`);
      meanwhile();
      const before = tree(project);
      await expect(changes.apply()).rejects.toMatchObject({ code: 'SBX_CHANGES_CONFLICT' });
      expect(tree(project)).toEqual(before);
    });

    test('a directory that became a symlink is not followed', async () => {
      const outside = join(work, 'outside');
      mkdirSync(outside);
      writeFileSync(join(outside, 'c'), 'outside');
      const changes = await capture('echo 1 > src/c; echo 2 > src/new; rm -r src/deep');
      renameSync(join(project, 'src'), join(work, 'moved'));
      symlinkSync(outside, join(project, 'src'));
      await expect(changes.apply()).rejects.toMatchObject({ code: 'SBX_CHANGES_CONFLICT' });
      expect(readdirSync(outside)).toEqual(['c']);
      expect(readFileSync(join(outside, 'c'), 'utf8')).toBe('outside');
    });

    test('set-user-ID bits are left out, and said', async () => {
      const changes = await capture('echo 1 > tool; chmod 6755 tool; chmod 4755 a');
      const { skipped } = await changes.apply();
      kept.pop();
      expect(skipped.map(({ source }) => source).sort()).toEqual([join(project, 'a'), join(project, 'tool')]);
      expect(tree(project)).toMatchObject({ tool: file('1\n', 755), a: file('a\n', 755) });
    });

    test('what is neither file, directory nor symlink is left out, and said', async () => {
      const changes = await python(
        'import os, socket\nos.mkfifo("fifo")\nsocket.socket(socket.AF_UNIX).bind("socket")\nopen("f", "w").write("1")',
      );
      expect(await changes.diff()).toContain('# fifo: a fifo cannot be applied');
      const { applied, skipped } = await changes.apply();
      kept.pop();
      expect([applied, skipped.map(({ because }) => because)]).toEqual([
        1,
        ['a fifo cannot be applied', 'a socket cannot be applied'],
      ]);
      expect(readdirSync(project)).not.toContain('fifo');
    });
  });

  describe('hostile', () => {
    test('symlinks are what they are, in the list, in the differences and where they are applied', async () => {
      const changes = await capture('ln -s /etc/passwd secret; rm a; ln -s /etc/shadow a; ln -s ../../.. up');
      expect(await changes.diff()).not.toContain('root:');
      await changes.apply();
      kept.pop();
      expect(tree(project)).toMatchObject({
        secret: 'link to /etc/passwd',
        a: 'link to /etc/shadow',
        up: 'link to ../../..',
      });
    });

    test('what is closed to everybody can be looked at, applied and thrown away', async () => {
      const script = 'mkdir -p x/y; echo 1 > x/y/f; chmod 0 x/y/f x/y; chmod 0100 x; echo 2 > src/c; chmod 0 src/c';
      const changes = await capture(script);
      expect(short(changes)).toEqual([
        'modified file src/c',
        'added directory x',
        'added directory x/y',
        'added file x/y/f',
      ]);
      expect(await changes.diff()).toContain('+1');
      await (await openChanges(changes.id)).apply();
      kept.pop();
      expect(lstatSync(join(project, 'x')).mode & 0o777).toBe(0o100);
      chmodSync(join(project, 'x'), 0o700);
      chmodSync(join(project, 'x/y'), 0o700);
      expect(lstatSync(join(project, 'x/y/f')).mode & 0o777).toBe(0);
    });

    test('names of any bytes are kept, and do nothing to whoever reads them', async () => {
      const changes = await python(
        'for n in [b"new\\nline", b"esc\\x1b[2J", b"\\xff\\xfe", b"-rf", b" ", b"quote\\"", b"back\\\\slash"]:\n open(n, "wb").write(b"x")',
      );
      const diff = await changes.diff();
      expect(diff).not.toContain('\x1b');
      expect(diff).toContain('"b/new\\nline"');
      expect(diff).toContain('"b/\\377\\376"');
      await changes.apply();
      kept.pop();
      const names = readdirSync(project, { encoding: 'buffer' }).map((name) => name.toString('latin1'));
      for (const name of ['new\nline', 'esc\x1b[2J', '\xff\xfe', '-rf', ' ', 'quote"', 'back\\slash'])
        expect(names).toContain(name);
      rmSync(Buffer.from(`${project}/\xff\xfe`, 'latin1') as unknown as string);
    });

    test('a tree as deep as no path is long is named, and thrown away', async () => {
      const changes = await python(
        'import os\nfor i in range(3000):\n os.mkdir("d"); os.chdir("d")\nopen("bottom", "w").write("x")',
      );
      expect(changes.entries.length).toBe(257);
      expect(changes.entries.at(-1)?.problem).toMatch(/too deep/);
      await changes.discard();
      kept.pop();
      expect(existsSync(changes.directory)).toBe(false);
    });

    test('sparse files of a terabyte cost nothing to list, and are no text', async () => {
      const changes = await capture('truncate -s 1T huge');
      expect(changes.entries[0]).toMatchObject({ path: join(project, 'huge'), sizeBytes: 2 ** 40 });
      expect(await changes.diff()).toContain('Binary files /dev/null and b/huge differ');
    });

    test('no mark of the file system can be forged', async () => {
      const changes = await python(
        [
          'import os, stat',
          'def refused(f):',
          ' try: f(); print("done")',
          ' except OSError as e: print(e.errno)',
          'refused(lambda: os.mknod("b", stat.S_IFCHR | 0o600, 0))',
          'os.mkdir("new")',
          'refused(lambda: os.setxattr("src", "user.overlay.opaque", b"y"))',
          'refused(lambda: os.setxattr("src", "trusted.overlay.opaque", b"y"))',
        ].join('\n'),
      );
      expect(short(changes)).toEqual(['added directory new']);
    });

    if (isRoot) {
      test('devices are left out', async () => {
        const { changes } = await run(['mknod', join(project, 'null'), 'c', '1', '3'], {
          workspace: { path: project, access: 'overlay', changes: 'capture' },
          capabilities: ['CAP_MKNOD'],
          user: { uid: 0, gid: 0 },
        });
        if (changes !== undefined) kept.push(changes);
        // The kernel lets nobody make one in a user namespace.
        expect(changes?.entries).toEqual([]);
      });
    }
  });

  describe('kept', () => {
    test('another process finds them by their id', async () => {
      const { id, entries, command } = await capture('echo 1 > a');
      const found = await openChanges(id);
      expect(found).toMatchObject({ entries, command });
      expect((await listChanges()).map((each) => each.id)).toEqual([id]);
      await expect(openChanges('../../..')).rejects.toMatchObject({ code: 'SBX_CHANGES_UNKNOWN' });
    });

    test('while the run goes on they are left alone', async () => {
      const workspace = { path: project, access: 'overlay', changes: 'capture' } as const;
      const controller = new AbortController();
      const running = run(['sh', '-c', 'echo 1 > a; sleep 600'], { workspace, limits }, { signal: controller.signal });
      await expect.poll(async () => (await listChanges()).length, { timeout: 30_000 }).toBe(1);
      const [{ id } = { id: '' }] = await listChanges();
      await expect(openChanges(id)).rejects.toMatchObject({ code: 'SBX_CHANGES_IN_USE' });
      controller.abort();
      const { changes } = await running;
      if (changes !== undefined) kept.push(changes);
      expect((await openChanges(id)).id).toBe(id);
    });

    test.each(['state', 'state/sandboxlib', 'state/sandboxlib/changes'])(
      'where others may write to %s, they are neither kept nor read',
      async (open) => {
        const before = process.env['XDG_STATE_HOME'];
        const path = join(work, open);
        mkdirSync(join(work, 'state'));
        process.env['XDG_STATE_HOME'] = join(work, 'state');
        try {
          const changes = await capture('echo 1 > a');
          expect((await listChanges()).map(({ id }) => id)).toEqual([changes.id]);
          chmodSync(path, 0o777);
          const refusal = { code: 'SBX_CHANGES_UNREADABLE', message: expect.stringContaining('belongs to others') };
          const workspace = { path: project, access: 'overlay', changes: 'capture' } as const;
          await expect(run(['true'], { workspace })).rejects.toMatchObject(refusal);
          await expect(listChanges()).rejects.toMatchObject(refusal);
          await expect(openChanges(changes.id)).rejects.toMatchObject(refusal);
          chmodSync(path, 0o755);
          expect((await openChanges(changes.id)).id).toBe(changes.id);
        } finally {
          process.env['XDG_STATE_HOME'] = before;
        }
      },
    );

    test('they are kept where a home lies behind a symlink', async () => {
      const before = process.env['XDG_STATE_HOME'];
      mkdirSync(join(work, 'behind'));
      symlinkSync('behind', join(work, 'linked'));
      process.env['XDG_STATE_HOME'] = join(work, 'linked');
      try {
        const changes = await capture('echo 1 > a');
        expect((await openChanges(changes.id)).entries).toEqual(changes.entries);
        expect(changes.directory.startsWith(join(work, 'behind'))).toBe(true);
      } finally {
        process.env['XDG_STATE_HOME'] = before;
      }
    });

    test('they cannot be kept within what is shown', async () => {
      const before = process.env['XDG_STATE_HOME'];
      process.env['XDG_STATE_HOME'] = join(project, 'state');
      try {
        const workspace = { path: project, access: 'overlay', changes: 'capture' } as const;
        await expect(run(['true'], { workspace })).rejects.toMatchObject({
          code: 'SBX_CHANGES_UNREADABLE',
          message: expect.stringContaining('set XDG_STATE_HOME'),
        });
      } finally {
        process.env['XDG_STATE_HOME'] = before;
      }
    });
  });

  test('as an archive they are what tar unpacks', async () => {
    const long = 'x'.repeat(200);
    const changes = await capture(
      `echo more >> a; rm b; mkdir -p n/${long}; printf x > n/${long}/k; chmod 750 src/c; ln -sfn ${long}${long} link; touch 'gr\u00fcn'; mkdir shut; echo 1 > shut/in; chmod 0 shut`,
    );
    const unpacked = join(work, 'unpacked');
    mkdirSync(unpacked);
    const archive = await bytes(changes.export());
    const { status, stderr } = spawnSync('tar', ['-xp', '--delay-directory-restore', '-C', unpacked], {
      input: archive,
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(lstatSync(join(unpacked, 'shut')).mode & 0o777).toBe(0);
    chmodSync(join(unpacked, 'shut'), 0o700);
    expect(tree(unpacked)).toEqual({
      a: file('a\nmore\n'),
      'gr\u00fcn': file(''),
      link: `link to ${long}${long}`,
      n: 'directory 755',
      [`n/${long}`]: 'directory 755',
      [`n/${long}/k`]: file('x'),
      shut: 'directory 700',
      'shut/in': file('1\n'),
      'src/c': file('src/c\n', 750),
      src: 'directory 755',
    });
    expect(lstatSync(join(unpacked, 'a')).mtimeMs).toBeCloseTo(
      lstatSync(join(changes.directory, '0/upper/a')).mtimeMs,
      0,
    );
  });

  test('as a layer of an image they say what was deleted', async () => {
    const changes = await capture('echo 1 > src/deep/new; rm -r old; rm b');
    const { stdout } = spawnSync('tar', ['-tv'], { input: await bytes(changes.export('oci-layer')), encoding: 'utf8' });
    const names = stdout
      .trimEnd()
      .split('\n')
      .map((line) => `${line[0]} ${line.split(' ').at(-1)}`);
    const at = project.slice(1);
    expect(names.filter((name) => name.includes(`${at}/`))).toEqual([
      `d ${at}/`,
      `- ${at}/.wh.b`,
      `- ${at}/.wh.old`,
      `d ${at}/src/`,
      `d ${at}/src/deep/`,
      `- ${at}/src/deep/new`,
    ]);
  });

  test('git applies the differences, and has the same then', async () => {
    requires('command:git');
    const changes = await capture(
      'echo more >> a; rm b; mkdir n; printf x > n/k; chmod 755 src/c; ln -sfn b link; rm -r src/deep old; printf "a\\nb\\n" > "sp ace"',
    );
    const plain = join(work, 'plain');
    cpSync(project, plain, { recursive: true, verbatimSymlinks: true });
    const { status, stderr } = spawnSync('git', ['apply', '-'], {
      cwd: plain,
      // Where this lies in a checkout, git would take it for a part of that.
      env: { PATH: process.env['PATH'], HOME: work, GIT_CEILING_DIRECTORIES: work },
      input: await changes.diff(),
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    await changes.apply();
    kept.pop();
    expect(tree(plain)).toEqual(tree(project));
  });
}

async function bytes(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

/** In a directory with files a and b, directories src and old, and a symlink. */
const name = fc.constantFrom(
  'a',
  'b',
  'src',
  'src/c',
  'src/deep',
  'src/deep/d',
  'old',
  'old/e',
  'link',
  'new',
  'src/new',
  'old/new',
);
const operation = fc.oneof(
  fc.tuple(name, fc.constantFrom('x', 'longer text')).map(([path, text]) => `echo ${text} > ${path}`),
  name.map((path) => `echo more >> ${path}`),
  name.map((path) => `rm -rf ${path}`),
  name.map((path) => `mkdir ${path}`),
  fc
    .tuple(name, fc.constantFrom('700', '755', '775'))
    .map(([path, mode]) => `test -h ${path} || chmod ${mode} ${path}`),
  fc.tuple(name, name).map(([from, to]) => `mv -T ${from} ${to}`),
  // What cp(1) makes of a directory in itself depends on the order in which the file system lists it.
  fc
    .tuple(name, name)
    .filter(([from, to]) => !to.startsWith(`${from}/`))
    .map(([from, to]) => `cp -rT ${from} ${to}`),
  fc.tuple(name, name).map(([from, to]) => `ln -sfn ${from} ${to}`),
  fc.tuple(name, name).map(([from, to]) => `ln ${from} ${to}`),
);

function file(content: string, mode = 644): string {
  return `file ${mode} ${JSON.stringify(content)}`;
}

/** All that a change may be about, but for times. */
function tree(directory: string, prefix = ''): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(directory).sort()) {
    const path = join(directory, entry);
    const status = lstatSync(path);
    const mode = (status.mode & 0o7777).toString(8);
    if (status.isSymbolicLink()) found[`${prefix}${entry}`] = `link to ${readlinkSync(path)}`;
    else if (!status.isDirectory())
      found[`${prefix}${entry}`] = `file ${mode} ${JSON.stringify(readFileSync(path, 'utf8'))}`;
    else Object.assign(found, { [`${prefix}${entry}`]: `directory ${mode}` }, tree(path, `${prefix}${entry}/`));
  }
  return found;
}

function replaceByFile(path: string): void {
  rmSync(path, { recursive: true });
  writeFileSync(path, 'mine');
}
