import { describe, expect, test } from 'vitest';
import { formatPath, ImageError } from '../../../src/errors/errors.ts';
import {
  type AciImage,
  type RenderStep,
  renderOrder,
  whitelistJudge,
  whyNoMatch,
} from '../../../src/image/aci/dependencies.ts';
import { type AciManifest, parseAciManifest } from '../../../src/image/aci/manifest.ts';
import { type AciPod, boundIsolators, contextOfPodApp, parseAciPod } from '../../../src/image/aci/pod.ts';

const id = `sha512-${'ab'.repeat(64)}`;
const idOf = (name: string): string => `sha512-${Buffer.from(name).toString('hex').padEnd(128, '0')}`;

const app = { name: 'worker', image: { id } };
const minimal = { acKind: 'PodManifest', acVersion: '0.8.11', apps: [app] };
const parse = (pod: unknown): AciPod => parseAciPod(JSON.stringify(pod));

function issuesOf(pod: unknown): Record<string, string> {
  try {
    parse(pod);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    return Object.fromEntries(error.issues.map(({ path, message }) => [formatPath(path), message]));
  }
  return {};
}

describe('a pod manifest (A114)', () => {
  test('is read with every default filled in (A90)', () => {
    const pod = parse({
      ...minimal,
      apps: [
        {
          ...app,
          app: { exec: ['/a'], user: '0', group: '0' },
          mounts: [{ volume: 'work', path: '/mnt' }],
          readOnlyRootFS: true,
        },
        { name: 'other', image: { id, name: 'example.com/other', labels: [{ name: 'version', value: '1' }] } },
      ],
      volumes: [
        { name: 'work', kind: 'host', source: '/opt/work', readOnly: true },
        { name: 'db', kind: 'empty' },
        { name: 'own', kind: 'empty', mode: '1777', uid: 5, gid: 6 },
      ],
      isolators: [{ name: 'resource/memory', value: { limit: '4G' } }],
      ports: [{ name: 'ftp', hostPort: 2121 }],
    });
    expect(pod.apps.map(({ readOnlyRootFS }) => readOnlyRootFS)).toEqual([true, false]);
    expect(pod.apps[0]?.app?.exec).toEqual(['/a']);
    expect(pod.volumes).toEqual([
      { kind: 'host', name: 'work', source: '/opt/work', readOnly: true, recursive: true },
      { kind: 'empty', name: 'db', readOnly: false, mode: 0o755, uid: 0, gid: 0 },
      { kind: 'empty', name: 'own', readOnly: false, mode: 0o1777, uid: 5, gid: 6 },
    ]);
    expect(pod.ports).toEqual([{ name: 'ftp', hostPort: 2121, hostIP: undefined, podPort: undefined }]);
  });

  test('is refused with all issues at once', () => {
    expect(
      issuesOf({
        acKind: 'ImageManifest',
        acVersion: '0.8.11',
        apps: [app, { ...app, mounts: [{ volume: 'none', path: 'mnt' }] }, { name: 'A_b', image: {} }, { name: 'c' }],
        volumes: [
          { name: 'v', kind: 'host', source: 'relative', mode: '0755', uid: 0 },
          { name: 'v', kind: 'empty', source: '/x', mode: '999' },
          { name: 'w', kind: 'tmp' },
        ],
        ports: [{ name: 'p', hostPort: 0, hostIP: 'localhost' }],
      }),
    ).toEqual({
      acKind: "must be 'PodManifest', not 'ImageManifest', which is another document",
      'apps[1].name': "'worker' is there already, at [0]",
      'apps[1].mounts[0].path': "must be an absolute path, not 'mnt'",
      'apps[1].mounts[0].volume': "there is no volume 'none'",
      'apps[2].name': expect.stringContaining('is not an AC Name'),
      'apps[2].image.id': 'is required',
      'apps[3].image': 'is required',
      'volumes[0].source': "must be an absolute path, not 'relative'",
      'volumes[0].mode': "means nothing for a volume of kind 'host'",
      'volumes[0].uid': "means nothing for a volume of kind 'host'",
      'volumes[1].name': "'v' is there already, at [0]",
      'volumes[1].source': "means nothing for a volume of kind 'empty'",
      'volumes[1].mode': "'999' is no mode in octal, such as '0755'",
      'volumes[2].kind': "must be 'host' or 'empty', not 'tmp'",
      'ports[0].hostPort': 'must be a whole number from 1 to 65535, not 0',
      'ports[0].hostIP': "'localhost' is no IP address",
    });
    expect(issuesOf({ ...minimal, apps: [] })).toEqual({ apps: 'must name an app' });
  });

  test('bounds the isolators of its apps (A87)', () => {
    const isolators = (...list: unknown[]): AciPod['isolators'] => parse({ ...minimal, isolators: list }).isolators;
    const memory = (limit: string): unknown => ({ name: 'resource/memory', value: { limit } });
    const nanos = (units: bigint): bigint => units * 10n ** 9n;
    expect(boundIsolators(isolators(memory('1G')), isolators(memory('2G')))[0]?.value).toEqual({
      limit: { nanos: nanos(1_000_000_000n) },
      request: { nanos: nanos(1_000_000_000n) },
    });
    expect(boundIsolators(isolators(memory('4G')), isolators(memory('2G')))).toEqual(isolators(memory('2G')));
    const own = { name: 'os/linux/no-new-privileges', value: true };
    expect(boundIsolators(isolators(memory('4G')), isolators(own))).toEqual(isolators(own, memory('4G')));
    expect(boundIsolators(isolators({ ...own, value: false }), isolators(own))).toEqual(isolators(own));
  });
});

