// Pods: several apps in one pid, network, ipc and uts namespace, each with a root of its own; and the scenario of the specification's own validator.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BackendPlan } from '../../src/backends/backend.ts';
import { launchPlan } from '../../src/backends/launcher/launch.ts';
import { launcherPath } from '../../src/backends/launcher/locate.ts';
import { joiningPlan } from '../../src/backends/launcher/pod.ts';
import type { LauncherPlan } from '../../src/backends/launcher/steps.ts';
import { loadBackend } from '../../src/backends/registry.ts';
import { requirements } from '../../src/features/requirements.ts';
import { callerFacts } from '../../src/host/facts.ts';
import { collectImages, type PodOptions, type PodResult, runPod } from '../../src/index.ts';
import { nodeSpecHost } from '../../src/spec/host.ts';
import { normalize } from '../../src/spec/normalize.ts';
import { makeBench } from '../helpers/native-plan.ts';
import { processesWith } from '../helpers/processes.ts';
import { requires } from '../helpers/requires.ts';

const BUSYBOX = '/bin/busybox';

/** What waits in a pod of the process `caller`: a child of init, which is the launcher's. */
function holdersOf(caller: number): string[] {
  const parentOf = (pid: string): string => {
    const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '';
    return /^.*\) \S (\d+)/s.exec(stat)?.[1] ?? '';
  };
  return processesWith('/pause\0pause').filter((pid) => parentOf(parentOf(parentOf(pid))) === String(caller));
}

interface App {
  readonly name: string;
  readonly script: string;
  readonly preStart?: string;
  readonly postStop?: string;
  readonly mountPoints?: readonly { readonly name: string; readonly path: string; readonly readOnly?: boolean }[];
  readonly user?: string;
  readonly isolators?: readonly object[];
}

