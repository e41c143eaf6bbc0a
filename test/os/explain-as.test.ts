// What `explain --as` prints, pasted into a shell: a command must see there what it sees in a sandbox of ours, but for what was said to be left out.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ToolName } from '../../src/index.ts';
import { buildCli, runCli } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'root', 'userns', 'file:/bin/busybox');

/** One thing on each line, each with what it is first. */
const look = `
echo "ids $(id -u) $(id -g) $(id -G)"
echo "hostname $(uname -n)"
echo "cwd $(pwd)"
echo "umask $(umask)"
grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status
echo "interfaces $(grep : /proc/net/dev | cut -d: -f1 | sort | tr -d '\\n')"
echo "processes $([ $(ls -d /proc/[0-9]* | wc -l) -lt 12 ] && echo few)"
echo "limits $(ulimit -c) $(ulimit -t) $(ulimit -f)"
echo "keys $(head -c 1 /proc/keys 2>/dev/null | wc -c)"
(: > /proc/sys/kernel/core_pattern) 2>/dev/null && echo 'proc is writable'
env | sort | while read -r line; do echo "env $line"; done
ls /etc | while read -r name; do echo "list /etc/$name"; done
for place in / /etc/ssl /mnt /mnt/ro /mnt/rw /scratch /frozen /home /srv /tmp "$HOME"; do
  [ -d "$place" ] || { echo "list $place: no directory"; continue; }
  for file in "$place"/*; do [ -e "$file" ] && echo "list $file $(stat -c '%A %F' "$file") $(readlink "$file")"; done
done
for place in / /etc /usr /dev /dev/shm /mnt/ro /mnt/rw /scratch /frozen /home /srv /tmp "$HOME"; do
  (: > "$place/written") 2>/dev/null && { echo "write $place"; rm "$place/written"; }
done
for place in /tmp "$HOME" /dev/shm /scratch; do
  [ -d "$place" ] && echo "size $place $(df -Pk "$place" 2>/dev/null | tail -1 | { read -r _ size _; echo "$size"; })"
done
for file in /etc/hosts /etc/hostname /mnt/ro/file /mnt/file; do [ -r $file ] && echo "content $file" $(cat $file); done
echo > /dev/null && echo 'a device takes what is written'
`;

