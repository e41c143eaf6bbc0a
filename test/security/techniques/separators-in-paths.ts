// Mount strings, mount options, mountinfo and plans all have characters that part one thing from the next. A path that holds one is still one path.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { SpecError } from '../../../src/errors/errors.ts';
import { run } from '../../../src/index.ts';
import { formatMountString } from '../../../src/spec/mount-string.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { allMountPoints } from '../../helpers/mount-points.ts';
import { python, pythonOutside } from '../python.ts';
import type { Technique } from '../technique.ts';

/** Each the name of one directory. */
const NAMES = [
  ...['a:b', 'a,b', 'a\\b', 'a b', 'a\nb', 'a\tb', 'a"b', "a'b", ' ', ':', '\\', ',', '\n', '#', '%s', '*', '?', '-rf'],
  ...[
    'a\\:b',
    'a\\,b',
    'a\\040b',
    '\\134',
    'x:ro',
    'x:rw',
    'usr,upperdir=etc',
    'lowerdir=usr',
    'destination=etc',
    '...',
  ],
  ...['$(id)', '`id`', ';id', '漢:字', '\u001b[2J', `${'n'.repeat(254)}:`],
];

/** By its number, which is shorter than its name; `make` also writes there. */
const look = `
for number, path in enumerate(sys.argv[2:]):
    def read():
        with open(path + '/mark') as file:
            if file.read() != str(number): raise OSError(errno.EXDEV, 'another')
    def write():
        with open(path + '/made', 'w') as file: file.write(str(number))
    say('read:%d' % number, attempt(read))
    if sys.argv[1] == 'rw': say('write:%d' % number, attempt(write))
`;

function answers(access: 'ro' | 'rw', write: string): Record<string, string> {
  const entries = NAMES.flatMap((_, number) =>
    access === 'rw'
      ? [
          [`read:${number}`, 'ok'],
          [`write:${number}`, write],
        ]
      : [[`read:${number}`, 'ok']],
  );
  return Object.fromEntries(entries) as Record<string, string>;
}

/** A directory of each name, with its number in it. */
function makeTrees(bench: Bench, name: string): string[] {
  const base = bench.makeDirectory(name);
  return NAMES.map((odd, number) => {
    const path = join(base, odd);
    mkdirSync(path);
    writeFileSync(join(path, 'mark'), String(number));
    return path;
  });
}

const destinations = NAMES.map((odd) => `/mnt/${odd}`);

