// What `explain` says a sandbox is, held against the sandbox; and the command line of bubblewrap that it gives, run for real beside ours: the command
// must see the same, but for what is listed as lacking.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { explain, run, type SandboxSpec, toolNames } from '../../src/index.ts';
import { requires } from '../helpers/requires.ts';

/** What a command can tell of its sandbox, one thing on each line, each with the place it stands for first. */
const look = `
umask 022
echo "ids $(id -u) $(id -g)"
echo "hostname $(uname -n)"
echo "cwd $(pwd)"
echo "capabilities $(grep '^Cap' /proc/self/status | tr -d '\\n')"
echo "no_new_privs $(grep '^NoNewPrivs' /proc/self/status)"
echo "interfaces $(grep : /proc/net/dev | cut -d: -f1 | sort | tr -d '\\n')"
echo "processes $([ $(ls -d /proc/[0-9]* | wc -l) -lt 12 ] && echo few)"
env | sort | while read -r line; do echo "env $line"; done
for directory in / /etc /etc/ssl /dev /dev/shm /dev/mqueue /tmp "$HOME" /home /root /mnt /opt /var /run /work $LOOK_AT; do
  [ -d "$directory" ] || { echo "list $directory: no directory"; continue; }
  for file in "$directory"/* "$directory"/.[!.]*; do
    [ -e "$file" ] || [ -L "$file" ] || continue
    echo "list $file $(stat -c '%A %F' "$file") $(readlink "$file")"
  done
  if touch "$directory/written" 2>/dev/null; then echo "write $directory: yes"; rm "$directory/written"; else echo "write $directory: no"; fi
done
for path in /tmp /dev/shm "$HOME"; do echo "size $path $(df -Pk "$path" | tail -1 | { read -r _ size _; echo "$size"; })"; done
cat $LOOK_INTO 2>/dev/null | while read -r line; do echo "content $line"; done
true
`;

