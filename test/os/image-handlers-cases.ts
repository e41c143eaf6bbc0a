// Programs around the command of an App Container image, as the validator of the specification has them: each leaves a mark that the others see.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSandbox, listChanges, type RunResult, run, type SandboxSpec, wrap } from '../../src/index.ts';
import { requires } from '../helpers/requires.ts';

const BUSYBOX = '/bin/busybox';

interface Programs {
  readonly main: string;
  readonly preStart?: string;
  readonly postStop?: string;
}

export function handlerCases(): void {
  requires('linux', 'userns', `file:${BUSYBOX}`);
  let work: string;
  let count = 0;

  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'handlers-'));
    process.env['XDG_CACHE_HOME'] = join(work, 'cache');
    process.env['XDG_STATE_HOME'] = join(work, 'state');
    mkdirSync(join(work, 'rootfs/bin'), { recursive: true });
    mkdirSync(join(work, 'rootfs/data'));
    writeFileSync(join(work, 'rootfs/data/old'), 'old\n');
    copyFileSync(BUSYBOX, join(work, 'rootfs/bin/busybox'));
    chmodSync(join(work, 'rootfs/bin/busybox'), 0o755);
    for (const name of ['sh', 'ls', 'cat', 'rm', 'sleep', 'mkdir'])
      symlinkSync('busybox', join(work, 'rootfs/bin', name));
  });

  afterAll(() => {
    if (work !== undefined) rmSync(work, { recursive: true });
  });

  function image({ main, preStart, postStop }: Programs): string {
    const exec = (script: string): string[] => ['/bin/sh', '-c', script];
    const eventHandlers = [
      ...(preStart === undefined ? [] : [{ name: 'pre-start', exec: exec(preStart) }]),
      ...(postStop === undefined ? [] : [{ name: 'post-stop', exec: exec(postStop) }]),
    ];
    const app = { exec: exec(main), user: '0', group: '0', eventHandlers };
    const manifest = { acKind: 'ImageManifest', acVersion: '0.8.11', name: 'example.com/around', app };
    writeFileSync(join(work, 'manifest'), JSON.stringify(manifest));
    const file = join(work, `image${count++}.aci`);
    execFileSync('tar', ['-C', work, '-cf', file, 'manifest', 'rootfs']);
    return file;
  }

  function runImage(programs: Programs, spec: SandboxSpec = {}): Promise<RunResult> {
    return run([], { ...spec, root: { image: image(programs) } });
  }

  /** That no run left anything of its own in the store. */
  function expectNothingLeft(): void {
    const stores = join(work, 'cache/sandboxlib/images');
    for (const store of readdirSync(stores)) expect(readdirSync(join(stores, store, 'work'))).toEqual([]);
  }

  describe('programs around a command', () => {
    test('run before and after it, and see what was written before them', async () => {
      const { stdout, exitCode, handlers } = await runImage({
        preStart: 'echo pre; echo x > /prestart; rm -r /data; mkdir /data',
        main: 'ls / | cat; ls /data; echo x > /main; exit 3',
        postStop: 'ls /prestart /main; ls /data; exit 4',
      });
      expect(stdout).toBe('bin\ndata\ndev\netc\nprestart\nproc\nsys\ntmp\n');
      expect(exitCode).toBe(3);
      expect(handlers?.preStart).toMatchObject({ stdout: 'pre\n', exitCode: 0 });
      expect(handlers?.postStop).toMatchObject({ stdout: '/main\n/prestart\n', exitCode: 4 });
      expectNothingLeft();
    });

    test('find the image clean in the next run', async () => {
      const programs = { preStart: 'test ! -e /mark || exit 9; echo x > /mark', main: 'cat /mark /data/old' };
      for (let round = 0; round < 2; round++) expect((await runImage(programs)).stdout).toBe('x\nold\n');
      await using sandbox = await createSandbox({ root: { image: image(programs) } });
      for (let round = 0; round < 2; round++) expect((await sandbox.run([])).stdout).toBe('x\nold\n');
      expectNothingLeft();
    });

    test('that come before it and fail are an error, and nothing else runs', async () => {
      const attempt = runImage({ preStart: 'echo no luck >&2; exit 3', main: 'true', postStop: 'true' });
      await expect(attempt).rejects.toMatchObject({
        code: 'SBX_IMAGE_HANDLER',
        message: expect.stringMatching(/pre-start of .* exited with status 3, .* not started: no luck$/),
      });
      expectNothingLeft();
    });

    test('that come after it run also where a limit ended it', async () => {
      const { outcome, handlers } = await runImage(
        { main: 'echo x > /main; sleep 100', postStop: 'cat /main' },
        { limits: { wallMs: 500 } },
      );
      expect(outcome).toEqual({ kind: 'limit', limit: 'wallMs' });
      expect(handlers?.postStop).toMatchObject({ stdout: 'x\n', exitCode: 0 });
      expectNothingLeft();
    });

    test('write nothing where the root is read-only, and run all the same', async () => {
      const file = image({ preStart: 'echo x > /tmp/x', main: 'ls /tmp', postStop: 'cat /data/old' });
      const { stdout, handlers } = await run([], { root: { image: file, readonly: true } });
      expect([stdout, handlers?.postStop]).toMatchObject(['', { stdout: 'old\n' }]);
    });

    test('have what each of them may write bounded by limits.diskBytes', async () => {
      const fill = 'busybox dd if=/dev/zero bs=1M count=8 of=/big 2>/dev/null; echo $?; busybox wc -c < /big';
      const { stdout, handlers } = await runImage(
        {
          preStart: `${fill}; rm /data/old; exit 0`,
          main: `busybox wc -c < /big; ls /data; rm /big; ${fill}`,
          postStop: 'busybox wc -c < /big',
        },
        { limits: { diskBytes: '4MiB' } },
      );
      const [failed, size] = String(handlers?.preStart?.stdout).split('\n');
      expect(failed).toBe('1');
      expect(Number(size)).toBeGreaterThan(3 << 20);
      expect(Number(size)).toBeLessThanOrEqual(4 << 20);
      // What one of them wrote lies below the next, and takes nothing of its bound.
      const lines = String(stdout).trim().split('\n');
      expect(lines.slice(0, 2)).toEqual([size, '1']);
      expect(handlers?.postStop).toMatchObject({ stdout: `${lines[2]}\n` });
      expectNothingLeft();
    });

    test('have what all of them write captured as one', async () => {
      const file = image({
        preStart: 'echo before > /first; echo x > /data/old; mkdir /gone; echo z > /gone/in',
        main: 'cat /first; rm /data/old; rm -r /gone; echo main > /second; echo p > /project/made',
        postStop: 'cat /second /project/made; ls /data; echo after >> /first',
      });
      const project = join(work, 'project');
      mkdirSync(project);
      const { stdout, handlers, changes } = await run([], {
        root: { image: file, changes: 'capture' },
        mounts: [{ type: 'overlay', source: project, destination: '/project', changes: 'capture' }],
      });
      await using kept = changes;
      expect([stdout, handlers?.postStop]).toMatchObject(['before\n', { stdout: 'main\np\n' }]);
      expect(kept?.entries.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
        'deleted /data/old',
        'added /first',
        'added /second',
        'added /project/made',
      ]);
      expect(await kept?.diff()).toContain('+before\n+after\n');
      const layer: Uint8Array[] = [];
      for await (const chunk of kept?.export('oci-layer') ?? []) layer.push(chunk);
      const listed = execFileSync('tar', ['-tv', '--numeric-owner'], { input: Buffer.concat(layer), encoding: 'utf8' });
      // Of root of the image, also where that is an ordinary user of this host.
      expect(listed).toMatch(/^-rw-r--r-- 0\/0 .* first$/m);
      rmSync(project, { recursive: true });
      expectNothingLeft();
    });

    test('pass on what they write to the root where only a directory is captured', async () => {
      const file = image({ preStart: 'echo 1 > /own; echo 1 > /project/made', main: 'cat /own /project/made' });
      const project = join(work, 'project');
      mkdirSync(project);
      const { stdout, changes } = await run([], {
        root: { image: file },
        mounts: [{ type: 'overlay', source: project, destination: '/project', changes: 'capture' }],
      });
      await using kept = changes;
      expect([stdout, kept?.entries.map(({ path }) => path)]).toEqual(['1\n1\n', ['/project/made']]);
      rmSync(project, { recursive: true });
      expectNothingLeft();
    });

    test('leave no changes behind where the first of them fails, or the run is over before its command', async () => {
      const root = { image: image({ preStart: 'echo x > /x; exit 3', main: 'true' }), changes: 'capture' } as const;
      await expect(run([], { root })).rejects.toThrow('the command was not started');
      expect(await listChanges()).toEqual([]);
      const slow = { ...root, image: image({ preStart: 'echo x > /x', main: 'sleep 9' }) };
      for (const delay of [0, 10, 30, 60, 120]) {
        const over = AbortSignal.timeout(delay);
        // Where it was the command that was ended, they are in its result.
        const result = await run([], { root: slow }, { signal: over }).catch(() => undefined);
        await result?.changes?.discard();
      }
      expect(await listChanges()).toEqual([]);
      expectNothingLeft();
    });

    test('exclude what cannot be kept together with them', async () => {
      const file = image({ preStart: 'true', main: 'true' });
      const captured = run([], { root: { image: file, changes: 'capture' }, limits: { diskBytes: '4MiB' } });
      await expect(captured).rejects.toThrow('cannot be bounded; leave limits.diskBytes out');
      await expect(wrap([], { root: { image: file } })).rejects.toThrow('nothing can be wrapped');
      expectNothingLeft();
    });
  });
}
