// Images of every kind, made here byte by byte, and run for real: as root, and as an ordinary user (images.test.ts, images-user.test.ts).
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ImageError } from '../../src/errors/errors.ts';
import { blobPath } from '../../src/image/oci/layout.ts';
import { openStore } from '../../src/image/open/open.ts';
import { unpack } from '../../src/image/unpack.ts';
import {
  type MountSpec,
  type RootSpec,
  type RunOptions,
  type RunResult,
  run,
  type SandboxProcess,
  type SandboxSpec,
  spawn,
} from '../../src/index.ts';
import { guestPath } from '../helpers/guest.ts';
import {
  aci,
  BUSYBOX,
  busyboxRoot,
  dockerArchive,
  ociArchive,
  ociImage,
  type RunConfig,
  writeLayout,
} from '../helpers/images.ts';
import { serve, serving, sha256, type TestServer } from '../helpers/registry-server.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { type Member, tar } from '../helpers/tar.ts';

const members = whyMissing(`file:${BUSYBOX}`) === undefined ? busyboxRoot() : [];
const root = tar(...members);

let work: string;
let count = 0;
let registry: TestServer | undefined;

function file(content: Uint8Array, suffix: string): string {
  const path = join(work, `image${count++}${suffix}`);
  writeFileSync(path, content);
  return path;
}

function layout(layers: readonly Uint8Array[], config: RunConfig = {}, diffIds?: readonly string[]): string {
  return writeLayout(join(work, `layout${count++}`), ociImage(layers, config, diffIds));
}

/** What a script says in an image, of whatever kind, that has a shell. */
async function runScript(image: string, script: string, { root: more, ...spec }: SandboxSpec = {}): Promise<RunResult> {
  const others = typeof more === 'object' ? more : {};
  return await run(['/bin/sh', '-c', script], { ...spec, root: { ...others, image, entrypoint: [] } });
}

async function output(image: string, script: string, spec: SandboxSpec = {}): Promise<string> {
  const { stdout, stderr } = await runScript(image, script, spec);
  expect(stderr).toBe('');
  return String(stdout);
}

/** That it is refused, and nothing of it stays in the store. */
async function refused(image: string, spec: SandboxSpec = {}): Promise<ImageError> {
  const before = names('layers', 'images');
  const error = await runScript(image, 'true', spec).then(
    () => undefined,
    (error: ImageError) => error,
  );
  expect(error?.code).toMatch(/^SBX_IMAGE_/);
  expect(names('work')).toEqual([]);
  expect(names('layers', 'images')).toEqual(before);
  return error as ImageError;
}

function stores(): string[] {
  const base = join(work, 'cache/sandboxlib/images');
  return readdirSync(base).map((name) => join(base, name));
}

function names(...parts: readonly string[]): string[] {
  return stores().flatMap((store) => parts.flatMap((part) => readdirSync(join(store, part))));
}

/** All of the layers: a change of owner, mode, link or attribute changes the time of the inode. When a layer was used is told beside it. */
function layersInStore(): string[] {
  const walk = (directory: string): string[] =>
    readdirSync(directory).flatMap((name) => {
      const path = join(directory, name);
      const status = lstatSync(path);
      if (name === 'facts.json') return [];
      const content = status.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : '';
      const { mode, uid, gid, size, nlink, mtimeMs, ctimeMs } = status;
      const line = [path, mode, uid, gid, size, nlink, mtimeMs, ctimeMs, content].join(' ');
      return status.isDirectory() ? [line, ...walk(path)] : [line];
    });
  return stores().flatMap((store) => walk(join(store, 'layers')));
}