interface Described {
  readonly dependencies?: readonly string[];
  readonly pathWhitelist?: readonly string[];
}

function images(described: Readonly<Record<string, Described>>): Map<string, AciImage> {
  const manifestOf = (name: string, { dependencies = [], pathWhitelist = [] }: Described): AciManifest =>
    parseAciManifest(
      JSON.stringify({
        acKind: 'ImageManifest',
        acVersion: '0.8.11',
        name,
        pathWhitelist,
        dependencies: dependencies.map((imageName) => ({ imageName })),
      }),
    );
  return new Map(
    Object.entries(described).map(([name, members]) => [
      name,
      { id: idOf(name), size: 100, manifest: manifestOf(name, members) },
    ]),
  );
}

function order(described: Readonly<Record<string, Described>>, start = 'a'): RenderStep[] {
  const known = images(described);
  const first = known.get(start);
  if (first === undefined) throw new Error('no such image');
  return renderOrder(first, ({ imageName }) => known.get(imageName));
}

const names = (steps: readonly RenderStep[]): string => steps.map(({ image }) => image.manifest.name).join(' ');

describe('the order of rendering (A101)', () => {
  test('is depth first, as listed, the image itself last', () => {
    expect(names(order({ a: { dependencies: ['b', 'c'] }, b: {}, c: { dependencies: ['d'] }, d: {} }))).toBe('b d c a');
  });

  test('has what two depend on twice', () => {
    const diamond = { a: { dependencies: ['b', 'c'] }, b: { dependencies: ['d'] }, c: { dependencies: ['d'] }, d: {} };
    expect(names(order(diamond))).toBe('d b d c a');
  });

  test('is refused where an image depends on itself, with the chain (A104)', () => {
    expect(() => order({ a: { dependencies: ['b'] }, b: { dependencies: ['c'] }, c: { dependencies: ['b'] } })).toThrow(
      'a -> b -> c -> b depends on itself',
    );
    expect(() => order({ a: { dependencies: ['a'] } })).toThrow('a -> a depends on itself');
  });

  test('is refused where an image is missing, with the chain and what was asked for (A104)', () => {
    expect(() => order({ a: { dependencies: ['b'] }, b: { dependencies: ['c'] } })).toThrow(
      'a -> b depends on c, which was not found',
    );
  });

  test('is refused beyond a depth, and beyond a number of archives (A104)', () => {
    const chain = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [`n${i}`, { dependencies: [`n${i + 1}`] }] as const),
    );
    expect(() => order({ a: { dependencies: ['n0'] }, ...chain, n40: {} })).toThrow('is more than 32 images deep');
    const doubling = Object.fromEntries(
      Array.from({ length: 20 }, (_, i) => [`n${i}`, { dependencies: [`n${i + 1}`, `n${i + 1}`] }] as const),
    );
    expect(() => order({ a: { dependencies: ['n0'] }, ...doubling, n20: {} })).toThrow(
      'more than 1000 images to extract',
    );
  });
});

