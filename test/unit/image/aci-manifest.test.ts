import { describe, expect, test } from 'vitest';
import { formatPath, ImageError } from '../../../src/errors/errors.ts';
import { type AciManifest, parseAciManifest } from '../../../src/image/aci/manifest.ts';

const id = `sha512-${'ab'.repeat(64)}`;
const app = { exec: ['/bin/true'], user: '0', group: '0' };
const minimal = { acKind: 'ImageManifest', acVersion: '0.8.11', name: 'example.com/app' };

/** The example of the specification, without its ellipses. */
const whole = {
  ...minimal,
  labels: [
    { name: 'version', value: '1.0.0' },
    { name: 'arch', value: 'amd64' },
    { name: 'os', value: 'linux' },
  ],
  app: {
    exec: ['/usr/bin/reduce-worker', '--quiet', '$HOME', '*'],
    user: '100',
    group: '300',
    supplementaryGIDs: [400, 500],
    eventHandlers: [
      { exec: ['/usr/bin/data-downloader'], name: 'pre-start' },
      { exec: ['/usr/bin/deregister-worker', '--verbose'], name: 'post-stop' },
    ],
    workingDirectory: '/opt/work',
    environment: [{ name: 'REDUCE_WORKER_DEBUG', value: 'true' }],
    isolators: [
      { name: 'resource/cpu', value: { request: '250m', limit: '500m' } },
      { name: 'resource/memory', value: { limit: '2G' } },
      { name: 'os/linux/capabilities-retain-set', value: { set: ['CAP_NET_BIND_SERVICE'] } },
      { name: 'example.com/other', value: { anything: [1] } },
    ],
    mountPoints: [{ name: 'work', path: '/var/lib/work' }],
    ports: [{ name: 'ftp-data', port: 20_000, count: 1000, protocol: 'tcp' }],
  },
  dependencies: [{ imageName: 'example.com/base', imageID: id, labels: [{ name: 'env', value: 'canary' }], size: 22 }],
  pathWhitelist: ['/etc/systemd/system/', '//usr/./bin/map'],
  annotations: [
    { name: 'created', value: '2014-10-27T19:32:27.67021798Z' },
    { name: 'homepage', value: 'https://example.com' },
  ],
  userAnnotations: { 'Any Key': 'value' },
};

const parse = (manifest: unknown): AciManifest => parseAciManifest(JSON.stringify(manifest));

function issuesOf(manifest: unknown): Record<string, string> {
  try {
    parse(manifest);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    expect(error.code).toBe('SBX_IMAGE_INVALID');
    return Object.fromEntries(error.issues.map(({ path, message }) => [formatPath(path), message]));
  }
  return {};
}

const withApp = (members: object): unknown => ({ ...minimal, app: { ...app, ...members } });
const withIsolators = (...isolators: unknown[]): unknown => withApp({ isolators });
const isolator = (name: string, value: unknown): unknown => withIsolators({ name, value });