export function explainCases(): void {
  requires('linux', 'userns', 'command:bwrap', 'file:/bin/busybox');
  let directory = '';
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'explain-'));
    chmodSync(directory, 0o755);
    mkdirSync(join(directory, 'src'));
    writeFileSync(join(directory, 'src', 'file'), 'of the host\n');
    makeBusyboxRoot(join(directory, 'root'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  beforeEach(() => {
    process.env['LOOK_INTO'] = '';
    process.env['LOOK_AT'] = '';
  });
  afterAll(() => {
    delete process.env['LOOK_INTO'];
    delete process.env['LOOK_AT'];
  });

  const specs: Readonly<Record<string, () => SandboxSpec>> = {
    'the default': () => ({}),
    'a workspace': () => ({ workspace: join(directory, 'src') }),
    'a read-only workspace': () => ({ workspace: { path: join(directory, 'src'), access: 'ro' } }),
    'a directory as root': () => ({ root: join(directory, 'root') }),
    'a writable directory as root': () => ({ root: { path: join(directory, 'root'), readonly: false } }),
    'a root with writable paths': () => ({ root: { path: join(directory, 'root'), writablePaths: ['/srv'] } }),
    'mounts of every kind': () => ({
      mounts: [
        `${join(directory, 'src')}:/mnt/ro`,
        `${join(directory, 'src')}:/mnt/rw:rw`,
        `${join(directory, 'src', 'file')}:/mnt/file`,
        { type: 'tmpfs', destination: '/scratch', sizeBytes: '1MiB', mode: 0o750 },
        { type: 'tmpfs', destination: '/frozen', readonly: true },
        { type: 'proc', destination: '/mnt/proc' },
        { type: 'dev', destination: '/mnt/dev' },
      ],
    }),
    'an environment': () => ({ env: { inherit: ['LOOK_AT', 'LOOK_INTO'], set: { ADDED: 'a  "b" $c', EMPTY: '' } } }),
    "the host's network": () => ({ network: 'host' }),
    'a name, a place and a user': () => ({ hostname: 'box.example', cwd: '/usr', user: { uid: 0, gid: 0 } }),
    'a capability': () => ({ capabilities: ['CAP_CHOWN'] }),
  };

  describe.each(Object.keys(specs))('%s', (name) => {
    const specOf = (): SandboxSpec => {
      const given = specs[name]?.() ?? {};
      const lookAt = ['/mnt/ro', '/mnt/rw', '/scratch', '/frozen', '/mnt/dev', '/srv', join(directory, 'src')];
      process.env['LOOK_AT'] = lookAt.join(' ');
      process.env['LOOK_INTO'] = ['/mnt/file', '/mnt/ro/file', join(directory, 'src', 'file')].join(' ');
      return given.env === undefined ? { ...given, env: { inherit: ['LOOK_AT', 'LOOK_INTO'] } } : given;
    };
    const command = ['/bin/sh', '-c', look];

    test('a command sees under the equivalent bwrap command line what it sees under ours', async () => {
      const spec = specOf();
      const { equivalent, backend } = await explain(spec, { as: 'bwrap' });
      expect(backend).toBe('native');
      const { argv = [], lacks = [] } = equivalent ?? {};
      const [file = '', ...args] = argv;
      const theirs = spawnSync(file, [...args, ...command], { encoding: 'utf8', cwd: '/' });
      expect({ status: theirs.status, stderr: theirs.stderr }).toEqual({ status: 0, stderr: '' });
      const ours = await run(command, spec);
      expect({ outcome: ours.outcome, stderr: ours.stderr }).toEqual({
        outcome: { kind: 'exited', code: 0 },
        stderr: '',
      });
      expect(comparable(theirs.stdout, lacks)).toEqual(comparable(String(ours.stdout), lacks));
    });

    test('what is said to be enforced is what a run says it enforced', async () => {
      const spec = specOf();
      const { enforcement, plan } = await explain(spec);
      const { enforcement: done } = await run(['/bin/true'], spec);
      expect(enforcement).toEqual(done);
      expect(plan.applied).toEqual(enforcement.applied);
    });

    test('an explanation is plain data', async () => {
      for (const as of toolNames) {
        const explanation = await explain(specOf(), { as });
        expect(JSON.parse(JSON.stringify(explanation))).toEqual(explanation);
      }
    });
  });

  test('a root that lacks mount points has no equivalent, and the reason names them', async () => {
    const bare = join(directory, 'bare');
    mkdirSync(bare);
    for (const as of toolNames) {
      const { equivalent } = await explain({ root: bare }, { as });
      expect(equivalent?.argv, as).toBeUndefined();
      const because = as === 'firejail' ? /lets nobody choose one/ : /lacks mount points \(\/proc, \/dev, \/tmp, /;
      expect(equivalent?.lacks.join(), as).toMatch(because);
    }
  });

  test('nothing is started by an explanation', async () => {
    const marker = join(directory, 'started');
    const launcher = join(directory, 'launcher');
    writeFileSync(launcher, `#!/bin/sh\ntouch ${marker}\n`);
    chmodSync(launcher, 0o755);
    process.env['SANDBOXLIB_LAUNCHER'] = launcher;
    try {
      await explain({ mounts: [`${join(directory, 'src')}:/mnt:rw`] });
      expect(existsSync(marker)).toBe(false);
      await expect(run(['true'])).rejects.toThrow();
      expect(existsSync(marker)).toBe(true);
    } finally {
      delete process.env['SANDBOXLIB_LAUNCHER'];
    }
  });

  test('the sentences say what was asked for, and the notes what follows from it', async () => {
    const missing = join(directory, 'missing');
    const { sentences, plan } = await explain({
      workspace: join(directory, 'src'),
      mounts: [{ type: 'bind', source: missing, destination: '/mnt', optional: true }],
      network: 'host',
      limits: { wallMs: '30s' },
    });
    expect(sentences).toEqual(
      expect.arrayContaining([
        "the root is this host's system directories, read-only",
        `the workspace ${join(directory, 'src')} is this host's own, writable`,
        "the network is this host's, all of it",
        `runs as uid ${process.getuid?.()}, gid ${process.getgid?.()}, without capabilities`,
        'ends after 30 s',
        `mounts[0] is skipped: ${missing} does not exist`,
      ]),
    );
    expect(plan.notes).toEqual([
      `mounts[0] is skipped: ${missing} does not exist`,
      process.getuid?.() === 0
        ? "the command is uid 0 of this host, without any capability: it owns root's files, where the sandbox shows them"
        : "the command keeps the caller's supplementary groups, which an ordinary user cannot give up in a user namespace",
      "the host's network brings its abstract unix sockets along (unix(7)), whoever listens there",
    ]);
  });

  test('a spec that cannot be served is refused as a run would be', async () => {
    await expect(explain({ selinux: 'x' })).rejects.toMatchObject({ code: 'SBX_FEATURE_UNAVAILABLE' });
    await expect(explain({ hostname: '' })).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
    await expect(explain({}, { stdin: 'pipe' } as never)).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
    await expect(explain({}, { as: 'other' as never })).rejects.toThrow(/known are bwrap, oci, /);
    await expect(explain({}, { backend: 'other' as never })).rejects.toMatchObject({ code: 'SBX_SPEC_INVALID' });
  });
}

/** Without the differences that `lacks` names. */
function comparable(output: string, lacks: readonly string[]): string[] {
  const named = lacks.join('\n');
  const excused: readonly [RegExp, RegExp][] = [
    [/\/etc\/hostname/, /^list \/etc\/hostname /],
    [/\/etc\/hosts/, /^list \/etc\/hosts /],
    [/without PWD/, /^env PWD=/],
    // Of no consequence: a link into /proc that leads nowhere useful.
    [/masked.* in \/proc/, /^list (\/mnt)?\/dev\/core /],
  ];
  return output
    .split('\n')
    .filter((line) => !excused.some(([lack, difference]) => lack.test(named) && difference.test(line)));
}

function makeBusyboxRoot(root: string): void {
  for (const name of ['bin', 'proc', 'dev', 'tmp', 'root', 'home', 'srv', 'usr', 'etc']) {
    mkdirSync(join(root, name), { recursive: true });
  }
  const { username } = userOf();
  mkdirSync(join(root, 'home', username));
  copyFileSync('/bin/busybox', join(root, 'bin', 'busybox'));
  const applets = ['sh', 'id', 'uname', 'grep', 'tr', 'cut', 'sort', 'ls', 'wc', 'env', 'stat', 'readlink', 'touch'];
  for (const applet of [...applets, 'rm', 'df', 'tail', 'cat', 'true'])
    symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(join(root, 'etc', 'of-the-root'), '');
}

/** Who has no account is called `user` inside. */
function userOf(): { readonly username: string } {
  const { status, stdout } = spawnSync('id', ['-un'], { encoding: 'utf8' });
  return { username: status === 0 ? stdout.trim() : 'user' };
}
