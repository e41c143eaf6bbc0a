import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BackendError, FeatureError } from '../../src/errors/errors.ts';
import { type Availability, type Feature, features } from '../../src/features/feature.ts';
import { type Candidate, type NegotiationRequest, negotiate } from '../../src/features/negotiate.ts';
import { requirements } from '../../src/features/requirements.ts';
import { standInsFor } from '../../src/features/stand-ins.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';

const yes: Availability = { available: true, mechanism: 'kernel' };
const no = (because: string, remedy?: string): Availability =>
  remedy === undefined ? { available: false, because } : { available: false, because, remedy };

function candidate(
  name: string,
  recognized: readonly Feature[],
  found?: Partial<Record<Feature, Availability>>,
  usable = yes,
): Candidate {
  if (found === undefined) return { name, recognized: new Set(recognized) };
  return {
    name,
    recognized: new Set(recognized),
    report: { usable, features: new Map(Object.entries(found) as [Feature, Availability][]) },
  };
}

function attempt(request: Partial<NegotiationRequest> & { candidates: readonly Candidate[] }) {
  return negotiate({ required: new Set<Feature>(['env', 'limits.diskBytes']), optional: [], ...request });
}

function failure(run: () => unknown): FeatureError | BackendError {
  try {
    run();
  } catch (error) {
    if (error instanceof FeatureError || error instanceof BackendError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('negotiation', () => {
  const poor = candidate('poor', ['env']);
  const rich = candidate('rich', ['env', 'limits.diskBytes', 'cwd']);

  test('gives nobody what the spec itself rules out, and says once why', () => {
    const excluded = new Map([['limits.diskBytes', 'it cannot be'] as const]);
    const both = [rich, candidate('other', [...features])];
    for (const candidates of [[rich], both]) {
      const refused = failure(() => attempt({ candidates, excluded }));
      expect(refused).toMatchObject({ missing: [{ feature: 'limits.diskBytes', because: 'it cannot be' }] });
      const { backend, granted, skipped } = attempt({ candidates, excluded, optional: ['limits.diskBytes'] });
      expect([backend, [...granted]]).toEqual(['rich', ['env']]);
      expect(skipped).toEqual([{ feature: 'limits.diskBytes', because: 'it cannot be' }]);
    }
  });

  test('takes the first that offers all, in the order given', () => {
    expect(attempt({ candidates: [poor, rich] }).backend).toBe('rich');
    expect(attempt({ candidates: [rich, candidate('other', [...features])] }).backend).toBe('rich');
  });

  test('grants what is required, and nothing more', () => {
    expect(attempt({ candidates: [rich] })).toEqual({
      backend: 'rich',
      granted: new Set(['env', 'limits.diskBytes']),
      skipped: [],
    });
  });

  test('skips what is optional with the reason, and takes it where it is to be had', () => {
    expect(attempt({ candidates: [poor], optional: ['limits.diskBytes'] })).toEqual({
      backend: 'poor',
      granted: new Set(['env']),
      skipped: [{ feature: 'limits.diskBytes', because: 'not served by backend poor yet, nor by any other' }],
    });
    expect(attempt({ candidates: [poor], optional: 'all' }).skipped).toHaveLength(1);
    expect(attempt({ candidates: [rich], optional: 'all' }).skipped).toEqual([]);
  });

  describe('what stands in for a feature', () => {
    const asked = {
      required: new Set<Feature>(['env', 'limits.pids']),
      standIns: standInsFor({}),
    };
    const host = (pids: Availability, approximate: Availability) =>
      candidate('here', ['env', 'limits.pids', 'limits.pids.approximate'], {
        env: yes,
        'limits.pids': pids,
        'limits.pids.approximate': approximate,
      });

    test('is taken where the feature is not to be had, and may be missing', () => {
      const candidates = [host(no('no tree'), yes)];
      expect(attempt({ ...asked, candidates, optional: ['limits.pids'] })).toEqual({
        backend: 'here',
        granted: new Set(['env', 'limits.pids.approximate']),
        skipped: [{ feature: 'limits.pids', because: 'no tree; limits.pids.approximate stands in for it' }],
      });
      expect(attempt({ ...asked, candidates, optional: 'all' }).granted).toContain('limits.pids.approximate');
    });

    test('is not taken where the feature is to be had', () => {
      const agreement = attempt({ ...asked, candidates: [host(yes, yes)], optional: 'all' });
      expect(agreement).toEqual({ backend: 'here', granted: new Set(['env', 'limits.pids']), skipped: [] });
    });

    test('never serves who insists on the feature, but the refusal names it', () => {
      const error = failure(() => attempt({ ...asked, candidates: [host(no('no tree', 'be root'), yes)] }));
      expect(error).toMatchObject({
        missing: [
          {
            feature: 'limits.pids',
            remedy:
              'be root; or name it optional (--optional limits.pids), and limits.pids.approximate stands in for it',
          },
        ],
      });
      const without = failure(() => attempt({ ...asked, candidates: [host(no('no tree'), no('neither'))] }));
      expect((without as FeatureError).missing[0]?.remedy).toBeUndefined();
    });

    test('is not there where it is not to be had, or no backend knows it', () => {
      const optional = ['limits.pids'] as const;
      const missing = { granted: new Set(['env']), skipped: [{ feature: 'limits.pids', because: 'no tree' }] };
      expect(attempt({ ...asked, optional, candidates: [host(no('no tree'), no('neither'))] })).toMatchObject(missing);
      const plain = candidate('plain', ['env', 'limits.pids'], { env: yes, 'limits.pids': no('no tree') });
      expect(attempt({ ...asked, optional, candidates: [plain] })).toMatchObject(missing);
    });

    test('there is none that the capabilities of the command would undo', () => {
      expect(standInsFor({ capabilities: ['CAP_SYS_ADMIN'] }).size).toBe(0);
      expect([...standInsFor({ capabilities: ['CAP_SETUID'] }).keys()]).toEqual(['limits.cpuMs', 'limits.memoryBytes']);
    });
  });

  test('what is optional but not required is neither granted nor skipped', () => {
    expect(attempt({ candidates: [rich], optional: ['cwd', 'selinux'] })).toMatchObject({
      granted: new Set(['env', 'limits.diskBytes']),
      skipped: [],
    });
  });

  test('what the host does not have is refused with its reason and remedy', () => {
    const here = candidate('rich', ['env', 'limits.diskBytes'], {
      env: yes,
      'limits.diskBytes': no('this kernel has none', 'use Linux 5.13'),
    });
    const error = failure(() => attempt({ candidates: [here] }));
    expect(error).toMatchObject({
      code: 'SBX_FEATURE_UNAVAILABLE',
      backend: 'rich',
      missing: [{ feature: 'limits.diskBytes', because: 'this kernel has none', remedy: 'use Linux 5.13' }],
    });
    expect(error.message).toBe(
      'not available on backend rich: limits.diskBytes: this kernel has none (use Linux 5.13)',
    );
    expect(attempt({ candidates: [here], optional: ['limits.diskBytes'] }).skipped).toEqual([
      { feature: 'limits.diskBytes', because: 'this kernel has none' },
    ]);
  });

  test('a recognized feature that the report does not have is no promise', () => {
    expect(
      failure(() => attempt({ candidates: [candidate('rich', ['env', 'limits.diskBytes'], { env: yes })] })).message,
    ).toContain('did not find it');
  });

  test('every missing feature is named at once, and who has it', () => {
    const error = failure(() =>
      attempt({
        required: new Set<Feature>(['env', 'limits.diskBytes', 'selinux']),
        candidates: [poor, rich],
        chosen: 'poor',
      }),
    );
    expect(error).toMatchObject({
      missing: [
        { feature: 'limits.diskBytes', because: 'not served by backend poor', remedy: 'use backend rich' },
        { feature: 'selinux', because: 'not served by backend poor yet, nor by any other' },
      ],
    });
  });

  test('the chosen one is taken, and no other', () => {
    const other = candidate('other', [...features]);
    expect(attempt({ candidates: [rich, other], chosen: 'other' }).backend).toBe('other');
    expect(failure(() => attempt({ candidates: [poor, other], chosen: 'poor' }))).toBeInstanceOf(FeatureError);
  });

  test('one that is taken by name only is never taken otherwise', () => {
    const none: Candidate = { ...candidate('none', [...features]), byNameOnly: true };
    const broken = candidate('rich', ['env'], {}, no('no user namespaces', 'run-sandbox doctor'));
    expect(failure(() => attempt({ candidates: [broken, none], optional: 'all' }))).toMatchObject({
      code: 'SBX_BACKEND_UNAVAILABLE',
      message: 'backend rich cannot run here; rich: no user namespaces; run-sandbox doctor',
    });
    expect(attempt({ candidates: [broken, none], chosen: 'none' }).backend).toBe('none');
    expect(failure(() => attempt({ candidates: [none] })).message).toContain('there is no backend for this host');
  });

  test('one that cannot run here is passed over', () => {
    const broken = candidate('broken', [...features], {}, no('it is not installed', 'install it'));
    expect(attempt({ candidates: [broken, rich] }).backend).toBe('rich');
  });

  test('when none of several fits, each has its reasons', () => {
    const broken = candidate('broken', [...features], {}, no('it is not installed', 'install it'));
    const error = failure(() =>
      attempt({ candidates: [poor, broken], required: new Set<Feature>(['limits.diskBytes', 'selinux']) }),
    );
    expect(error).toBeInstanceOf(BackendError);
    expect((error as BackendError).probes).toEqual([
      { backend: 'poor', because: 'it does not serve limits.diskBytes, selinux' },
      { backend: 'broken', because: 'it is not installed' },
    ]);
    expect(error.remedy).toBe('for broken: install it');
  });

  test('what none of several knows is refused once, and by itself', () => {
    const error = failure(() =>
      attempt({ candidates: [poor, rich], required: new Set<Feature>(['limits.diskBytes', 'selinux']) }),
    );
    expect(error).toMatchObject({
      code: 'SBX_FEATURE_UNAVAILABLE',
      missing: [{ feature: 'selinux', because: 'not served by backend poor yet, nor by any other' }],
    });
  });

  test('an unknown name is refused with the nearest one', () => {
    expect(failure(() => attempt({ candidates: [rich], chosen: 'rihc' })).message).toBe(
      "there is no backend 'rihc'; did you mean 'rich'?",
    );
    expect(failure(() => attempt({ candidates: [poor, rich], chosen: 'zebra' })).message).toContain(
      'known are poor, rich',
    );
  });

  test('granted and skipped are together what is required, and granted is offered', () => {
    const some = fc.subarray([...features]);
    fc.assert(
      fc.property(some, some, some, some, (required, optional, recognized, available) => {
        const found = Object.fromEntries(available.map((feature) => [feature, yes]));
        const request = { required: new Set(required), optional, candidates: [candidate('one', recognized, found)] };
        const offered = new Set(recognized.filter((feature) => available.includes(feature)));
        const lacking = required.filter((feature) => !offered.has(feature));
        if (lacking.every((feature) => optional.includes(feature))) {
          const { granted, skipped } = negotiate(request);
          expect(new Set([...granted, ...skipped.map(({ feature }) => feature)])).toEqual(new Set(required));
          expect([...granted].every((feature) => offered.has(feature))).toBe(true);
        } else {
          const error = failure(() => negotiate(request)) as FeatureError;
          expect(error.missing.map(({ feature }) => feature)).toEqual(
            lacking.filter((feature) => !optional.includes(feature)),
          );
        }
      }),
    );
  });
});

describe('requirements', () => {
  const base = requirements({});
  const added = (spec: SandboxSpec, options = {}): Feature[] =>
    [...requirements(spec, options)].filter((feature) => !base.has(feature)).sort();
  const dropped = (spec: SandboxSpec): Feature[] => {
    const needed = requirements(spec);
    return [...base].filter((feature) => !needed.has(feature)).sort();
  };

  test('of the default are the safe ones', () => {
    expect([...base].sort()).toEqual(
      [
        ...[
          'root.host',
          'root.readonly',
          'mount.tmpfs',
          'mount.proc',
          'mount.dev',
          'cwd',
          'env',
          'hostname',
          'umask',
          'user',
        ],
        ...[
          'namespace.pid',
          'namespace.mount',
          'namespace.network',
          'namespace.ipc',
          'namespace.uts',
          'namespace.cgroup',
        ],
        ...['network.none', 'limits.coreBytes', 'seccomp.default', 'capabilities.drop', 'noNewPrivileges'],
        ...['lifecycle.killTree', 'lifecycle.dieWithParent', 'usage.wall'],
      ].sort(),
    );
  });

  test.each<[SandboxSpec, Feature[]]>([
    [{ root: './x' }, ['root.path']],
    [{ root: 'host' }, []],
    [{ root: { image: 'x' } }, ['root.changes', 'root.image']],
    [{ root: { image: 'x', readonly: true } }, ['root.image']],
    [{ root: { writablePaths: ['/a'] } }, ['root.writablePaths']],
    [{ root: { writablePaths: [] } }, []],
    [{ root: { changes: 'keep' } }, []],
    [{ root: { changes: 'discard' } }, []],
    [{ root: { path: '/a', changes: 'discard' } }, ['root.changes', 'root.path']],
    [{ root: { path: '/a', changes: 'capture' } }, ['changes.capture', 'root.changes', 'root.path']],
    [{ mounts: ['a:/b'] }, ['mount.bind']],
    [
      {
        mounts: [
          { type: 'overlay', destination: '/a' },
          { type: 'image', destination: '/b' },
        ],
      },
      ['mount.image', 'mount.overlay'],
    ],
    [{ workspace: '.' }, ['mount.bind', 'workspace']],
    [{ workspace: { path: '.', access: 'overlay' } }, ['mount.bind', 'workspace', 'workspace.overlay']],
    [
      { workspace: { path: '.', access: 'overlay', changes: 'capture' } },
      ['changes.capture', 'mount.bind', 'workspace', 'workspace.overlay'],
    ],
    [
      { mounts: [{ type: 'overlay', source: '.', destination: '/a', changes: 'capture' }] },
      ['changes.capture', 'mount.overlay'],
    ],
    [{ network: 'host' }, ['network.host']],
    [{ network: { allow: ['x:1'] } }, ['network.allow']],
    [{ network: { publish: ['1:1'] } }, ['network.publish']],
    [{ network: {} }, ['network.allow']],
    [
      { limits: { wallMs: 1, memoryBytes: 1, pids: 1, cpus: 1, diskBytes: 1 } },
      ['limits.cpus', 'limits.diskBytes', 'limits.memoryBytes', 'limits.pids', 'limits.wallMs'],
    ],
    [{ seccomp: 'strict' }, ['seccomp.strict']],
    [{ seccomp: { defaultAction: 'SCMP_ACT_ALLOW' } }, ['seccomp.custom']],
    [{ seccomp: 'unconfined' }, []],
    [{ capabilities: [] }, []],
    [{ capabilities: ['CAP_KILL'] }, ['capabilities.keep']],
    [
      { landlock: { paths: {}, connectTcp: [], scopes: ['signal'] }, selinux: 'x' },
      ['landlock.paths', 'landlock.scopes', 'landlock.tcp', 'selinux'],
    ],
    [{ terminal: true }, ['terminal']],
    [{ terminal: false }, []],
    [{ uidMappings: 'subordinate' }, ['idMappings', 'idMappings.ranges']],
    [{ gidMappings: [{ containerID: 0, hostID: 1000, size: 1 }] }, ['idMappings']],
    [{ gidMappings: [{ containerID: 0, hostID: 1000, size: 2 }] }, ['idMappings', 'idMappings.ranges']],
  ])('of %j are %j more', (spec, expected) => {
    expect(added(spec)).toEqual(expected);
  });

  test.each<[SandboxSpec, Feature[]]>([
    [{ network: 'host' }, ['namespace.network', 'network.none']],
    [{ network: { allow: [] } }, ['network.none']],
    [{ seccomp: 'unconfined' }, ['seccomp.default']],
    [{ root: { path: '/x', readonly: false } }, ['root.host', 'root.readonly']],
    [{ root: { writablePaths: 'all' } }, ['root.readonly']],
  ])('of %j are without %j', (spec, expected) => {
    expect(dropped(spec)).toEqual(expected);
  });

  test('depend on the host and the call only where that is said', () => {
    expect(added({ architecture: 'arm64' }, { architecture: 'arm64' })).toEqual([]);
    expect(added({ architecture: 'arm64' }, { architecture: 'x64' })).toEqual(['architecture']);
    expect(added({}, { descriptors: true, missingMountPoints: true })).toEqual([
      'descriptors',
      'root.missingMountPoints',
    ]);
    const uidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
    expect(added({ uidMappings }, { caller: { uid: 1000, gid: 1000 } })).toEqual(['idMappings']);
    expect(added({ uidMappings }, { caller: { uid: 7, gid: 7 } })).toEqual(['idMappings', 'idMappings.ranges']);
  });

  test('are features, every one', () => {
    const everything = requirements({
      limits: {
        wallMs: 1,
        cpuMs: 1,
        cpus: 1,
        memoryBytes: 1,
        pids: 1,
        openFiles: 1,
        fileBytes: 1,
        stackBytes: 1,
        coreBytes: 1,
        outputBytes: 1,
        diskBytes: 1,
      },
    });
    for (const feature of everything) expect(features).toContain(feature);
  });
});
