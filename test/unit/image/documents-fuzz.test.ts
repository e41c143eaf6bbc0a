// Documents that nobody meant: whatever is in them, they are read or refused by one error of ours, and neither takes long.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ImageError, printable } from '../../../src/errors/errors.ts';
import { parseAciManifest } from '../../../src/image/aci/manifest.ts';
import { parseAciPod } from '../../../src/image/aci/pod.ts';
import { aciToSpec } from '../../../src/image/aci/spec.ts';
import { parseBundle } from '../../../src/image/oci/bundle.ts';
import { parseImageConfig } from '../../../src/image/oci/config.ts';
import { checkOciLayout, parseDockerArchive } from '../../../src/image/oci/layout.ts';
import { parseOciDocument } from '../../../src/image/oci/manifest.ts';
import { ociToSpec } from '../../../src/image/oci/spec.ts';
import { validateSpec } from '../../../src/spec/schema.ts';

const digest = `sha256:${'0a'.repeat(32)}`;
const id = `sha512-${'ab'.repeat(64)}`;
const accounts = { read: () => 'root:x:0:0::/:\n', owner: () => ({ uid: 0, gid: 0 }) };

interface Reader {
  readonly name: string;
  readonly good: object;
  /** Whatever is made of a document that was read must be what the library itself takes. */
  readonly read: (text: string) => unknown;
}

const readers: readonly Reader[] = [
  {
    name: 'an image manifest',
    good: {
      acKind: 'ImageManifest',
      acVersion: '0.8.11',
      name: 'a/b',
      labels: [{ name: 'os', value: 'linux' }],
      app: {
        exec: ['x'],
        user: '0',
        group: '0',
        environment: [{ name: 'A', value: 'b' }],
        isolators: [{ name: 'resource/cpu', value: { limit: '1' } }],
        mountPoints: [{ name: 'm', path: '/m' }],
      },
      dependencies: [{ imageName: 'c', imageID: id }],
    },
    read: (text) => {
      const context = { root: '/r', accounts, architecture: 'x64', realpath: () => undefined, emptyVolumes: true };
      return validateSpec(aciToSpec(parseAciManifest(text), context).spec);
    },
  },
  {
    name: 'a pod manifest',
    good: {
      acKind: 'PodManifest',
      acVersion: '0.8.11',
      apps: [{ name: 'a', image: { id }, mounts: [{ volume: 'v', path: '/v' }] }],
      volumes: [{ name: 'v', kind: 'empty', mode: '0755' }],
    },
    read: parseAciPod,
  },
  {
    name: 'an index',
    good: {
      schemaVersion: 2,
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          digest,
          size: 1,
          platform: { os: 'linux', architecture: 'amd64' },
        },
      ],
    },
    read: (text) => parseOciDocument(text, 'it'),
  },
  {
    name: 'a configuration',
    good: {
      os: 'linux',
      architecture: 'amd64',
      config: { Env: ['A=b'], Cmd: ['x'], WorkingDir: '/w', User: '1:2', Volumes: { '/v': {} }, StopSignal: 'SIGTERM' },
      rootfs: { type: 'layers', diff_ids: [digest] },
    },
    read: (text) =>
      validateSpec(
        ociToSpec(parseImageConfig(text), { root: '/r', accounts: accounts.read, architecture: 'x64' }).spec,
      ),
  },
  {
    name: 'a runtime bundle',
    good: {
      ociVersion: '1.0.2',
      root: { path: 'r' },
      process: {
        args: ['x'],
        cwd: '/',
        env: ['A=b'],
        user: { uid: 0, gid: 0 },
        rlimits: [{ type: 'RLIMIT_CORE', soft: 0, hard: 0 }],
      },
      mounts: [{ destination: '/t', type: 'tmpfs', source: 't', options: ['size=5m', 'mode=755'] }],
      linux: {
        namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }],
        resources: { pids: { limit: 5 } },
      },
    },
    read: (text) => parseBundle(text, { directory: '/b', unserved: 'note' }),
  },
  {
    name: 'a saved archive',
    good: [{ Config: 'c.json', RepoTags: ['a:1'], Layers: ['l.tar'] }],
    read: parseDockerArchive,
  },
  { name: 'a layout', good: { imageLayoutVersion: '1.0.0' }, read: checkOciLayout },
];

/** Every path of `value`, from the top. */
function pathsOf(value: unknown, path: readonly string[] = []): string[][] {
  const inner = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return [[...path], ...inner.flatMap(([key, member]) => pathsOf(member, [...path, key]))];
}