describe('an image manifest', () => {
  test('is read with every default filled in', () => {
    const manifest = parse(whole);
    expect(manifest.labels.get('os')).toBe('linux');
    expect(manifest.app).toMatchObject({
      exec: ['/usr/bin/reduce-worker', '--quiet', '$HOME', '*'],
      eventHandlers: { preStart: ['/usr/bin/data-downloader'], postStop: ['/usr/bin/deregister-worker', '--verbose'] },
      supplementaryGIDs: [400, 500],
      mountPoints: [{ name: 'work', path: '/var/lib/work', readOnly: false }],
      ports: [{ port: 20_000, count: 1000, socketActivated: false }],
    });
    expect(manifest.app?.isolators.map(({ name }) => name)).toHaveLength(4);
    // A83: what is asked for is the limit where nothing else is said.
    expect(manifest.app?.isolators[1]?.value).toEqual({
      request: { nanos: 2_000_000_000n * 10n ** 9n },
      limit: { nanos: 2_000_000_000n * 10n ** 9n },
    });
    expect(manifest.dependencies[0]).toMatchObject({ imageName: 'example.com/base', imageID: id, size: 22 });
    // A105: cleaned.
    expect(manifest.pathWhitelist).toEqual(['/etc/systemd/system', '/usr/bin/map']);
    expect(manifest.notes).toEqual([]);
  });

  test('may have no app (A32), and an app without exec (A40)', () => {
    expect(parse(minimal).app).toBeUndefined();
    expect(parse({ ...minimal, app: null }).app).toBeUndefined();
    expect(parse({ ...minimal, app: { user: '0', group: '0' } }).app?.exec).toEqual([]);
    expect(parse(withApp({ exec: [] })).app?.workingDirectory).toBe('/');
    expect(parse(withApp({ workingDirectory: '' })).app?.workingDirectory).toBe('/');
  });

  test('is refused with all issues at once, each at its path', () => {
    expect(
      issuesOf({
        acKind: 'PodManifest',
        acVersion: '2.0.0',
        labels: [
          { name: 'name', value: 'x' },
          { name: 'version', value: 1 },
          { name: 'version', value: '2' },
        ],
        app: { exec: 'true', group: '', workingDirectory: 'opt' },
        dependencies: [{ imageID: 'sha512-00', size: -1 }],
        pathWhitelist: ['etc'],
        annotations: [{ name: 'created', value: 'yesterday' }],
      }),
    ).toEqual({
      acKind: "must be 'ImageManifest', not 'PodManifest', which is another document",
      acVersion: 'version 2.0.0 is newer than 0.8.11, which is what is read here',
      name: 'is required',
      'labels[0].name': "'name' is no label: an image has its name already",
      'labels[1].value': 'must be a string, not 1',
      'labels[2].name': "'version' is there already, at [1]",
      'app.exec': 'must be a list, not a string',
      'app.user': 'is required',
      'app.group': 'must not be empty',
      'app.workingDirectory': "must be an absolute path, not 'opt'",
      'dependencies[0].imageName': 'is required',
      'dependencies[0].imageID': "a digest of sha512 has 128 hexadecimal digits in lower case, not '00'",
      'dependencies[0].size': 'must be a whole number from 1 to 9007199254740991, not -1',
      'pathWhitelist[0]': "must be an absolute path, not 'etc'",
      'annotations[0].value': expect.stringContaining('RFC 3339'),
    });
  });

  test('that is not JSON is refused with line and column (A20)', () => {
    expect(() => parseAciManifest('{\n "acKind": "ImageManifest",\n}')).toThrow(/line 3, column 1/);
  });

  test.each([null, [], 'text', 5])('%j is none (A21)', (document) => {
    expect(issuesOf(document)).not.toEqual({});
  });

  test.each([
    [undefined, 'is required'],
    ['imageManifest', "must be 'ImageManifest', not 'imageManifest'"],
    [5, 'must be a string, not 5'],
  ])('of the kind %j is refused (A21)', (acKind, message) => {
    expect(issuesOf({ ...minimal, acKind })).toEqual({ acKind: message });
  });

  test('keys that are not known are passed over and noted, with the one that was meant', () => {
    expect(parse({ ...minimal, pathWhiteList: [], extra: 1 }).notes).toEqual([
      { path: ['pathWhiteList'], message: "is not known here and passed over; did you mean 'pathWhitelist'?" },
      { path: ['extra'], message: 'is not known here and passed over' },
    ]);
  });

  test.each([
    [{ os: 'linux', arch: 'armv7b' }, undefined],
    [{ os: 'linux', arch: 's390x' }, undefined],
    [{ os: 'freebsd', arch: 'arm' }, undefined],
    [{ os: 'darwin', arch: 'x86_64' }, undefined],
    [{ os: 'linux' }, undefined],
    [{ os: 'linux', arch: 'x86_64' }, "arch 'x86_64' is not known for linux: amd64, i386,"],
    [{ os: 'linux', arch: 'amd46' }, "did you mean 'amd64'?"],
    [{ os: 'plan9' }, "os 'plan9' is not known: linux, freebsd or darwin is"],
    [{ os: 'constructor' }, 'is not known'],
    [{ arch: 'amd64' }, "means nothing without 'os'"],
  ])('labels %j: %s (A26, A27)', (labels, message) => {
    const list = Object.entries(labels).map(([name, value]) => ({ name, value }));
    expect(issuesOf({ ...minimal, labels: list })['labels']).toEqual(
      message === undefined ? undefined : expect.stringContaining(message),
    );
  });

  test('users and groups are not empty, and a path is absolute (A44, A45)', () => {
    expect(issuesOf(withApp({ user: '', group: '/a/../b' }))).toEqual({
      'app.user': 'must not be empty',
      'app.group': "must not have '..' in it: '/a/../b'",
    });
  });

  test('groups are ids (A47)', () => {
    expect(issuesOf(withApp({ supplementaryGIDs: [-1, 1.5, '5', 4_294_967_295, 0] }))).toEqual({
      'app.supplementaryGIDs[0]': 'must be a whole number from 0 to 4294967294, not -1',
      'app.supplementaryGIDs[1]': 'must be a whole number from 0 to 4294967294, not 1.5',
      'app.supplementaryGIDs[2]': 'must be a whole number, not a string',
      'app.supplementaryGIDs[3]': 'must be a whole number from 0 to 4294967294, not 4294967295',
    });
  });

  test('variables have names of their own (A49)', () => {
    const environment = [
      { name: 'A', value: '$B' },
      { name: 'A', value: '' },
      { name: '1', value: 'x' },
      { name: 'B', value: 'a\0' },
    ];
    expect(issuesOf(withApp({ environment }))).toEqual({
      'app.environment[1].name': "'A' is there already, at [0]",
      'app.environment[2].name': expect.stringContaining('is no name of a variable'),
      'app.environment[3].value': 'must not contain a NUL character',
    });
  });

  test('handlers are pre-start and post-stop, once each (A54)', () => {
    const eventHandlers = [
      { name: 'pre-start', exec: ['/a'] },
      { name: 'pre-start', exec: ['/b'] },
      { name: 'pre-stop', exec: ['/c'] },
      { name: 'post-stop', exec: [] },
      { name: '', exec: ['/d'] },
    ];
    expect(issuesOf(withApp({ eventHandlers }))).toEqual({
      'app.eventHandlers[1].name': "'pre-start' is there already, at [0]",
      'app.eventHandlers[2].name': "must be 'pre-start' or 'post-stop', not 'pre-stop'",
      'app.eventHandlers[3].exec': 'must name a program',
      'app.eventHandlers[4].name': "must be 'pre-start' or 'post-stop', not ''",
    });
  });

  test('mount points have a name and a path, in JSON as everywhere (A58)', () => {
    const mountPoints = [
      { name: 'a', path: '' },
      { name: 'b' },
      { name: 'B', path: '/b' },
      { name: 'a', path: '/c', readOnly: 'yes' },
    ];
    expect(issuesOf(withApp({ mountPoints }))).toEqual({
      'app.mountPoints[0].path': 'must not be empty',
      'app.mountPoints[1].path': 'is required',
      'app.mountPoints[2].name': expect.stringContaining('is not an AC Name'),
      'app.mountPoints[3].readOnly': 'must be true or false, not a string',
      'app.mountPoints[3].name': "'a' is there already, at [0]",
    });
  });

  test('ports end at 65535', () => {
    const ports = [
      { name: 'a', protocol: 'tcp', port: 0 },
      { name: 'b', protocol: 'tcp', port: 65_000, count: 1000 },
    ];
    expect(issuesOf(withApp({ ports }))).toEqual({
      'app.ports[0].port': 'must be a whole number from 1 to 65535, not 0',
      'app.ports[1].count': 'ends at port 65999, and the last is 65535',
    });
  });

  test('exec names a program or is empty', () => {
    expect(issuesOf(withApp({ exec: [''] }))).toEqual({ 'app.exec[0]': 'must name a program: it is empty' });
    expect(issuesOf(withApp({ exec: ['a', 5, 'b\0'] }))).toEqual({
      'app.exec[1]': 'must be a string, not 5',
      'app.exec[2]': 'must not contain a NUL character',
    });
  });
});