let directory = '';
beforeAll(async () => {
  await buildCli();
  directory = mkdtempSync(join(tmpdir(), 'explain-as-'));
  mkdirSync(join(directory, 'src'));
  writeFileSync(join(directory, 'src', 'file'), 'of the host\n');
  makeRoot(join(directory, 'root'));
  const syscalls = [{ names: ['kexec_load'], action: 'SCMP_ACT_ERRNO' }];
  writeFileSync(join(directory, 'profile.json'), JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const source = (): string => join(directory, 'src');
const root = (): string => join(directory, 'root');
const specs: Readonly<Record<string, () => string[]>> = {
  'the default': () => [],
  'mounts of every kind': () => [
    ...['--bind', `${source()}:/mnt/ro`, '--bind', `${source()}:/mnt/rw:rw`, '--bind', `${source()}/file:/mnt/file`],
    ...['--tmpfs', '/scratch:1MiB', '--mount', 'type=tmpfs,destination=/frozen,readonly,mode=0750'],
  ],
  'a directory as root': () => ['--root', root()],
  'a root that is writable': () => ['--root', root(), '--no-readonly'],
  'a root with a writable path': () => ['--root', root(), '--writable', '/srv'],
  'an environment, a name and a place': () => [
    '--env',
    'ADDED=a  "b" $c\'',
    '--hostname',
    'box.example',
    '--cwd',
    '/usr',
  ],
  "the host's network": () => ['--network', 'host'],
  'a capability': () => ['--cap-keep', 'CAP_CHOWN'],
  'limits and no filter': () => ['--cpu', '7s', '--core', '1MiB', '--file-size', '2MiB', '--seccomp', 'unconfined'],
  'a profile': () => ['--seccomp', join(directory, 'profile.json')],
  'another umask': () => ['--umask', '027'],
};

interface Tool {
  readonly needs: string;
  /** What must be done first on the machine of the tests, in a mount namespace of its own. */
  readonly room: readonly string[];
  readonly without?: readonly string[];
}

const privateRun = 'mount -t tmpfs tmpfs /run';
/** crun refuses a machine that has both versions of control groups. */
const oneVersion = '! [ -d /sys/fs/cgroup/unified ] || mount -t tmpfs tmpfs /sys/fs/cgroup/unified';
const tools: Readonly<Partial<Record<ToolName, Tool>>> = {
  oci: { needs: 'crun', room: [privateRun, oneVersion] },
  runc: { needs: 'runc', room: [privateRun] },
  nspawn: { needs: 'systemd-nspawn', room: [privateRun] },
  podman: { needs: 'podman', room: [privateRun] },
  // It is looked for on the PATH of the command.
  'linux-user-chroot': {
    needs: 'linux-user-chroot',
    room: ['mount --bind "$(dirname "$(command -v linux-user-chroot)")" /usr/local/bin'],
  },
  // Of a directory as root it says that there is no such thing.
  firejail: {
    needs: 'firejail',
    room: [],
    without: ['a directory as root', 'a root that is writable', 'a root with a writable path'],
  },
};

/** What a lack excuses: lines of either side. */
const excused: readonly (readonly [lack: RegExp, line: RegExp])[] = [
  [/^an environment without/, /^env (container|HOSTNAME|TERM|NOTIFY_SOCKET|container_\w+|SHELL|SHLVL|FIREJAIL\w*)=/],
  [/^an environment without what it adds/, /^env (KDE_FORK_SLAVES|PROMPT_COMMAND|QML_DISABLE\w*|QT_X11\w*|_)=/],
  [/^\/run, \/sys and \/var that are not there/, /^list \/\/(run|sys|var) /],
  [/^a \/dev that is read-only/, /^write \/dev$/],
  [/^a \/dev that is read-only, and a bound on \/dev\/shm/, /^size \/dev\/shm /],
  [/^the seccomp filter: /, /^Seccomp:/],
  [/^a command without a seccomp filter/, /^Seccomp:/],
  [/^what is masked and read-only in \/proc/, /^(keys |proc is writable)/],
  [/^\/srv writable in a read-only root/, /^write \/srv$/],
  [/^umask /, /^umask /],
  [/^limits: /, /^limits /],
  [/^a root that has only what it is to have/, /^(list|content) /],
  [/^a \/dev and a \/home that are read-only/, /^write \/(dev|home)$/],
  [/^bounds on what \/tmp and the home directory hold/, /^size /],
  [/^the mode of a tmpfs: /, /^list \/\/?(root|tmp|home) /],
  [/^mount /, /^(write|size|content) \/(mnt|scratch)/],
  [/^an \/etc that is not written to/, /^(list|content) \/etc\/(hosts|hostname|resolv\.conf|mtab)\b/],
  [/^the host name /, /^hostname /],
  [/^a command without capabilities: root keeps/, /^Cap/],
  [/^\/dev with a few harmless devices/, /^(write|size) \/dev/],
  [/^a tmpfs at \/(tmp|root)/, /^(write|size) \/(tmp|root)\b|^list \/\/(tmp|root) /],
  [/^a tmpfs at \/(scratch|frozen)/, /^(write|size|list) \/?\/(scratch|frozen)/],
  [/^capabilities beyond an execve/, /^Cap(Inh|Amb):/],
];

describe.each(Object.entries(tools))('as %s', (name, tool) => {
  requires(`command:${tool.needs}`);
  test.each(Object.keys(specs))('%s', (spec) => {
    const options = specs[spec]?.() ?? [];
    const command = ['sh', '-c', look];
    const place = mkdtempSync(join(directory, `${name}-`));
    const { status, stdout, stderr } = runCli(['explain', '--as', name, ...options, '--', ...command], { cwd: place });
    expect(status, stderr).toBe(tool.without?.includes(spec) ? 1 : 0);
    if (status !== 0) return;
    const theirs = paste(name, tool, place, stdout, stderr);
    expect({ status: theirs.status, stderr: theirs.stderr }).toEqual({ status: 0, stderr: '' });
    const ours = runCli([...options, '--', ...command]);
    expect({ status: ours.status, stderr: ours.stderr }).toEqual({ status: 0, stderr: '' });
    const lacks = stderr.split('\n').flatMap((line) => line.split(' leaves out: ').slice(1));
    expect(comparable(theirs.stdout, lacks)).toEqual(comparable(ours.stdout, lacks));
  });
});

function paste(name: string, { room }: Tool, place: string, stdout: string, stderr: string): ReturnType<typeof sh> {
  const line = /run beside it: (.*)/.exec(stderr)?.[1];
  if (line !== undefined) writeFileSync(join(place, 'config.json'), stdout);
  const printed = line ?? stdout;
  return name === 'podman' ? sh(ofPodman(printed), room, place) : sh(printed, room, place);
}

function sh(
  script: string,
  room: readonly string[],
  cwd: string,
): { status: number | null; stdout: string; stderr: string } {
  const [file, ...args] = room.length === 0 ? ['sh'] : ['unshare', '--mount', 'sh'];
  return spawnSync(file ?? '', [...args, '-c', [...room, script].join(' &&\n')], { encoding: 'utf8', cwd });
}

/**
 * With its files where they go with the test, and a runtime that takes a machine with both versions of control groups; and where its user may not raise
 * limits, as in many virtual machines, with limits that are not raised.
 */
function ofPodman(script: string): string {
  const at = (what: string): string => join(directory, 'podman', what);
  const own = `podman --root ${at('data')} --runroot /run/c --tmpdir /run/l --runtime runc run`;
  const raises = (effective() >> 24n) % 2n === 1n;
  return script.replace('podman run', raises ? own : `${own} --ulimit=nofile=1024:1024 --ulimit=nproc=4096:4096`);
}

/** CAP_SYS_RESOURCE is bit 24. */
function effective(): bigint {
  return BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
}

function comparable(output: string, lacks: readonly string[]): string[] {
  const ignored = excused.filter(([lack]) => lacks.some((said) => lack.test(said))).map(([, line]) => line);
  return output.split('\n').filter((line) => !ignored.some((pattern) => pattern.test(line)));
}

function makeRoot(path: string): void {
  for (const name of ['bin', 'proc', 'dev', 'tmp', 'root', 'home', 'srv', 'usr', 'etc', 'run', 'sys', 'var'])
    mkdirSync(join(path, name), { recursive: true });
  copyFileSync('/bin/busybox', join(path, 'bin', 'busybox'));
  const applets = ['sh', 'id', 'uname', 'grep', 'cut', 'sort', 'tr', 'ls', 'wc', 'head', 'env', 'stat', 'readlink'];
  for (const applet of [...applets, 'rm', 'df', 'tail', 'cat', 'true'])
    if (!existsSync(join(path, 'bin', applet))) symlinkSync('busybox', join(path, 'bin', applet));
  for (const name of ['hosts', 'hostname', 'resolv.conf']) writeFileSync(join(path, 'etc', name), '');
}