describe('an image that was found (A100)', () => {
  const found = images({ base: {} }).get('base') as AciImage;
  const labelled = {
    ...found,
    manifest: {
      ...found.manifest,
      labels: new Map([
        ['version', '1'],
        ['os', 'linux'],
      ]),
    },
  };
  const wanted = { imageName: 'base', imageID: undefined, labels: new Map<string, string>(), size: undefined };

  test('matches by its name and a part of its labels', () => {
    expect(whyNoMatch(wanted, labelled)).toBeUndefined();
    expect(whyNoMatch({ ...wanted, labels: new Map([['version', '1']]), size: 100 }, labelled)).toBeUndefined();
    expect(whyNoMatch({ ...wanted, labels: new Map([['version', '2']]) }, labelled)).toBe(
      "the label 'version' of the image is '1', not '2'",
    );
    expect(whyNoMatch({ ...wanted, labels: new Map([['arch', 'amd64']]) }, labelled)).toBe(
      "the image has no label 'arch', which must be 'amd64'",
    );
  });

  test('matches by its ID alone where there is one, as the text has it', () => {
    expect(whyNoMatch({ ...wanted, imageID: found.id, labels: new Map([['version', '2']]) }, labelled)).toBeUndefined();
    expect(whyNoMatch({ ...wanted, imageID: id }, found)).toContain(`not ${id}`);
  });

  test('has the name and the size that were asked for', () => {
    expect(whyNoMatch({ ...wanted, imageName: 'other' }, found)).toBe('the image that was found is base');
    expect(whyNoMatch({ ...wanted, size: 99 }, found)).toBe('the image has 100 bytes, not 99');
  });

  test('that does not match is an error with the chain', () => {
    const known = images({ a: { dependencies: ['b'] }, c: {} });
    expect(() => renderOrder(known.get('a') as AciImage, () => known.get('c'))).toThrow(
      'a -> b: the image that was found is c',
    );
  });
});

describe('the list of paths (A105)', () => {
  test('without one everything stays', () => {
    expect(whitelistJudge([])('/any/where')).toBe('listed');
    expect(whitelistJudge([[]])('/any/where')).toBe('listed');
  });

  test('is complete: parents stay for what is in them, and what lies in a listed directory is not listed', () => {
    const judge = whitelistJudge([['/etc/systemd/system/', '/usr/bin/x', '/matches/nothing']]);
    expect(['/', '/etc', '/etc/systemd', '/usr/bin'].map(judge)).toEqual(['parent', 'parent', 'parent', 'parent']);
    expect(['/etc/systemd/system', '//usr/bin/./x/'].map(judge)).toEqual(['listed', 'listed']);
    expect(['/etc/passwd', '/etc/systemd/system/a', '/usr/bin/xy', '/usr/bi'].map(judge)).toEqual([
      'removed',
      'removed',
      'removed',
      'removed',
    ]);
  });

  test('of an image and of those that depend on it hold together', () => {
    const steps = order({
      a: { dependencies: ['b'], pathWhitelist: ['/x', '/y'] },
      b: { pathWhitelist: ['/y', '/z'] },
    });
    expect(steps.map(({ pathWhitelists }) => pathWhitelists)).toEqual([
      [
        ['/y', '/z'],
        ['/x', '/y'],
      ],
      [['/x', '/y']],
    ]);
    const judge = whitelistJudge(steps[0]?.pathWhitelists ?? []);
    expect(['/x', '/y', '/z'].map(judge)).toEqual(['removed', 'listed', 'removed']);
  });
});

describe('an app of a pod (A114)', () => {
  const pod = parse({
    ...minimal,
    apps: [
      {
        ...app,
        app: { exec: ['/own'], user: '1', group: '1' },
        annotations: [{ name: 'a', value: 'pod' }],
        readOnlyRootFS: true,
      },
      { ...app, name: 'plain' },
    ],
    isolators: [{ name: 'resource/memory', value: { limit: '1G' } }],
  });
  const image = parseAciManifest(
    JSON.stringify({
      acKind: 'ImageManifest',
      acVersion: '0.8.11',
      name: 'image',
      app: {
        exec: ['/image'],
        user: '0',
        group: '0',
        isolators: [{ name: 'resource/memory', value: { limit: '2G' } }],
      },
      annotations: [
        { name: 'a', value: 'image' },
        { name: 'b', value: 'image' },
      ],
    }),
  );

  test('takes the place of the image’s own, and its annotations go before the image’s', () => {
    const [first, second] = pod.apps.map((entry) => contextOfPodApp(pod, entry, image));
    expect(first?.app?.exec).toEqual(['/own']);
    expect(first?.context).toMatchObject({ appName: 'worker', readOnlyRootFS: true });
    expect(first?.annotations).toEqual(
      new Map([
        ['a', 'pod'],
        ['b', 'image'],
      ]),
    );
    expect(second?.app?.exec).toEqual(['/image']);
    expect(second?.context.isolators).toEqual(pod.isolators);
  });
});