export function describeImages({ isRoot }: { readonly isRoot: boolean }): void {
  requires('linux', 'userns', `file:${BUSYBOX}`);

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), 'images-'));
    process.env['XDG_CACHE_HOME'] = join(work, 'cache');
    registry = await serve(serving(ociImage([root], { Entrypoint: ['/bin/busybox'] })));
  });

  afterAll(async () => {
    await registry?.close();
    // Directories that were closed on purpose.
    execFileSync('chmod', ['-R', 'u+rwX', work]);
    rmSync(work, { recursive: true, force: true });
  });

  describe('an image runs', () => {
    const config: RunConfig = { Entrypoint: ['/bin/busybox'] };
    const archive = aci(members, { exec: ['/bin/busybox'] });
    test.each<readonly [string, 'aci' | 'oci', () => string]>([
      ['an App Container image', 'aci', () => file(archive, '.aci')],
      ['one that is compressed', 'aci', () => file(gzipSync(archive, { level: 1 }), '.aci')],
      ['a layout of OCI', 'oci', () => layout([root], config)],
      [
        'a layout, by the name of its image',
        'oci',
        () => `oci:${writeLayout(join(work, 'named'), ociImage([root], config), 'one')}:one`,
      ],
      ['an archive of a layout', 'oci', () => file(ociArchive(ociImage([root], config)), '.tar')],
      ['an archive of docker save', 'oci', () => file(dockerArchive([root], config), '.tar')],
      ['one with the names of others', 'oci', () => file(dockerArchive([root], config, { by: 'crane' }), '.tar')],
      [
        'one whose configuration has a plain name',
        'oci',
        () => file(dockerArchive([root], config, { by: 'jib' }), '.tar'),
      ],
      [
        'one by its tag',
        'oci',
        () => `docker-archive:${file(dockerArchive([root], config), '.tar')}:example.com/app:1`,
      ],
      ['an image of a registry', 'oci', () => `${registry?.host}/app`],
    ])('%s', async (_title, kind, make) => {
      const result = await run(['echo', 'hello', 'there'], { root: { image: make() } });
      expect(result).toMatchObject({ stdout: 'hello there\n', stderr: '', exitCode: 0 });
      expect(result.enforcement.image).toMatchObject({ kind, layers: 1 });
    });

    test('a tar archive, whose command is all that is said', async () => {
      const result = await run(['/bin/busybox', 'echo', 'hello'], { root: { image: file(root, '.tar') } });
      expect(result).toMatchObject({ stdout: 'hello\n', enforcement: { image: { kind: 'tar', layers: 1 } } });
    });
  });

  describe('an image of squashfs', () => {
    requires('command:tar2sqfs', 'command:sqfs2tar');
    const top: Member = { name: './', type: '5', mode: 0o711 };
    const own: Member[] = [
      { name: 'own/', type: '5', mode: 0o1770, uid: 123, gid: 456, mtime: 5 },
      { name: 'own/hard', type: '1', linkname: 'etc/passwd' },
    ];
    function squashfs(...more: readonly Member[]): string {
      const path = join(work, `image${count++}.sqfs`);
      execFileSync('tar2sqfs', ['--quiet', path], { input: tar(...more), stdio: ['pipe', 'ignore', 'pipe'] });
      return path;
    }

    test('runs as a tar archive does, and is unpacked once', async () => {
      const image = squashfs(top, ...members, ...own);
      const script = 'stat -c "%a %n" /; stat -c "%a %u:%g %Y" /own; cat /own/hard | wc -l; echo x > /own/new';
      const [uid, gid] = isRoot ? [123, 456] : [0, 0];
      const spec: SandboxSpec = { user: { uid: 0, gid: 0 }, ...(isRoot ? { capabilities: ['CAP_DAC_OVERRIDE'] } : {}) };
      for (const _round of [1, 2]) expect(await output(image, script, spec)).toBe(`711 /\n1770 ${uid}:${gid} 5\n2\n`);
      const { enforcement } = await runScript(image, 'true');
      expect(enforcement.image).toMatchObject({ kind: 'tar', layers: 1 });
    });

    test('that is cut short, or expands beyond the bounds, is refused and leaves nothing', async () => {
      const whole = readFileSync(squashfs(...members));
      const short = file(whole.subarray(0, 4000), '.sqfs');
      expect((await refused(short)).message).toMatch(/sqfs2tar cannot read it/);
      const bomb = squashfs({ name: 'zeros', content: new Uint8Array(64 * 1024 * 1024) });
      const limits = { ratioFloorBytes: 1024 * 1024 };
      await expect(run(['x'], { root: { image: bomb } }, { image: { limits } })).rejects.toMatchObject({
        code: 'SBX_IMAGE_LIMIT',
        message: expect.stringContaining('expand to'),
      });
      expect(names('work')).toEqual([]);
    });
  });

  describe('an image of erofs', () => {
    requires('command:mkfs.erofs', 'command:fsck.erofs');
    function erofs(fill: (tree: string) => void, ...options: readonly string[]): string {
      const tree = join(work, `tree${count}`);
      const path = join(work, `image${count++}.erofs`);
      mkdirSync(tree);
      execFileSync('tar', ['-x', '-C', tree], { input: root });
      fill(tree);
      const made = ['-zlz4hc', '--force-uid=123', '--force-gid=456', '-T', '5', ...options, path, tree];
      execFileSync('mkfs.erofs', made, { stdio: ['ignore', 'ignore', 'pipe'] });
      return path;
    }

    test('runs as a tar archive does, and is unpacked once', async () => {
      const image = erofs((tree) => {
        mkdirSync(join(tree, 'own'));
        chmodSync(join(tree, 'own'), 0o1770);
        writeFileSync(join(tree, 'own/secret'), 'x'.repeat(100_000));
        chmodSync(join(tree, 'own/secret'), 0o400);
        execFileSync('mkfifo', ['-m', '620', join(tree, 'own/pipe')]);
        chmodSync(tree, 0o711);
      });
      const script =
        'stat -c "%a %n" /; stat -c "%a %u:%g %Y" /own; wc -c < /own/secret; stat -c "%a %F" /own/pipe; readlink /bin/sh; echo x > /own/new';
      const ids = isRoot ? '123:456' : '0:0';
      const spec: SandboxSpec = { user: { uid: 0, gid: 0 }, ...(isRoot ? { capabilities: ['CAP_DAC_OVERRIDE'] } : {}) };
      const expected = `711 /\n1770 ${ids} 5\n100000\n620 fifo\nbusybox\n`;
      for (const _round of [1, 2]) expect(await output(image, script, spec)).toBe(expected);
      const { enforcement } = await runScript(image, 'true');
      expect(enforcement.image).toMatchObject({ kind: 'tar', layers: 1 });
    });

    test('that is cut short, or expands beyond the bounds, is refused and leaves nothing', async () => {
      const whole = readFileSync(erofs(() => {}));
      const short = file(whole.subarray(0, 4096), '.erofs');
      expect(await refused(short)).toMatchObject({
        code: 'SBX_IMAGE_INVALID',
        message: expect.stringMatching(/fsck\.erofs cannot read it: .*erofs/),
      });
      const bomb = erofs((tree) => writeFileSync(join(tree, 'zeros'), new Uint8Array(64 * 1024 * 1024)));
      const image = { limits: { ratioFloorBytes: 1024 * 1024, ratio: 1 } };
      await expect(run(['x'], { root: { image: bomb } }, { image })).rejects.toMatchObject({
        code: 'SBX_IMAGE_UNSUPPORTED',
        message: expect.stringMatching(/more than may be in memory while it is read/),
      });
      expect(names('work')).toEqual([]);
    });

    test('is read by nobody but a sandbox, which ends what never ends', async () => {
      // One that is changed anywhere is refused or is another tree; what reads it never harms who asked for that.
      const whole = readFileSync(erofs(() => {}));
      const random = fc.sample(fc.tuple(fc.nat(8191), fc.nat(255)), { numRuns: 6, seed: 7 });
      for (const [at, value] of random) {
        const changed = Buffer.from(whole);
        changed.fill(value, 1040 + at, 1048 + at);
        const path = file(changed, '.erofs');
        const tried = await runScript(path, 'true').then(
          ({ outcome }) => outcome.kind,
          ({ code }: ImageError) => code,
        );
        expect([
          'exited',
          'SBX_IMAGE_INVALID',
          'SBX_IMAGE_UNSUPPORTED',
          'SBX_IMAGE_LIMIT',
          'SBX_LAUNCH_FAILED',
        ]).toContain(tried);
      }
      expect(names('work')).toEqual([]);
    });

    if (isRoot) {
      test('with devices is refused, which fsck.erofs does not leave out', async () => {
        const image = erofs((tree) => execFileSync('mknod', [join(tree, 'null'), 'c', '1', '3']));
        await expect(run(['x'], { root: { image } })).rejects.toMatchObject({
          code: 'SBX_IMAGE_UNSUPPORTED',
          message: expect.stringContaining('there are devices in it'),
          remedy: expect.stringContaining('--exclude-regex'),
        });
      });
    }
  });

  describe('what an image says of its command', () => {
    const config: RunConfig = {
      Entrypoint: ['/bin/sh', '-c', 'echo "$0 $*"; id -u; id -g; pwd; echo "$HOME $A $B"'],
      Cmd: ['one', 'two'],
      Env: ['A=image', 'B=image'],
      User: 'app',
      WorkingDir: '/bin',
    };
    let image: string;
    beforeAll(() => {
      image = layout([root], config);
    });
    const said = async (words: readonly string[], spec: SandboxSpec = {}): Promise<string> => {
      const { root: more } = spec;
      const others = typeof more === 'object' ? more : {};
      const { stdout, stderr } = await run(words as [string], { ...spec, root: { ...others, image } });
      expect(stderr).toBe('');
      return String(stdout);
    };

    test('holds where the spec says nothing', async () => {
      expect(await said([])).toBe('one two\n123\n456\n/bin\n/srv image image\n');
    });

    test('gives way to what the spec says, part by part', async () => {
      expect(await said(['three'])).toBe('three \n123\n456\n/bin\n/srv image image\n');
      const spec: SandboxSpec = { env: { A: 'spec' }, cwd: '/etc', user: { uid: 0, gid: 0 } };
      expect(await said([], spec)).toBe('one two\n0\n0\n/etc\n/root spec image\n');
    });

    test('is followed by a command, or with an entry point of the caller is not there', async () => {
      expect(await said(['-c', 'echo own'], { root: { entrypoint: ['/bin/sh'] } })).toBe('own\n');
      expect(await said(['/bin/echo', 'all'], { root: { entrypoint: [] } })).toBe('all\n');
      await expect(said([], { root: { entrypoint: [] } })).rejects.toMatchObject({
        code: 'SBX_IMAGE_UNSUPPORTED',
        message: expect.stringContaining('names no command'),
      });
    });

    test('of a manifest of App Container too', async () => {
      const app = {
        exec: ['/bin/sh', '-c', 'echo "$0"; id -u; id -g; pwd; echo "$HOME $A"', 'first'],
        user: 'app',
        group: 'app',
        workingDirectory: '/bin',
        environment: [{ name: 'A', value: 'image' }],
      };
      const { stdout } = await run([], { root: { image: file(aci(members, app), '.aci') } });
      expect(stdout).toBe('first\n123\n456\n/bin\n/srv image\n');
    });

    describe('StopSignal', () => {
      const traps =
        'trap "echo stopped; exit 7" USR1; trap "echo asked; exit 8" TERM; trap "echo quit; exit 9" QUIT; echo ready; while :; do sleep 0.1; done';
      const stopped: RunConfig = { Cmd: ['/bin/sh', '-c', traps], StopSignal: 'SIGUSR1' };
      /** Ends a run of it as soon as its traps are set. */
      async function ended(
        end: (running: SandboxProcess) => void,
        config: RunConfig,
        options: RunOptions = {},
      ): Promise<Pick<RunResult, 'outcome'> & { readonly stdout: string }> {
        const running = spawn([], { root: { image: layout([root], config) } }, { gracePeriodMs: '1min', ...options });
        let stdout = '';
        for await (const line of running.lines()) {
          if (line === 'ready') end(running);
          stdout += `${line}\n`;
        }
        return { stdout, outcome: (await running).outcome };
      }

      test('is what a run is ended by', async () => {
        const { stdout, outcome } = await ended((running) => running.terminate(), stopped);
        expect([stdout, outcome]).toEqual(['ready\nstopped\n', { kind: 'cancelled', reason: 'SIGUSR1' }]);
        const controller = new AbortController();
        const aborted = await ended(() => controller.abort('enough'), stopped, { signal: controller.signal });
        expect([aborted.stdout, aborted.outcome]).toEqual([
          'ready\nstopped\n',
          { kind: 'cancelled', reason: 'enough' },
        ]);
      });

      test('is what a limit of time ends it by', async () => {
        const spec: SandboxSpec = { root: { image: layout([root], stopped) }, limits: { wallMs: '8s' } };
        const { stdout, outcome } = await run([], spec, { gracePeriodMs: '1min' });
        expect([stdout, outcome]).toEqual(['ready\nstopped\n', { kind: 'limit', limit: 'wallMs' }]);
      });

      test('gives way to the signal of the caller, and to SIGTERM where there is none or it has no name', async () => {
        const end = (running: SandboxProcess): void => running.terminate();
        expect((await ended(end, stopped, { killSignal: 'SIGQUIT' })).stdout).toBe('ready\nquit\n');
        const { StopSignal: _, ...none } = stopped;
        expect((await ended(end, none)).stdout).toBe('ready\nasked\n');
        expect((await ended(end, { ...none, StopSignal: 'SIGRTMIN+3' })).stdout).toBe('ready\nasked\n');
      });
    });

    test('is refused where its user is not in it', async () => {
      await expect(runScript(layout([root], { User: 'nobody-here' }), 'true')).rejects.toMatchObject({
        code: expect.stringMatching(/^SBX_IMAGE_/),
        message: expect.stringContaining('nobody-here'),
      });
    });
  });

  describe('layers', () => {
    const folder = (name: string): Member => ({ name: `${name}/`, type: '5' });

    test('whose archive does not name their top can be entered by every user', async () => {
      expect(await output(layout([root], { User: 'app' }), 'stat -c %a /; ls /srv')).toBe('755\n');
      const aciWithoutTop = tar(
        ...[{ name: 'manifest', content: '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app"}' }],
        ...members.map((member) => ({ ...member, name: `rootfs/${member.name}` })),
      );
      const spec: SandboxSpec = { user: { uid: 123, gid: 456 } };
      expect(await output(file(aciWithoutTop, '.aci'), 'stat -c %a /', spec)).toBe('755\n');
    });

    test('that are the same count once', async () => {
      const more = tar(folder('d'), { name: 'd/one' });
      const hide = tar(folder('d'), { name: 'd/.wh.one' });
      expect(await output(layout([root, more, hide, more, more]), 'ls /d')).toBe('one\n');
    });

    test('of one, read-only too, do not show what hides nothing', async () => {
      const image = layout([tar(...members, { name: 'srv/.wh.gone' }, folder('d'), { name: 'd/.wh..wh..opq' })]);
      expect(await output(image, 'ls -a /srv /d')).toBe('/d:\n.\n..\n\n/srv:\n.\n..\n');
      expect(await output(image, 'ls -a /srv /d', { root: { readonly: true } })).toBe('/d:\n.\n..\n\n/srv:\n.\n..\n');
      const mounts: MountSpec[] = [{ type: 'image', source: image, destination: '/mnt' }];
      expect(await output(image, 'ls -a /mnt/srv', { mounts })).toBe('.\n..\n');
    });

    describe('that only imply a directory', () => {
      const below = tar(
        ...members,
        { name: 'var/', type: '5', mode: 0o1777, uid: 123, gid: 456, mtime: 5 },
        { name: 'var/deep/', type: '5', mode: 0o711, mtime: 6 },
        { name: 'gone/', type: '5', mode: 0o700 },
      );
      const above = tar({ name: 'var/x' }, { name: 'var/deep/y' }, { name: 'gone/.wh..wh..opq' }, { name: 'new/z' });
      const script = 'stat -c "%n %a %u:%g %Y" /var /var/deep; stat -c "%n %a" /gone /new; ls /var';
      const [uid, gid] = isRoot ? [123, 456] : [0, 0];
      const shown = `/var 1777 ${uid}:${gid} 5\n/var/deep 711 0:0 6\n/gone 700\n/new 755\ndeep\nx\n`;
      const asRoot: SandboxSpec = { user: { uid: 0, gid: 0 } };

      test('show it as the layer below has it', async () => {
        const image = layout([below, above]);
        expect(await output(image, script, asRoot)).toBe(shown);
        expect(await output(image, script, { ...asRoot, root: { readonly: true } })).toBe(shown);
        const { enforcement } = await runScript(image, 'true');
        expect(enforcement.image).toMatchObject({ layers: 2 });
      });

      test('show it as a layer between has it, and by themselves where none has it', async () => {
        const between = tar({ name: 'var/', type: '5', mode: 0o770, mtime: 7 });
        expect(await output(layout([below, between, above]), 'stat -c "%a %Y" /var')).toBe('770 7\n');
        expect(await output(layout([root, above, tar({ name: 'new/more' })]), 'stat -c %a /new')).toBe('755\n');
      });

      test('keep its extended attributes', async () => {
        requires('command:python3');
        const marked = tar({ name: 'var/', type: '5', pax: { 'SCHILY.xattr.user.note': 'text' } });
        const mounts = ['/usr', '/lib', '/lib64'].map(
          (path): MountSpec => ({ type: 'bind', source: path, destination: path }),
        );
        const words = ['/usr/bin/python3', '-I', '-c', 'import os; print(os.getxattr("/var", "user.note"))'] as const;
        const { stdout } = await run(words, { root: { image: layout([root, marked, above]), entrypoint: [] }, mounts });
        expect(stdout).toBe("b'text'\n");
      });

      test('show a new one where they hid what was there', async () => {
        const anew = tar({ name: '.wh.var' }, { name: 'var/x' });
        expect(await output(layout([below, anew]), 'stat -c %a /var; ls /var')).toBe('755\nx\n');
      });

      test('leave nothing in the store when the image has gone', async () => {
        const image = layout([below, above]);
        await output(image, 'true');
        const made = names('layers').filter((name) => name.startsWith('directories-'));
        expect(made.length).toBeGreaterThan(0);
        const { store } = openStore();
        await store.collect(0);
        expect(names('layers')).toEqual(expect.arrayContaining(made));
        for (const { record } of store.list()) store.records.remove(record);
        // Those of this process count as used as long as it is there.
        await store.layers.collecting(() => store.layers.collect(new Set(), () => new Set(), 0));
        expect(names('layers').filter((name) => name.startsWith('directories-'))).toEqual([]);
        expect(await output(image, script, asRoot)).toBe(shown);
      });

      test('change nothing by that', async () => {
        const spec: SandboxSpec = { ...asRoot, root: { changes: 'capture' } };
        const result = await runScript(layout([below, above]), 'echo new > /var/new; rm /var/x', spec);
        const { changes } = result;
        expect(changes?.entries.map(({ path, kind }) => `${kind} ${path}`)).toEqual([
          'added /var/new',
          'deleted /var/x',
        ]);
        await changes?.discard();
      });

      test('of an App Container image, over an image that it depends on', async () => {
        const lower = file(aci([...members, { name: 'var/', type: '5', mode: 0o1777 }]), '.aci');
        const dependencies = [{ imageName: 'example.com/app' }];
        const upper = aci([{ name: 'var/x' }], {}, { name: 'example.com/upper', dependencies });
        const result = await run(
          ['-c', 'stat -c %a /var; ls /var'],
          {
            root: { image: file(upper, '.aci') },
            ...asRoot,
          },
          { image: { dependencies: [lower] } },
        );
        expect(result.stdout).toBe('1777\nx\n');
      });
    });

    test('may be 120', async () => {
      const more = Array.from({ length: 119 }, (_, index) =>
        tar(folder('d'), { name: `d/${index}` }, { name: 'd/last', content: String(index) }),
      );
      expect(await output(layout([root, ...more]), 'ls /d | wc -l; cat /d/last')).toBe('120\n118');
    });

    interface Item {
      readonly kind: 'file' | 'symlink' | 'whiteout' | 'directory';
      /** Whether a whiteout of its name comes before it. */
      readonly hides: boolean;
      /** Whether a directory has an entry of its own, also where there are others in it. */
      readonly isNamed: boolean;
      readonly content: string;
      readonly mode: number;
      /** Where in the directory the mark is that hides what lower layers have there. */
      readonly opaque: 'no' | 'first' | 'last';
      readonly entries: Readonly<Record<string, Item>>;
    }
    const { tree } = fc.letrec<{ tree: Readonly<Record<string, Item>>; item: Item }>((tie) => ({
      tree: fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('item'), {
        noNullPrototype: true,
        depthIdentifier: 'layer',
      }),
      item: fc.record<Item>({
        kind: fc.constantFrom('file', 'symlink', 'whiteout', 'directory', 'directory', 'directory'),
        hides: fc.boolean(),
        isNamed: fc.boolean(),
        content: fc.constantFrom('x', 'yy'),
        mode: fc.constantFrom(0o755, 0o700, 0o1777),
        opaque: fc.constantFrom('no', 'no', 'first', 'last'),
        entries: fc.oneof({ maxDepth: 2, depthIdentifier: 'layer' }, fc.constant({}), {
          weight: 3,
          arbitrary: tie('tree'),
        }),
      }),
    }));
    const layer = fc.record({ entries: tree, opaque: fc.boolean(), mode: fc.constantFrom(0o755, 0o711) });

    function membersOf(entries: Readonly<Record<string, Item>>, implies: boolean, above = ''): Member[] {
      return Object.entries(entries).flatMap(([name, item]): Member[] => {
        const { kind, hides, isNamed, content, mode, opaque, entries } = item;
        // Where a directory may be implied no file is in its place: one over the other, that is an error.
        const path = `${above}${implies && (kind === 'file' || kind === 'symlink') ? kind : name}`;
        const whiteout: Member = { name: `${above}.wh.${name}` };
        const mark: Member = { name: `${path}/.wh..wh..opq` };
        if (kind === 'whiteout') return [whiteout];
        const before = hides ? [whiteout] : [];
        if (kind === 'symlink') return [...before, { name: path, type: '2', linkname: 'a' }];
        if (kind === 'file') return [...before, { name: path, content }];
        const inner = membersOf(entries, implies, `${path}/`);
        // A mark in a directory that nothing else speaks of makes it in a layer, and is nothing where it is applied.
        const isImplied = implies && !isNamed && inner.some(({ name }) => !name.includes('.wh.'));
        return [
          ...before,
          ...(isImplied ? [] : [{ name: `${path}/`, type: '5', mode }]),
          ...(opaque === 'first' ? [mark] : []),
          ...inner,
          ...(opaque === 'last' ? [mark] : []),
        ];
      });
    }

    test.each([
      ['all of their directories', false],
      ['some of their directories only by names in them', true],
    ])('show inside what they are when they are unpacked one over the other, with %s', async (_title, implies) => {
      const images = fc.array(fc.array(layer, { minLength: 2, maxLength: 4 }), { minLength: 6, maxLength: 6 });
      await fc.assert(
        fc.asyncProperty(images, async (all) => {
          const mounts: MountSpec[] = [];
          const expected: string[] = [];
          for (const [index, given] of all.entries()) {
            const layers = given.map(({ entries, opaque, mode }) =>
              tar(
                { name: './', type: '5', mode },
                ...(opaque ? [{ name: '.wh..wh..opq' }] : []),
                ...membersOf(entries, implies),
              ),
            );
            const directory = join(work, `unpacked${count++}`);
            const archives = layers.map((content) => file(content, '.tar'));
            await unpack(archives, directory, { whiteouts: 'apply' });
            expected.push(...listing(directory, `/mnt/${index}`));
            mounts.push({ type: 'image', source: layout(layers), destination: `/mnt/${index}` });
          }
          const script =
            'for d in /mnt/*; do find $d | while read f; do case $(stat -c %F "$f") in symbolic*) echo "$f -> $(readlink $f)";; dir*) echo "$f $(stat -c %a $f)";; *) echo "$f $(stat -c %a $f) $(cat $f)"; esac; done; done';
          const shown = await output(layout([root]), script, { mounts });
          expect(shown.trim().split('\n').sort()).toEqual(expected.sort());
        }),
        { numRuns: implies ? 6 : 3, endOnFailure: true },
      );
    });

    function listing(directory: string, shown: string): string[] {
      const status = lstatSync(directory);
      if (status.isSymbolicLink()) return [`${shown} -> ${readlinkSync(directory)}`];
      const mode = (status.mode & 0o7777).toString(8);
      if (status.isFile()) return [`${shown} ${mode} ${readFileSync(directory, 'utf8')}`];
      const below = readdirSync(directory).flatMap((name) => listing(join(directory, name), `${shown}/${name}`));
      return [`${shown} ${mode}`, ...below];
    }
  });

  describe('a view of an image', () => {
    const everything = [
      'echo changed > /etc/passwd',
      'chmod 777 /bin/busybox',
      'ln /etc/group /etc/hard; echo more >> /etc/hard; chmod 600 /etc/hard',
      'mv /srv /moved; mv /etc/hard /bin/; mv /bin/cat /bin/dog',
      'rm -r /root; mkdir /root; touch -d @5 /bin/wc; touch /bin',
      'ln -sf /nowhere /bin/head',
    ];
    const asRoot: SandboxSpec = {
      user: { uid: 0, gid: 0 },
      ...(isRoot ? { capabilities: ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_FSETID'] } : {}),
    };
    const owners = isRoot ? 'chown 5:5 /bin/busybox /etc /root\n' : '';

    test('can be changed in all ways, and the store stays byte for byte what it was', async () => {
      const image = layout([
        root,
        tar({ name: 'etc/', type: '5' }, { name: 'etc/.wh.passwd' }, { name: 'etc/passwd' }),
      ]);
      const spec = asRoot;
      await output(image, 'true', spec);
      const before = layersInStore();
      await output(image, owners + everything.join('\n'), spec);
      expect(layersInStore()).toEqual(before);
      expect(await output(image, 'cat /etc/passwd; ls -d /srv /root; stat -c "%a %u" /bin/busybox', spec)).toBe(
        '/root\n/srv\n755 0\n',
      );
    });

    test('can be given attributes, which the store does not get', async () => {
      requires('command:python3');
      const image = layout([root]);
      await output(image, 'true');
      const before = layersInStore();
      // The interpreter and its libraries are those of this machine.
      const mounts: MountSpec[] = ['/usr', '/lib', '/lib64'].map((path) => ({
        type: 'bind',
        source: path,
        destination: path,
      }));
      const script =
        'import os\nfor n in ("user.a", "user.overlay.opaque"):\n  try: os.setxattr("/etc", n, b"y"); print("set")\n  except OSError as e: print(e.errno)\nprint(os.listdir("/etc") != [])';
      const { stdout } = await run(['/usr/bin/python3', '-I', '-c', script], {
        root: { image, entrypoint: [] },
        mounts,
        user: { uid: 0, gid: 0 },
      });
      expect(String(stdout)).toMatch(/^set\n.*\nTrue\n$/);
      expect(layersInStore()).toEqual(before);
    });

    test('is not that of another run, before it or beside it', async () => {
      const image = layout([root]);
      const script = 'echo $0 >> /etc/group; mkdir /mine || exit; tail -n1 /etc/group 2>&1; ls / | grep -c mine';
      const one = () => output(image, script.replace('tail -n1', 'wc -l <'));
      expect(await Promise.all([one(), one(), one()])).toEqual(Array(3).fill('3\n1\n'));
    });

    test('can be read-only', async () => {
      const spec: SandboxSpec = { root: { readonly: true }, user: { uid: 0, gid: 0 } };
      const { stdout, stderr } = await runScript(layout([root]), 'touch /new; touch /tmp/new && echo tmp', spec);
      expect(stdout).toBe('tmp\n');
      expect(stderr).toMatch(/^touch: \/new: Read-only file system\n$/);
    });

    test('has a /tmp where the image has none, and its own where it has one', async () => {
      const spec: SandboxSpec = { user: { uid: 7, gid: 7 } };
      expect(await output(layout([root]), 'stat -c %a /tmp; touch /tmp/x; ls /tmp', spec)).toBe('1777\nx\n');
      const own = tar({ name: 'tmp/', type: '5', mode: 0o1777 }, { name: 'tmp/own' });
      expect(await output(layout([root, own]), 'ls /tmp', spec)).toBe('own\n');
    });

    test('keeps owner and mode of directories in which something is mounted that it lacks', async () => {
      const own = tar(
        { name: './', type: '5', mode: 0o711 },
        { name: 'open/', type: '5', mode: 0o1777, uid: 123, gid: 456 },
        { name: 'closed/', type: '5', mode: 0o700 },
        { name: 'closed/in/', type: '5', mode: 0o750, uid: 123 },
      );
      // Of what the lowest has there nothing is to be seen.
      const lowest = tar({ name: 'gone/', type: '5' }, { name: 'gone/in/', type: '5', mode: 0o700 });
      const image = layout([lowest, root, own, tar({ name: 'gone/.wh..wh..opq' })]);
      const mounts: MountSpec[] = ['/open/a', '/closed/in/b/c', '/gone/in/d'].map((destination) => ({
        type: 'tmpfs',
        destination,
      }));
      const script = 'stat -c "%a %u:%g %n" / /open /closed /closed/in /closed/in/b /gone/in';
      const [uid, gid] = isRoot ? [123, 456] : [0, 0];
      const spec = (more: RootSpec): SandboxSpec => ({ mounts, user: { uid: 0, gid: 0 }, root: more });
      for (const more of [{}, { readonly: true }, { changes: 'capture' }] as const) {
        const { stdout, stderr, changes } = await runScript(image, script, spec(more));
        expect([stdout, stderr]).toEqual([
          `711 0:0 /\n1777 ${uid}:${gid} /open\n700 0:0 /closed\n750 ${uid}:0 /closed/in\n755 0:0 /closed/in/b\n755 0:0 /gone/in\n`,
          '',
        ]);
        expect(changes?.entries ?? []).toEqual([]);
        await changes?.discard();
      }
    });

    test('of a directory keeps them, too', async () => {
      const directory = join(work, `directory${count++}`);
      mkdirSync(join(directory, 'closed'), { recursive: true });
      mkdirSync(join(directory, 'bin'));
      cpSync(BUSYBOX, join(directory, 'bin/busybox'));
      chmodSync(join(directory, 'closed'), 0o711);
      const mounts: MountSpec[] = [{ type: 'tmpfs', destination: '/closed/a' }];
      const { stdout } = await run(['/bin/busybox', 'stat', '-c', '%a', '/closed'], { root: directory, mounts });
      expect(stdout).toBe('711\n');
    });

    describe('/etc/hosts', () => {
      const has = tar({ name: 'etc/hosts', content: '127.0.0.1 own\n' });

      test('is there where the image has none, and is none of the changes', async () => {
        const spec: SandboxSpec = { hostname: 'here', user: { uid: 0, gid: 0 } };
        const text = '127.0.0.1 localhost here\n::1 localhost\n';
        const stats = 'cat /etc/hosts; stat -c "%a %u" /etc/hosts';
        expect(await output(layout([root]), stats, spec)).toBe(`${text}644 0\n`);
        expect(await output(layout([root]), stats, { ...spec, root: { readonly: true } })).toBe(`${text}644 0\n`);
        const written = await output(layout([root]), 'echo more >> /etc/hosts; cat /etc/hosts', spec);
        expect(written).toBe(`${text}more\n`);
        const { changes } = await runScript(layout([root]), 'true', { ...spec, root: { changes: 'capture' } });
        expect(changes?.entries).toEqual([]);
        await changes?.discard();
      });

      test('is there where the image has no /etc at all', async () => {
        const bare = layout([tar(...members.filter(({ name }) => !name.startsWith('etc')))]);
        expect(await output(bare, 'ls /etc; cat /etc/hosts', { user: { uid: 0, gid: 0 } })).toMatch(
          /^hosts\n127\.0\.0\.1 localhost/,
        );
      });

      test('is what the image has, or the caller mounts, or the network of the host has', async () => {
        const script = 'cat /etc/hosts';
        expect(await output(layout([root, has]), script)).toBe('127.0.0.1 own\n');
        const source = file(Buffer.from('127.0.0.1 given\n'), '.hosts');
        const mounts: MountSpec[] = [{ type: 'bind', source, destination: '/etc/hosts' }];
        expect(await output(layout([root]), script, { mounts })).toBe('127.0.0.1 given\n');
        expect(await output(layout([root]), script, { network: 'host' })).toBe(readFileSync('/etc/hosts', 'utf8'));
        const inside: MountSpec[] = [{ type: 'tmpfs', destination: '/etc/hosts/in' }];
        expect(await output(layout([root]), 'ls /etc/hosts', { mounts: inside })).toBe('in\n');
        const over: MountSpec[] = [{ type: 'tmpfs', destination: '/etc' }];
        expect(await output(layout([root]), 'ls /etc', { mounts: over, user: { uid: 0, gid: 0 } })).toBe('');
      });

      test('stays away where /etc is none, or a symlink that leads nowhere', async () => {
        const bare = members.filter(({ name }) => !name.startsWith('etc'));
        const asFile = layout([tar(...bare, { name: 'etc', content: 'text' })]);
        expect(await output(asFile, 'cat /etc', { user: { uid: 0, gid: 0 } })).toBe('text');
        const asLink = layout([tar(...bare, { name: 'etc', type: '2', linkname: '/elsewhere' })]);
        expect(await output(asLink, 'cat /elsewhere/hosts', { user: { uid: 0, gid: 0 } })).toMatch(/^127\.0\.0\.1/);
      });
    });

    test('can be mounted: read-only, or changed as long as the run lasts', async () => {
      const source = layout([tar({ name: 'data/', type: '5' }, { name: 'data/file', content: 'text' })]);
      const spec = (readonly?: boolean): SandboxSpec => ({
        mounts: [{ type: 'image', source, destination: '/mnt', ...(readonly === undefined ? {} : { readonly }) }],
        user: { uid: 0, gid: 0 },
      });
      const image = layout([root]);
      const { stdout, stderr } = await runScript(image, 'cat /mnt/data/file; touch /mnt/data/new', spec());
      expect([stdout, stderr]).toEqual(['text', 'touch: /mnt/data/new: Read-only file system\n']);
      const before = layersInStore();
      for (let round = 0; round < 2; round += 1)
        expect(await output(image, 'ls /mnt/data; echo x > /mnt/data/new; rm /mnt/data/file', spec(false))).toBe(
          'file\n',
        );
      expect(layersInStore()).toEqual(before);
      const { stdout: onHost } = await run(['cat', '/tmp/mnt/data/file'], {
        mounts: [{ type: 'image', source, destination: '/tmp/mnt' }],
      });
      expect(onHost).toBe('text');
    });

    test('has volumes at the mount points of an App Container image', async () => {
      mkdirSync(join(work, 'volume'));
      writeFileSync(join(work, 'volume/file'), 'of the host');
      const mountPoints = [
        { name: 'data', path: '/srv', readOnly: true },
        { name: 'own', path: '/var/own' },
      ];
      const own: MountSpec = { type: 'tmpfs', destination: '/var/own' };
      const image = file(aci(members, { mountPoints }), '.aci');
      const spec: SandboxSpec = {
        mounts: [{ type: 'bind', source: join(work, 'volume'), destination: '/srv', readonly: false }, own],
        user: { uid: 0, gid: 0 },
      };
      const { stdout, stderr } = await runScript(
        image,
        'cat /srv/file; touch /srv/new; touch /var/own/new && echo own',
        spec,
      );
      expect([stdout, stderr]).toEqual(['of the hostown\n', 'touch: /srv/new: Read-only file system\n']);
      await expect(runScript(image, 'true', { mounts: [own] })).rejects.toMatchObject({
        code: 'SBX_IMAGE_UNSUPPORTED',
        message: expect.stringContaining("'data' (/srv)"),
      });
    });
  });

  describe('an image that means harm', () => {
    const without = (...names: readonly string[]): Member[] => members.filter(({ name }) => !names.includes(name));
    const passwd = (member: Omit<Member, 'name'>): Uint8Array =>
      tar(...without('etc/passwd'), { name: 'etc/passwd', ...member });

    test.each<readonly [string, Omit<Member, 'name'>]>([
      ['a symlink out of it', { type: '2', linkname: '../../../../../../../etc/passwd' }],
      ['a symlink to a device', { type: '2', linkname: '/dev/zero' }],
      ['a FIFO', { type: '6' }],
      ['a device', { type: '3', major: 1, minor: 5 }],
      ['a directory', { type: '5' }],
      ['a file without an end', { content: Buffer.alloc(20_000_000, 'x') }],
    ])('finds no users in a passwd that is %s', async (_title, member) => {
      const image = layout([passwd(member)], { User: 'root' });
      await expect(runScript(image, 'true')).rejects.toMatchObject({
        code: expect.stringMatching(/^SBX_(IMAGE|SPEC)_/),
      });
      expect(await output(layout([passwd(member)]), 'echo $HOME')).toBe('/\n');
    });

    test('has a home in its root', async () => {
      for (const home of ['../../etc', '/srv/../../etc', 'etc', '', '/\u0001']) {
        const image = layout([passwd({ content: `root:x:0:0::${home}:/bin/sh\n` })]);
        const { stdout } = await runScript(image, 'echo "$HOME"');
        expect(stdout).toBe(home.startsWith('/\u0001') ? `${home}\n` : '/\n');
      }
    });

    test('has no devices, and no marks of its own for overlayfs', async () => {
      const pax = (key: string, value: string): NonNullable<Member['pax']> => [
        [`SCHILY.xattr.user.overlay.${key}`, value],
      ];
      const lower = tar(...members, { name: 'd/', type: '5' }, { name: 'd/below', content: 'below' });
      const upper = tar(
        { name: 'd/', type: '5', pax: pax('opaque', 'y') },
        { name: 'bin/', type: '5', pax: pax('redirect', '/etc') },
        { name: 'd/file', content: 'x', pax: pax('metacopy', '') },
        { name: 'd/null', type: '3', mode: 0o666, major: 1, minor: 3 },
        { name: 'd/disk', type: '4', mode: 0o666, major: 8, minor: 0 },
      );
      const image = layout([lower, upper]);
      expect(await output(image, 'ls /d; cat /d/below /d/file; ls /bin/sh')).toBe('below\nfile\nbelowx/bin/sh\n');
      const { stdout } = await run(['/bin/ls', '/d'], {
        root: { image: file(upper, '.tar'), entrypoint: [] },
        mounts: ['/bin:/bin', '/lib:/lib', '/lib64:/lib64'],
      });
      expect(stdout).toBe('file\n');
    });

    test('gains nothing by set-user-ID bits', async () => {
      const guest = { content: readFileSync(guestPath()), mode: 0o6755 } as const;
      const image = layout([tar(...members, { name: 'guest', ...guest }, { name: 'other', uid: 9, gid: 9, ...guest })]);
      const spec: SandboxSpec = { root: { image }, user: { uid: 123, gid: 456 } };
      for (const program of ['/guest', '/other'])
        expect((await run([program, 'ids'], spec)).stdout).toContain('uid 123 123 123');
    });

    test.each([
      ['proc', '/srv'],
      ['dev', '../../srv'],
      ['proc', '/'],
      ['tmp', '/../../../../../../tmp'],
      ['sys', '/proc'],
    ])('has nothing mounted outside where its /%s is a symlink to %s', async (name, linkname) => {
      const image = layout([tar(...without(`${name}/`), { name, type: '2', linkname })]);
      const before = existsOnHost();
      const answer = await runScript(image, 'touch /tmp/mark /srv/mark; echo ran').then(
        ({ stdout }) => stdout,
        ({ code }: ImageError) => code,
      );
      expect(answer).toBe(linkname === '/' ? 'SBX_LAUNCH_FAILED' : 'ran\n');
      expect(existsOnHost()).toEqual(before);
    });

    const existsOnHost = (): string[] =>
      ['/tmp/mark', '/srv/mark'].filter((path) => lstatSync(path, { throwIfNoEntry: false }) !== undefined);

    test('has mounts of the caller inside, where the way to them leads out', async () => {
      const name = `sandboxlib-test-${count}`;
      const links = [
        { name: 'up', type: '2', linkname: '../../../../../../../../tmp' },
        { name: 'top', type: '2', linkname: '/' },
        { name: 'loop', type: '2', linkname: 'loop' },
      ];
      const image = layout([tar(...members, ...links)]);
      const mounts: MountSpec[] = ['up', 'top'].map((link) => ({
        type: 'tmpfs',
        destination: `/${link}/${name}`,
        mode: 0o711,
      }));
      expect(await output(image, `stat -c %a /tmp/${name} /${name}`, { mounts })).toBe('711\n711\n');
      expect(lstatSync(`/tmp/${name}`, { throwIfNoEntry: false })).toBeUndefined();
      for (const destination of ['relative', '', '/with\0nul'])
        await expect(runScript(image, 'true', { mounts: [{ type: 'tmpfs', destination }] })).rejects.toMatchObject({
          code: 'SBX_SPEC_INVALID',
        });
      const looping: MountSpec[] = [{ type: 'tmpfs', destination: '/loop/x' }];
      await expect(runScript(image, 'true', { mounts: looping })).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
    });

    test('is refused where a layer is not what its configuration says', async () => {
      const image = layout([root], {}, [sha256('another')]);
      expect(await refused(image)).toMatchObject({ code: 'SBX_IMAGE_DIGEST' });
    });

    test('is refused where one bit of any blob has changed, or one is missing', async () => {
      const layer = tar(...members, { name: `unique${count}` });
      const made = ociImage([layer]);
      const blobs = [...made.blobs.keys(), sha256(made.manifest)];
      for (const digest of blobs) {
        const directory = writeLayout(join(work, `damaged${count++}`), made);
        const path = join(directory, blobPath(digest));
        const bytes = readFileSync(path);
        const at = Math.floor(bytes.length / 2);
        bytes[at] = (bytes[at] ?? 0) ^ 1;
        writeFileSync(path, bytes);
        expect(await refused(directory)).toMatchObject({ code: 'SBX_IMAGE_DIGEST' });
        rmSync(path);
        expect((await refused(directory)).message).toMatch(/is missing \(ENOENT\)/);
      }
    });

    test('is refused where an archive of docker save leads out of itself', async () => {
      const layer = tar(...members, { name: `unique${count}` });
      const outside = file(layer, '.outside');
      const whole = file(dockerArchive([layer]), '.tar');
      const listed = execFileSync('tar', ['-xOf', whole, 'manifest.json'], { encoding: 'utf8' });
      const [{ Layers }] = JSON.parse(listed) as [{ Layers: string[] }];
      const name = Layers[0] ?? '';
      for (const linkname of [outside, `../../../../../../../..${outside}`]) {
        const image = file(dockerArchive([layer], {}, { more: [{ name, type: '2', linkname }] }), '.tar');
        expect(await refused(image)).toMatchObject({ code: expect.stringMatching(/^SBX_IMAGE_/) });
      }
    });
  });
}
