// Directories with more in them than files: further mounts, flags that the host set, programs that change their uid.
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect } from 'vitest';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { requires } from '../../helpers/requires.ts';
import { inNode } from '../in-node.ts';
import type { Technique } from '../technique.ts';

export const technique: Technique = {
  name: 'bound-trees',
  attacks: ['mount.bind', 'noNewPrivileges', 'root.host'],
  cases: {
    'a mount below a read-only bind is read-only too, and keeps the flags of the host': async (bench) => {
      requires('root', 'command:unshare');
      const shown = bench.makeDirectory('submounts');
      mkdirSync(join(shown, 'below'));
      const mappings = [{ containerID: 0, hostID: 100_000, size: 1000 }];
      const mapped: SandboxSpec = { uidMappings: mappings, gidMappings: mappings, user: { uid: 5, gid: 5 } };
      const specs = bench.offered<SandboxSpec>([{}, mapped]);
      const script = `
import { spawnSync } from 'node:child_process';
const shown = ${JSON.stringify(shown)};
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'nosuid,nodev,noexec,mode=0777', 'tmpfs', shown + '/below']);
spawnSync('cp', ['/bin/true', shown + '/below/program']);
const attempts = 'touch /mnt/shown/x; touch /mnt/shown/below/x; /mnt/shown/below/program; grep " /mnt/shown/below " /proc/self/mountinfo | cut -d" " -f6';
for (const access of ['ro', 'rw']) {
  for (const ids of ${JSON.stringify(specs)}) {
    const { stdout, stderr } = await run(['sh', '-c', attempts], { ...ids, mounts: [shown + ':/mnt/shown:' + access] });
    console.log(JSON.stringify([mounted.status, access, 'user' in ids, stdout.trim().split(',').sort().join(), stderr.match(/Read-only/g)?.length ?? 0, /program: Permission denied/.test(stderr)]));
  }
}`;
      const { stdout, stderr } = inNode(script, { prefix: ['unshare', '--mount', '--propagation', 'private'] });
      expect(stderr).toBe('');
      const lines = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown[]);
      expect(lines).toHaveLength(2 * specs.length);
      for (const [status, access, , flags, readonly, denied] of lines) {
        expect(status).toBe(0);
        expect(flags).toMatch(/nodev.*noexec.*nosuid/);
        expect(String(flags).split(',')).toContain(access);
        expect(readonly).toBe(access === 'ro' ? 2 : 0);
        expect(denied).toBe(true);
      }
    },

    'a set-user-ID program of another owner changes no uid': async (bench) => {
      requires('root');
      const directory = bench.makeDirectory('setuid');
      const program = join(directory, 'guest');
      copyFileSync(bench.guestOutside, program);
      for (const [owner, uid] of [
        [0, 1000],
        [1234, 0],
      ] as const) {
        chownSync(program, owner, owner);
        chmodSync(program, 0o6755);
        const outside = spawnSync(program, ['ids'], { uid, gid: uid, encoding: 'utf8' });
        expect(outside.stdout).toContain(`uid ${uid} ${owner} ${owner}\n`);
        const spec: SandboxSpec = { user: { uid, gid: uid }, mounts: [`${directory}:/mnt/x:rw`] };
        for (const seccomp of ['default', 'unconfined'] as const) {
          const { stdout } = await run(['/mnt/x/guest', 'ids'], { ...spec, seccomp }, bench.options({}));
          expect(stdout).toContain(`uid ${uid} ${uid} ${uid}\ngid ${uid} ${uid} ${uid}\n`);
        }
      }
    },

    'sockets, FIFOs, block devices and what only looks like a file are refused before anything is made': async (
      bench,
    ) => {
      const base = bench.makeDirectory('no-sources');
      const socket = createServer();
      await new Promise<void>((resolve) => socket.listen(join(base, 'socket'), resolve));
      try {
        expect(spawnSync('mkfifo', [join(base, 'fifo')]).status).toBe(0);
        symlinkSync('loop', join(base, 'loop'));
        symlinkSync('nowhere', join(base, 'dangling'));
        const sources = ['socket', 'fifo', 'loop', 'dangling', 'absent', 'socket/below'].map((name) =>
          join(base, name),
        );
        const disk = readdirSync('/dev').find((name) => statSync(`/dev/${name}`).isBlockDevice());
        if (disk !== undefined) sources.push(`/dev/${disk}`);
        if (process.getuid?.() === 0) {
          expect(spawnSync('mknod', [join(base, 'block'), 'b', '7', '0']).status).toBe(0);
          sources.push(join(base, 'block'));
        }
        for (const source of sources)
          for (const mount of [`${source}:/mnt/x`, `${source}:/usr/bin/env:rw`, `${source}:/tmp/x:ro`]) {
            const asked = run(['true'], { mounts: [mount] }, bench.options({}));
            await expect(asked, mount).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
          }
      } finally {
        await new Promise((resolve) => socket.close(resolve));
      }
    },

    'a file over a directory, and a directory over a file, are refused': async (bench) => {
      const file = bench.makeFile('a-file', 'x');
      const directory = bench.makeDirectory('a-directory');
      for (const mount of [`${file}:/usr`, `${directory}:/etc/passwd`, `${file}:/usr/bin`]) {
        const asked = run(['true'], { mounts: [mount] }, bench.options({}));
        await expect(asked, mount).rejects.toMatchObject({
          code: expect.stringMatching(/^SBX_(SPEC|LAUNCH)/),
        });
      }
    },
  },
};