function withValue(value: unknown, [key, ...rest]: readonly string[], replacement: unknown): unknown {
  if (key === undefined) return replacement;
  if (Array.isArray(value))
    return value.map((member, index) => (String(index) === key ? withValue(member, rest, replacement) : member));
  return { ...(value as object), [key]: withValue((value as Record<string, unknown>)[key], rest, replacement) };
}

const strange = fc.oneof(
  fc.jsonValue(),
  fc.string(),
  fc.constantFrom<unknown>(
    null,
    '',
    '\0',
    '/',
    '..',
    '/..',
    '-1',
    1e300,
    -1,
    2 ** 53,
    0.5,
    [],
    {},
    [null],
    { __proto__: null },
    '\u001b[2J',
    '\ud800',
    `/${'x'.repeat(300)}`,
    'x'.repeat(200_000),
    '\u202e',
    '__proto__',
    'constructor',
  ),
);

/** What a message has where somebody forgot a case. */
const ofNobody = /undefined|\[object|NaN/;

describe.each(readers)('$name', ({ good, read }) => {
  test('is good as it stands', () => {
    expect(() => read(JSON.stringify(good))).not.toThrow();
  });

  test('with anything in the place of a part is read, or refused by one printable error', () => {
    fc.assert(
      fc.property(fc.constantFrom(...pathsOf(good)), strange, (path, replacement) => {
        const document = JSON.stringify(withValue(good, path, replacement)) ?? 'null';
        try {
          read(document);
        } catch (error) {
          expect(error).toBeInstanceOf(ImageError);
          const { message, issues } = error as ImageError;
          expect(message).toBe(printable(message));
          // A message may quote the document.
          if (!ofNobody.test(document)) expect(issues.map(({ message: text }) => text).join('')).not.toMatch(ofNobody);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('with a string in the place of a part, strange or not, as before', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...pathsOf(good)),
        fc.string({ unit: 'binary', maxLength: 20 }),
        (path, replacement) => {
          try {
            read(JSON.stringify(withValue(good, path, replacement)));
          } catch (error) {
            expect(error).toBeInstanceOf(ImageError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test('with more elements or keys than anybody writes is read or refused, in a message that is read', () => {
    const many = JSON.stringify(Array.from({ length: 10_001 }, () => 1));
    const keys = `{${Array.from({ length: 10_001 }, (_, at) => `"key${at}":1`).join(',')}}`;
    for (const part of [many, keys]) {
      for (const path of pathsOf(good)) {
        try {
          read(JSON.stringify(withValue(good, path, 'PLACE')).replace('"PLACE"', () => part));
        } catch (error) {
          expect(error).toBeInstanceOf(ImageError);
          expect((error as Error).message.length).toBeLessThan(20_000);
        }
      }
    }
  });
});

test('what is found in the largest document is bounded', () => {
  const members = Array.from({ length: 300_000 }, (_, at) => `"k${at}":1`).join(',');
  const { notes } = parseAciManifest(`{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a",${members}}`);
  expect(notes).toHaveLength(1001);
  expect(notes.at(-1)).toEqual({ path: [], message: 'and 299000 more' });
});

test.each([
  ['an image manifest', { name: '__proto__', value: 'x' }, ['app', 'environment', '0']],
  ['a configuration', '__proto__=x', ['config', 'Env', '0']],
  ['a runtime bundle', '__proto__=x', ['process', 'env', '0']],
])('%s cannot name a variable that would be lost', (name, replacement, path) => {
  const reader = readers.find((candidate) => candidate.name === name);
  const text = JSON.stringify(withValue(reader?.good, path, replacement));
  expect(() => reader?.read(text)).toThrow("'__proto__' cannot be the name of a variable here");
});

test('a message moves no cursor and turns no line around', () => {
  const text = JSON.stringify({
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name: 'a',
    '\u001b[2J': 1,
    labels: [{ name: '\u202e\u001b[31m', value: '' }],
  });
  expect(() => parseAciManifest(text)).toThrow("'\\u{202e}\\u{1b}[31m' is not an AC Identifier");
  const { notes } = parseAciManifest(
    JSON.stringify({ acKind: 'ImageManifest', acVersion: '0.8.11', name: 'a', '\u001b[2J': 1 }),
  );
  expect(notes).toEqual([{ path: ['\\u{1b}[2J'], message: 'is not known here and passed over' }]);
});