describe('isolators', () => {
  const at = 'app.isolators[0].value';
  test.each([
    ['os/linux/seccomp-remove-set', { set: [] }, 'set', 'must name a system call'],
    ['os/linux/seccomp-remove-set', { set: ['reboot'], errno: 'eperm' }, 'errno', 'is no name of an error'],
    ['os/linux/seccomp-remove-set', { set: ['reboot'], errno: 'ENOSUCHTHING' }, 'errno', 'is no name of an error'],
    ['os/linux/seccomp-remove-set', { set: ['@appc.io/all'] }, 'set[0]', "'@appc.io/empty' is"],
    ['os/linux/seccomp-retain-set', { set: ['@appc.io/empty'] }, 'set[0]', "'@appc.io/all' is"],
    ['os/linux/seccomp-retain-set', { set: ['@docker/default-whitelist'] }, 'set[0]', 'is no special value'],
    ['os/linux/capabilities-remove-set', { set: [] }, 'set', 'must name a capability'],
    ['os/linux/capabilities-retain-set', { set: ['NET_ADMIN'] }, 'set[0]', 'is no capability'],
    ['os/linux/no-new-privileges', 'true', '', 'must be true or false'],
    ['os/linux/no-new-privileges', undefined, '', 'is required'],
    ['os/linux/selinux-context', { user: 'a:b', role: '', type: 't', level: 's0' }, 'user', "must not have ':'"],
    ['os/linux/selinux-context', { user: 'a', role: '', type: 't', level: 's0' }, 'role', 'must not be empty'],
    ['os/linux/apparmor-profile', { name: '' }, 'name', 'must not be empty'],
    ['os/linux/oom-score-adj', 1001, '', 'from -1000 to 1000'],
    ['os/linux/cpu-shares', 1, '', 'from 2 to 262144'],
    ['resource/cpu', { limit: '500x' }, 'limit', 'no suffix that is known'],
    ['resource/memory', { default: true, limit: '1G' }, 'default', 'must not be true'],
    ['resource/block-bandwidth', { limit: '1G' }, 'default', 'must be true'],
    ['resource/block-iops', { default: true, limit: '1', request: '1' }, 'request', 'cannot be asked for'],
    ['resource/network-bandwidth', { default: true }, 'limit', 'is required'],
    ['os/unix/sysctl', { 'net.ipv4.ip_forward': 1 }, 'net.ipv4.ip_forward', 'must be a string, not 1'],
  ])('%s %j is refused at %s: %s (A72 to A86)', (name, value, where, message) => {
    const path = where === '' ? at : `${at}.${where}`;
    expect(issuesOf(isolator(name, value))).toMatchObject({ [path]: expect.stringContaining(message) });
  });

  test.each([
    ['os/linux/seccomp-remove-set', { set: ['@appc.io/empty', 'reboot'], errno: '' }],
    ['os/linux/seccomp-retain-set', { set: ['@appc.io/all'], errno: 'ENOTSUP' }],
    ['os/linux/no-new-privileges', false],
    ['os/linux/oom-score-adj', -1000],
    ['os/linux/cpu-shares', 262_144],
    ['resource/cpu', { limit: 2 }],
    ['resource/block-bandwidth', { default: true, limit: '2M' }],
    ['os/unix/sysctl', { 'net.ipv4.tcp_mtu_probing': '1' }],
    ['os/linux/selinux-context', { user: 'system_u', role: 'system_r', type: 'dhcpc_t', level: 's0:c1,c2' }],
  ])('%s %j is read', (name, value) => expect(issuesOf(isolator(name, value))).toEqual({}));

  test('sets that keep and sets that remove exclude each other, and each stands once (A73, A78)', () => {
    const set = { set: ['CAP_CHOWN'] };
    expect(
      issuesOf(
        withIsolators(
          { name: 'os/linux/seccomp-retain-set', value: { set: ['read'] } },
          { name: 'os/linux/seccomp-remove-set', value: { set: ['read'] } },
          { name: 'os/linux/capabilities-retain-set', value: set },
          { name: 'os/linux/capabilities-remove-set', value: set },
          { name: 'os/linux/capabilities-remove-set', value: set },
        ),
      ),
    ).toEqual({
      'app.isolators[1]': 'os/linux/seccomp-remove-set may not stand together with os/linux/seccomp-retain-set',
      'app.isolators[3]':
        'os/linux/capabilities-remove-set may not stand together with os/linux/capabilities-retain-set',
      'app.isolators[4]': expect.stringContaining('may'),
    });
  });

  test('one that nobody knows is kept by its name, where the reference code refuses the app (A71)', () => {
    const manifest = parse(withIsolators({ name: 'os/linux/no-such-thing', value: {} }));
    expect(manifest.app?.isolators).toEqual([{ name: 'os/linux/no-such-thing', value: 'unknown' }]);
    expect(issuesOf(withIsolators({ name: 'Not A Name', value: {} }))).toHaveProperty(['app.isolators[0].name']);
  });
});