export const technique: Technique = {
  name: 'separators-in-paths',
  attacks: ['root.host', 'root.path', 'root.writablePaths', 'mount.bind', 'mount.tmpfs', 'workspace'],
  cases: {
    'a mount is of this source at this destination, whatever their names hold': async (bench) => {
      const sources = makeTrees(bench, 'odd-sources');
      expect(pythonOutside(look, ['rw', ...sources])).toEqual(answers('rw', 'ok'));
      const shapes: readonly ((source: string, destination: string, access: 'ro' | 'rw') => unknown)[] = [
        (source, destination, access) => ({ type: 'bind', source, destination, readonly: access === 'ro' }),
        (source, destination, access) => formatMountString({ source, destination, readonly: access === 'ro' }),
      ];
      for (const shape of shapes)
        for (const access of ['ro', 'rw'] as const) {
          const mounts = sources.map((source, number) => shape(source, destinations[number] ?? '', access));
          const spec = { mounts } as SandboxSpec;
          expect(await python(bench, look, spec, ['rw', ...destinations]), access).toEqual(
            answers('rw', access === 'rw' ? 'ok' : 'EROFS'),
          );
        }
    },
    'a tmpfs is at this destination': async (bench) => {
      const mounts = destinations.map((destination) => ({ type: 'tmpfs', destination, mode: 0o777 }) as const);
      const script = `
for number, path in enumerate(sys.argv[1:]):
    say('mount:%d' % number, 'ok' if os.path.ismount(path) else 'no')
    say('write:%d' % number, attempt(lambda: os.close(os.open(path + '/made', os.O_CREAT | os.O_WRONLY))))
say('others', sorted(os.listdir('/mnt')) == sorted(path[5:] for path in sys.argv[1:]))
`;
      const said = await python(bench, script, { mounts }, destinations);
      expect(Object.keys(said)).toHaveLength(2 * NAMES.length + 1);
      expect(new Set(Object.values(said))).toEqual(new Set(['ok', 'True']));
    },
    'a workspace of any name is that directory': async (bench) => {
      const workspaces = makeTrees(bench, 'odd-workspaces');
      for (const [number, workspace] of workspaces.entries()) {
        const { stdout } = await run(['sh', '-c', 'cat mark && printf x > made'], { workspace }, bench.options({}));
        expect(stdout, workspace).toBe(String(number));
        expect(readdirSync(workspace).sort()).toEqual(['made', 'mark']);
      }
    },
    'a root of any name is that directory, and of its paths the one that was named is writable': async (bench) => {
      for (const odd of ['a:b', 'a,b', 'a\\b', 'a b', 'a\nb', 'usr,upperdir=etc', 'x:rw']) {
        const root = join(bench.makeDirectory('odd-roots'), odd);
        for (const path of [...allMountPoints, `data/${odd}`, 'data/a'])
          mkdirSync(join(root, path), { recursive: true });
        copyFileSync(bench.guestOutside, join(root, 'guest'));
        const spec: SandboxSpec = { root: { path: root, writablePaths: [`/data/${odd}`] }, cwd: '/' };
        const write = async (path: string) =>
          (await run(['/guest', 'write', path, 'x'], spec, bench.options({ stripFinalNewline: true }))).stdout;
        expect(await write(`/data/${odd}/made`), odd).toBe('written');
        expect(await write('/data/a/made'), odd).toBe('errno EROFS');
        expect(await write('/data/made'), odd).toBe('errno EROFS');
        expect(existsSync(join(root, 'data', odd, 'made'))).toBe(true);
      }
    },
    'a colon that nobody escaped mounts nothing in another place': async (bench) => {
      const base = bench.makeDirectory('unescaped');
      for (const name of ['src:/etc:rw', 'src:/usr/bin', 'a:b']) {
        mkdirSync(join(base, name), { recursive: true });
        writeFileSync(join(base, name, 'passwd'), 'of the attacker');
      }
      const hosts = readFileSync('/etc/passwd', 'utf8');
      for (const name of ['src:/etc:rw', 'src:/usr/bin', 'a:b']) {
        const asked = run(['cat', '/etc/passwd'], { mounts: [`${join(base, name)}:/mnt/x:ro`] }, bench.options({}));
        await expect(asked, name).rejects.toBeInstanceOf(SpecError);
      }
      expect(readFileSync('/etc/passwd', 'utf8')).toBe(hosts);
    },
    'dots and slashes too many make no other destination': async (bench) => {
      const source = bench.makeDirectory('dotted');
      writeFileSync(join(source, 'mark'), 'shown');
      const same = [
        '/mnt/x',
        '/mnt//x',
        '//mnt/x',
        '/mnt/./x',
        '/./mnt/x',
        '/mnt/x/',
        '/mnt/x/.',
        '/mnt/x//',
        '///mnt/././x/./',
      ];
      for (const destination of same)
        expect(
          await bench.answer(['read', '/mnt/x/mark'], { mounts: [`${source}:${destination}:ro`] }),
          destination,
        ).toBe('shown');
      const others = [
        '/mnt/../etc',
        '/..',
        '/../x',
        '/mnt/..',
        '/mnt/x/..',
        '/mnt/x/../../../etc/x',
        '..',
        '.',
        '',
        'mnt/x',
        '/',
        '/.',
        '//',
      ];
      for (const destination of others) {
        const mounts = [{ type: 'bind', source, destination } as const];
        await expect(run(['true'], { mounts }, bench.options({})), destination).rejects.toMatchObject({
          code: 'SBX_SPEC_INVALID',
          issues: [{ path: ['mounts', 0, 'destination'] }],
        });
      }
    },
  },
};