export function podCases(): void {
  requires('linux', 'userns', `file:${BUSYBOX}`);
  let work: string;
  let image: { readonly file: string; readonly id: string };

  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'pods-'));
    chmodSync(work, 0o755);
    process.env['XDG_CACHE_HOME'] = join(work, 'cache');
    mkdirSync(join(work, 'rootfs/bin'), { recursive: true });
    mkdirSync(join(work, 'rootfs/etc'));
    copyFileSync(BUSYBOX, join(work, 'rootfs/bin/busybox'));
    chmodSync(join(work, 'rootfs/bin/busybox'), 0o755);
    const tools =
      'sh ls cat rm sleep mkdir touch id hostname nc ps head tail kill test stat readlink setsid grep ipcs env mkfifo';
    for (const name of tools.split(' ')) symlinkSync('busybox', join(work, 'rootfs/bin', name));
    const manifest = { acKind: 'ImageManifest', acVersion: '0.8.11', name: 'example.com/tools' };
    writeFileSync(join(work, 'manifest'), JSON.stringify(manifest));
    const file = join(work, 'tools.aci');
    execFileSync('tar', ['-C', work, '-cf', file, 'manifest', 'rootfs']);
    image = { file, id: `sha512-${createHash('sha512').update(readFileSync(file)).digest('hex')}` };
  });

  afterAll(() => {
    if (work !== undefined) rmSync(work, { recursive: true });
  });

  function podOf(apps: readonly App[], more: object = {}): string {
    const exec = (script: string): string[] => ['/bin/sh', '-c', script];
    return JSON.stringify({
      acKind: 'PodManifest',
      acVersion: '0.8.11',
      apps: apps.map(({ name, script, preStart, postStop, mountPoints = [], user = '0', isolators = [] }) => ({
        name,
        image: { id: image.id },
        app: {
          exec: exec(script),
          user,
          group: user,
          mountPoints,
          isolators,
          eventHandlers: [
            ...(preStart === undefined ? [] : [{ name: 'pre-start', exec: exec(preStart) }]),
            ...(postStop === undefined ? [] : [{ name: 'post-stop', exec: exec(postStop) }]),
          ],
        },
      })),
      ...more,
    });
  }

  async function runApps(apps: readonly App[], more: object = {}, options: PodOptions = {}): Promise<PodResult> {
    const result = await runPod(podOf(apps, more), { images: [image.file], ...options });
    expectNothingLeft();
    return result;
  }

  function expectNothingLeft(): void {
    const stores = join(work, 'cache/sandboxlib/images');
    for (const store of readdirSync(stores)) expect(readdirSync(join(stores, store, 'work'))).toEqual([]);
  }

  const outputs = ({ apps }: PodResult): Record<string, unknown> =>
    Object.fromEntries(Object.entries(apps).map(([name, { stdout, stderr }]) => [name, `${stdout}${stderr}`]));
  const shared = { kind: 'empty', name: 'db', mode: '0777' };
  const mountPoints = [{ name: 'db', path: '/db' }];
  /** Waits until the other is there. */
  const meet = (own: string, other: string): string =>
    `touch /db/${own}; until test -e /db/${other}; do sleep 0.05; done; `;

  describe('the apps of a pod', () => {
    test('share pid, network, ipc and uts namespaces, and not their mounts', async () => {
      const script = (own: string, other: string): string =>
        `${meet(own, other)}for n in user pid net ipc uts cgroup mnt; do readlink /proc/self/ns/$n; done; touch /only-${own}; ${meet(`${own}2`, `${other}2`)} ls / | grep only`;
      const result = await runApps(
        [
          { name: 'one', script: script('a', 'b'), mountPoints },
          { name: 'two', script: script('b', 'a'), mountPoints },
        ],
        { volumes: [shared] },
      );
      const [one = [], two = []] = Object.values(outputs(result)).map((text) => String(text).trim().split('\n'));
      expect(one).toHaveLength(8);
      expect(two.slice(0, 6)).toEqual(one.slice(0, 6));
      expect(two[6]).not.toBe(one[6]);
      expect([one[7], two[7]]).toEqual(['only-a', 'only-b']);
      for (const name of ['pid', 'net', 'user'])
        expect(one.join()).not.toContain(
          `${name}:[${/\d+/.exec(execFileSync('readlink', [`/proc/self/ns/${name}`], { encoding: 'utf8' }))?.[0]}]`,
        );
    });

    test('see the processes of each other and may signal them, but reach neither their files nor their memory', async () => {
      const probe =
        'for p in /proc/[0-9]*; do ls $p/root/only-one; cat $p/cwd/only-one; tr "\\0" "\\n" < $p/environ | grep ^SECRET; ' +
        'readlink $p/exe | grep -v busybox; dd if=$p/mem of=/dev/null bs=1 count=1; done 2>/dev/null; ';
      const result = await runApps(
        [
          {
            name: 'one',
            script: `touch /only-one; export SECRET=x; trap "exit 7" TERM; ${meet('a', 'b')} while :; do sleep 0.05; done`,
            mountPoints,
          },
          {
            name: 'two',
            script: `${meet('b', 'a')}${probe} ps | grep -c "trap .exit 7"; kill $(ps | grep "trap .exit 7" | grep -v grep | while read -r p rest; do echo $p; done)`,
            mountPoints,
          },
        ],
        { volumes: [shared] },
      );
      expect(outputs(result)['two']).toMatch(/^[1-9]\n$/);
      expect(result.apps['one']).toMatchObject({ exitCode: 7 });
      expect(result.apps['two']?.enforcement.applied).toContainEqual(
        expect.objectContaining({ feature: 'landlock.paths' }),
      );
    });

    test('each come to an end of their own, and what they leave comes with them', async () => {
      const result = await runApps(
        [
          {
            name: 'first',
            script:
              '(setsid sh -c "touch /db/left; sleep 1000" &) ; until test -e /db/left; do sleep 0.05; done; exit 3',
            mountPoints,
          },
          // It outlives the other, whose processes are gone then.
          {
            name: 'second',
            script:
              'until test -e /db/left; do sleep 0.05; done; while ps | grep -q "[s]leep 1000"; do sleep 0.05; done; echo gone',
            mountPoints,
          },
          { name: 'third', script: 'kill -KILL $$' },
        ],
        { volumes: [shared] },
      );
      expect(result.apps['first']?.outcome).toEqual({ kind: 'exited', code: 3 });
      expect(result.apps['second']).toMatchObject({ stdout: 'gone\n', exitCode: 0 });
      expect(result.apps['third']?.outcome).toMatchObject({ kind: 'signalled', signal: 'SIGKILL' });
    });

    test('are told which pod they are in, and that changes with each run (A113)', async () => {
      const apps = [
        { name: 'one', script: 'echo $AC_APP_NAME $AC_POD_UUID' },
        { name: 'two', script: 'echo $AC_APP_NAME $AC_POD_UUID' },
      ];
      const results = [await runApps(apps), await runApps(apps)];
      const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
      for (const result of results) {
        expect(result.uuid).toMatch(uuid);
        expect(outputs(result)).toEqual({ one: `one ${result.uuid}\n`, two: `two ${result.uuid}\n` });
      }
      expect(results[0]?.uuid).not.toBe(results[1]?.uuid);
    });

    test('reach each other on the loopback, which is up, and nobody else', async () => {
      const result = await runApps([
        { name: 'server', script: 'echo hello | nc -l -p 8080' },
        {
          name: 'client',
          script: 'until nc 127.0.0.1 8080 </dev/null 2>/dev/null; do sleep 0.05; done; ls /sys/class/net',
        },
      ]);
      expect(outputs(result)['client']).toBe('hello\nlo\n');
    });

    test('have the volumes of this host that the caller names, read-only where one says so', async () => {
      const directory = join(work, 'volume');
      mkdirSync(directory, { recursive: true });
      chmodSync(directory, 0o777);
      writeFileSync(join(directory, 'file'), 'of the host\n');
      const script = 'cat /db/file; touch /db/new 2>&1 | grep -o Read-only';
      const result = await runApps(
        [{ name: 'one', script, mountPoints }],
        {},
        { volumes: { db: { source: directory, readOnly: true } } },
      );
      expect(outputs(result)['one']).toBe('of the host\nRead-only\n');
    });

    test('are ended all together by the signal of the caller', async () => {
      const controller = new AbortController();
      setTimeout(() => controller.abort('enough'), 500);
      const script = 'trap "" TERM; while :; do sleep 1000; done';
      const { apps } = await runApps(
        [
          { name: 'one', script },
          { name: 'two', script },
        ],
        {},
        { signal: controller.signal, gracePeriodMs: 200 },
      );
      for (const { outcome } of Object.values(apps))
        expect(outcome).toMatchObject({ kind: 'cancelled', reason: 'enough' });
    });

    test('are refused with all that is wrong, before anything is started', async () => {
      const broken = podOf([
        { name: 'one', script: 'true', mountPoints: [{ name: 'nowhere', path: '/a' }] },
        { name: 'two', script: 'true', user: 'nobody-knows' },
        { name: 'three', script: 'true' },
      ]);
      await expect(runPod(broken, { images: [image.file] })).rejects.toMatchObject({
        code: 'SBX_IMAGE_UNSUPPORTED',
        issues: [
          { path: ['apps', 0, 'app', 'mountPoints', 0] },
          { path: ['apps', 1, 'app', 'user'] },
          { path: ['apps', 1, 'app', 'group'] },
        ],
      });
      const strangers = JSON.parse(broken) as { apps: { image: { id: string } }[]; ports?: unknown };
      for (const [index, app] of strangers.apps.entries())
        if (index > 0) app.image.id = `sha512-${String(index).repeat(128)}`;
      strangers.ports = [{ name: 'http', hostPort: 80 }];
      await expect(runPod(JSON.stringify(strangers), { images: [image.file] })).rejects.toMatchObject({
        issues: [{ path: ['ports', 0] }, { path: ['apps', 1, 'image', 'id'] }, { path: ['apps', 2, 'image', 'id'] }],
      });
      expectNothingLeft();
    });

    test('have no volume that none of them asks for', async () => {
      const apps = [{ name: 'one', script: 'true', mountPoints }];
      await expect(runApps(apps, { volumes: [shared] }, { volumes: { bd: work } })).rejects.toMatchObject({
        issues: [{ path: ['options', 'volumes', 'bd'] }],
      });
      expectNothingLeft();
    });

    test('have users of their own where the caller has more than one id to give', async () => {
      const apps = [
        { name: 'one', script: 'id -u', user: '0' },
        { name: 'two', script: 'id -u', user: '123' },
      ];
      if (process.getuid?.() === 0) {
        expect(outputs(await runApps(apps))).toEqual({ one: '0\n', two: '123\n' });
        return;
      }
      await expect(runApps(apps)).rejects.toMatchObject({
        issues: [{ path: ['apps', 1], message: expect.stringContaining('uid 123') }],
      });
    });

    test('end the pod where one of them cannot be started, and that is the error', async () => {
      const pod = JSON.parse(
        podOf([
          { name: 'one', script: 'sleep 1000' },
          { name: 'two', script: '' },
        ]),
      );
      pod.apps[1].app.exec = ['/no/such'];
      await expect(runPod(JSON.stringify(pod), { images: [image.file] })).rejects.toMatchObject({
        code: 'SBX_LAUNCH_FAILED',
        step: 'exec',
      });
      expectNothingLeft();
    });

    test('end with the caller, however that ends, and with what holds them together', async () => {
      const marker = String(100_000 + process.pid);
      const pod = podOf([
        { name: 'one', script: `(setsid sleep ${marker} &); sleep ${marker}` },
        { name: 'two', script: `trap "" TERM; sleep ${marker}` },
      ]);
      const library = new URL('../../dist/index.js', import.meta.url).href;
      const script = `import(${JSON.stringify(library)}).then(({ runPod }) => runPod(process.argv[1], { images: [process.argv[2]] })).catch((error) => { console.error(error.code); process.exitCode = 9; })`;
      for (const victim of ['caller', 'holder'] as const) {
        const caller = spawn(process.execPath, ['-e', script, pod, image.file], {
          stdio: ['ignore', 'ignore', 'pipe'],
        });
        const ended = once(caller, 'exit');
        let said = '';
        caller.stderr.on('data', (text) => {
          said += String(text);
        });
        const sleepers = (): string[] => processesWith(`sleep\0${marker}`);
        await expect.poll(() => sleepers().length, { timeout: 20_000 }).toBe(3);
        const holders = holdersOf(caller.pid ?? 0);
        expect(holders).toHaveLength(1);
        if (victim === 'caller') caller.kill('SIGKILL');
        else for (const pid of holders) process.kill(Number(pid), 'SIGKILL');
        const [code, signal] = (await ended) as [number | null, string | null];
        expect(victim === 'caller' ? signal : `${code} ${said}`).toBe(
          victim === 'caller' ? 'SIGKILL' : '9 SBX_LAUNCH_FAILED\n',
        );
        await expect.poll(sleepers, { timeout: 20_000 }).toEqual([]);
        const left = (): string[] => processesWith('/pause\0pause').filter((pid) => holders.includes(pid));
        await expect.poll(left, { timeout: 20_000 }).toEqual([]);
      }
      await collectImages();
      expectNothingLeft();
    });

    test('have bounds of their own, which end one and not the other (A87)', async () => {
      requires('root');
      const value = { limit: '32Mi' };
      const result = await runApps([
        {
          name: 'big',
          script: 'head -c 100000000 /dev/zero | tail -c 99999999 > /dev/null',
          isolators: [{ name: 'resource/memory', value }],
        },
        { name: 'small', script: 'sleep 1; echo here' },
      ]);
      expect(result.apps['big']?.outcome).toEqual({ kind: 'limit', limit: 'memoryBytes' });
      expect(outputs(result)['small']).toBe('here\n');
    });

    test('are refused where nothing keeps them apart, unless the caller can do without', () => {
      requires('command:cc');
      const bench = makeBench('without_syscall');
      const library = new URL('../../dist/index.js', import.meta.url).href;
      const attempt = (optional: readonly string[]): string => {
        const script = `import(${JSON.stringify(library)}).then(({ runPod }) => runPod(process.argv[1], { images: [process.argv[2]], optional: ${JSON.stringify(optional)} })).then(({ apps }) => console.log(apps.one.stdout, JSON.stringify(apps.one.enforcement.skipped)), ({ code, message }) => console.log(code, message))`;
        const words = [
          'landlock_create_ruleset',
          '--',
          process.execPath,
          '-e',
          script,
          podOf([{ name: 'one', script: 'echo ran' }]),
          image.file,
        ];
        return spawnSync(bench.program('without_syscall'), words, { encoding: 'utf8', cwd: '/' }).stdout;
      };
      try {
        expect(attempt([])).toMatch(/^SBX_FEATURE_UNAVAILABLE .*landlock\.paths/);
        expect(attempt(['landlock.paths'])).toMatch(/^ran\n.*"landlock\.paths"/);
      } finally {
        bench.remove();
      }
      expectNothingLeft();
    });

    test('join nothing that is no namespace of the right kind, and say which', async () => {
      const backend = await loadBackend('native');
      const facts = callerFacts();
      const plan = backend.plan(normalize({}, nodeSpecHost()), requirements({}), facts) as BackendPlan<LauncherPlan>;
      const attempt = async (file: string): Promise<unknown> => {
        const descriptor = openSync(file, 'r');
        try {
          const launched = launchPlan(launcherPath(), joiningPlan(plan), {
            command: ['true'],
            stdio: ['ignore', 'ignore', 'ignore'],
            killSignal: 'SIGTERM',
            gracePeriodMs: 0,
            joins: Array.from({ length: 6 }, () => descriptor),
          });
          return await launched.ended;
        } finally {
          closeSync(descriptor);
        }
      };
      for (const file of ['/dev/null', '/proc/self/ns/net'])
        await expect(attempt(file)).rejects.toMatchObject({
          step: 'join',
          syscall: 'setns(CLONE_NEWUSER)',
          errno: 'EINVAL',
        });
      const own = { step: 'join', syscall: 'setns(CLONE_NEWUSER)', errno: 'EINVAL' };
      await expect(attempt('/proc/self/ns/user')).rejects.toMatchObject(own);
    });
  });

  // What coreos.com/ace-validator-main and -sidekick do, in shell.
  test('the scenario of the validator of the specification: main, sidekick, pre-start, post-stop (A116)', async () => {
    const check = (condition: string, words: string): string => `${condition} || { echo ${words}; exit 9; }; `;
    const common =
      check('test "$container"', 'no container') +
      check('test -c /dev/null -a -c /dev/zero -a -c /dev/urandom -a -d /dev/shm -a -e /dev/ptmx', 'no devices') +
      check('test -d /proc/self', 'no proc') +
      check('grep -q " /sys sysfs " /proc/mounts', 'no sys') +
      check('test "$PATH" = /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'path');
    const { apps, uuid } = await runApps(
      [
        {
          name: 'ace-validator-main',
          preStart: `${common}${check('test ! -e /prestart -a ! -e /main', 'not clean')} touch /prestart`,
          script:
            common +
            check('test "$AC_APP_NAME" = ace-validator-main', 'name') +
            check('test "$AC_POD_UUID"', 'uuid') +
            check('test -e /prestart -a ! -e /main -a ! -e /poststop', 'marks') +
            check('touch /db/main', 'volume') +
            'touch /main; until test -e /db/sidekick; do sleep 0.05; done; echo main done',
          postStop: `${common}${check('test -e /prestart -a -e /main', 'marks')} touch /poststop; echo stopped`,
          mountPoints,
        },
        {
          name: 'ace-validator-sidekick',
          script:
            common +
            check('test "$AC_APP_NAME" = ace-validator-sidekick', 'name') +
            'until test -e /db/main; do sleep 0.05; done; ' +
            check('test ! -e /prestart -a ! -e /main', 'marks of the other') +
            'touch /db/sidekick; echo $AC_POD_UUID',
          mountPoints,
        },
      ],
      { volumes: [shared] },
    );
    const { 'ace-validator-main': main, 'ace-validator-sidekick': sidekick } = apps;
    expect([main?.exitCode, main?.stdout, sidekick?.exitCode, sidekick?.stdout]).toEqual([
      0,
      'main done\n',
      0,
      `${uuid}\n`,
    ]);
    expect(main?.handlers).toMatchObject({ preStart: { exitCode: 0 }, postStop: { exitCode: 0, stdout: 'stopped\n' } });
  });
}
