// Ids where the kernel has its edges: those that are negative as an int, the one that means "none", and those that stand for nobody in the sandbox.
import { chmodSync, chownSync, copyFileSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { FeatureError, SpecError } from '../../../src/errors/errors.ts';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { requires } from '../../helpers/requires.ts';
import { python } from '../python.ts';
import { needing, type Technique } from '../technique.ts';

const NONE = 4_294_967_295;
const LARGEST = NONE - 1;
const EDGES = [2_147_483_647, 2_147_483_648, 3_000_000_000, LARGEST] as const;

const nobody: readonly unknown[] = [NONE, NONE + 1, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '0', null];

export const technique: Technique = {
  name: 'ids-at-the-edge',
  attacks: ['root.host', 'mount.bind', 'user'],
  cases: {
    'ids that are none are refused, wherever they stand': async (bench) => {
      for (const id of nobody) {
        const wrong: readonly unknown[] = [
          { user: { uid: id, gid: 0 } },
          { user: { uid: 0, gid: id } },
          { user: { uid: 0, gid: 0, additionalGids: [id] } },
          ...(bench.recognized.has('idMappings') ? ['containerID', 'hostID', 'size'] : []).flatMap((key) =>
            ['uidMappings', 'gidMappings'].map((which) => ({
              [which]: [{ containerID: 0, hostID: 0, size: 1, [key]: id }],
            })),
          ),
        ];
        for (const spec of wrong) {
          // A length of one more than the largest id is all of them: that is for the kernel, and the caller, to judge.
          if (id === NONE && JSON.stringify(spec).includes('"size":4294967295')) continue;
          const asked = run(['true'], spec as SandboxSpec, bench.options({}));
          await expect(asked, JSON.stringify(spec)).rejects.toBeInstanceOf(SpecError);
        }
      }
      for (const user of [
        '4294967295',
        '4294967296:0',
        '0:4294967295',
        '-1',
        '-1:-1',
        '0x0:0',
        '1e3:0',
        '99999999999999999999',
      ])
        await expect(run(['true'], { user }, bench.options({})), user).rejects.toBeInstanceOf(SpecError);
    },
    'mappings that overlap, or go round the end, are refused': needing(
      ['idMappings', 'idMappings.ranges'],
      async (bench) => {
        const wrong: readonly SandboxSpec['uidMappings'][] = [
          [{ containerID: LARGEST, hostID: 0, size: 2 }],
          [{ containerID: 0, hostID: LARGEST, size: 2 }],
          [{ containerID: 0, hostID: 1, size: NONE }],
          [
            { containerID: 0, hostID: 100_000, size: 10 },
            { containerID: 5, hostID: 200_000, size: 10 },
          ],
          [
            { containerID: 0, hostID: 100_000, size: 10 },
            { containerID: 100, hostID: 100_005, size: 10 },
          ],
          [{ containerID: 0, hostID: 0, size: 0 }],
          [],
        ];
        for (const mapping of wrong)
          for (const which of ['uidMappings', 'gidMappings']) {
            const asked = run(
              ['true'],
              { user: { uid: 0, gid: 0 }, [which]: mapping } as SandboxSpec,
              bench.options({}),
            );
            await expect(asked, JSON.stringify([which, mapping])).rejects.toMatchObject({
              code: expect.stringMatching(/^SBX_(SPEC_INVALID|FEATURE_UNAVAILABLE|LAUNCH_FAILED)$/),
            });
          }
      },
    ),
    'the largest ids are ids like any other': async (bench) => {
      const place = bench.makeDirectory('largest');
      const script = `
say('ids', (os.getresuid(), os.getresgid()))
file = os.open('/mnt/place/' + sys.argv[1], os.O_CREAT | os.O_WRONLY, 0o600)
say('owner', (os.fstat(file).st_uid, os.fstat(file).st_gid))
`;
      if (process.getuid?.() === 0)
        for (const id of EDGES) {
          mkdirSync(join(place, String(id)));
          chownSync(join(place, String(id)), id, id);
          // Where every id inside is the caller's outside, it is by the mode that these can be written to.
          chmodSync(join(place, String(id)), 0o777);
        }
      for (const id of EDGES) {
        const spec: SandboxSpec = { user: { uid: id, gid: id }, mounts: [`${place}:/mnt/place:rw`] };
        const name = process.getuid?.() === 0 ? `${id}/made` : `made-${id}`;
        const triple = `(${id}, ${id}, ${id})`;
        const answered = await python(bench, script, spec, [name]).catch((error: unknown) => {
          // Some programs count ids as an int. Then they are refused, and never another id.
          if (bench.backend === 'native' || id <= EDGES[0] || !(error instanceof FeatureError)) throw error;
          return undefined;
        });
        if (answered === undefined) continue;
        expect(answered).toEqual({
          ids: `(${triple}, ${triple})`,
          owner: `(${id}, ${id})`,
        });
        // For an ordinary user every id inside is its own outside; root's are what they are, unless the backend maps no other than the caller's.
        const { uid, gid } = statSync(join(place, name));
        const caller = [process.getuid?.(), process.getgid?.()];
        const possible =
          process.getuid?.() === 0 ? (bench.backend === 'native' ? [[id, id]] : [[id, id], caller]) : [caller];
        expect(possible).toContainEqual([uid, gid]);
      }
    },
    'who is not mapped is nobody, owns nothing of the command, and nothing can be given to him': needing(
      ['idMappings', 'capabilities.keep'],
      async (bench) => {
        const place = bench.makeDirectory('unmapped');
        const file = bench.makeFile('unmapped/file', 'x', 0o666);
        const own = statSync(file);
        const script = `
overflow = int(open('/proc/sys/kernel/overflowuid').read())
say('root', os.stat('/etc/passwd').st_uid in (overflow, int(sys.argv[1])))
for id in (1, 65534, 100000, 2147483648, 4294967294):
    say('chown:%d' % id, attempt(lambda: os.chown('/mnt/place/file', id, -1)))
    say('chgrp:%d' % id, attempt(lambda: os.chown('/mnt/place/file', -1, id)))
    say('setuid:%d' % id, attempt(lambda: os.setresuid(id, id, id)))
    say('setgid:%d' % id, attempt(lambda: os.setresgid(id, id, id)))
`;
        const id = 7;
        const only = (outside: number) => [{ containerID: id, hostID: outside, size: 1 }];
        const mapped: SandboxSpec = {
          user: { uid: id, gid: id },
          uidMappings: only(process.getuid?.() ?? 0),
          gidMappings: only(process.getgid?.() ?? 0),
          capabilities: ['CAP_CHOWN', 'CAP_FOWNER', 'CAP_SETUID', 'CAP_SETGID', 'CAP_DAC_OVERRIDE'],
          mounts: [`${place}:/mnt/place:rw`],
        };
        const { root, ...answers } = await python(bench, script, mapped, [id]);
        expect(root).toBe('True');
        expect(new Set(Object.values(answers))).toEqual(new Set(['EINVAL']));
        const after = statSync(file);
        expect([after.uid, after.gid, after.mode]).toEqual([own.uid, own.gid, own.mode]);
      },
    ),
    'a file of somebody who is not mapped stays closed to all capabilities': needing(
      ['idMappings.ranges', 'capabilities.keep'],
      async (bench) => {
        requires('root');
        const place = bench.makeDirectory('of-others');
        const file = bench.makeFile('of-others/file', 'of another', 0o600);
        copyFileSync(bench.guestOutside, join(place, 'guest'));
        chownSync(file, 4242, 4242);
        const mapping = [{ containerID: 0, hostID: 100_000, size: 1000 }];
        const spec: SandboxSpec = {
          user: { uid: 0, gid: 0 },
          uidMappings: mapping,
          gidMappings: mapping,
          capabilities: [
            'CAP_CHOWN',
            'CAP_FOWNER',
            'CAP_DAC_OVERRIDE',
            'CAP_DAC_READ_SEARCH',
            'CAP_FSETID',
            'CAP_SETFCAP',
          ],
          mounts: [`${place}:/mnt/place:rw`],
        };
        const script = `
path = '/mnt/place/file'
say('owner', os.stat(path).st_uid)
say('read', attempt(lambda: os.open(path, os.O_RDONLY)))
say('write', attempt(lambda: os.open(path, os.O_WRONLY)))
say('chmod', attempt(lambda: os.chmod(path, 0o777)))
say('chown', attempt(lambda: os.chown(path, 0, 0)))
say('capability', attempt(lambda: os.setxattr(path, 'security.capability', bytes.fromhex('0100000201002000000000000000000000000000'))))
`;
        const { owner, ...answers } = await python(bench, script, spec);
        expect(owner).toBe('65534');
        expect(Object.values(answers).filter((answer) => answer === 'ok')).toEqual([]);
        expect(Object.keys(answers)).toHaveLength(5);
      },
    ),
  },
};
