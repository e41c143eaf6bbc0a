// A caller whose control group was delegated to it (cgroups(7)) owns the files there: its limits, its members, whether they run at all. A command has the
// caller's uid, so all that keeps it from them is that it finds no way there.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { requires } from '../../helpers/requires.ts';
import { inNode } from '../in-node.ts';
import { PYTHON } from '../python.ts';
import { skip, skipWhereRootAlone } from '../skip.ts';
import type { Technique } from '../technique.ts';

const USER = 12345;

/** Puts itself into the groups of the first argument, becomes the user of the second, and then its other arguments. */
const inGroups = `
import os, sys
for group in sys.argv[1].split(','):
    with open(group + '/cgroup.procs', 'w') as file: file.write('0')
user = int(sys.argv[2])
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
os.execv(sys.argv[3], sys.argv[3:])
`;

/** Looks for control groups wherever they could be, and opens for writing what it finds: that alone changes nothing. */
const reach = `
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
arm = os.uname().machine == 'aarch64'
def call(x64, arm64, *arguments):
    ctypes.set_errno(0)
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return 'ok' if libc.syscall(arm64 if arm else x64, *wide) >= 0 else errno.errorcode[ctypes.get_errno()]
NEWUSER, NEWNS, NEWCGROUP = 0x10000000, 0x20000, 0x02000000
names = ('cgroup.procs', 'cgroup.threads', 'tasks', 'cgroup.freeze', 'cgroup.kill', 'cgroup.subtree_control', 'memory.max', 'memory.limit_in_bytes',
         'pids.max', 'freezer.state', 'cpu.max', 'cpu.shares', 'notify_on_release', 'release_agent', 'devices.allow')
found = set()
def search(top, depth=6):
    try: entries = list(os.scandir(top))
    except OSError: return
    for entry in entries:
        if entry.name in names:
            try: os.close(os.open(entry.path, os.O_WRONLY))
            except OSError: continue
            found.add(entry.path)
        elif depth > 0 and entry.is_dir(follow_symlinks=False): search(entry.path, depth - 1)
    if not any(entry.name == 'cgroup.procs' for entry in entries): return
    try: os.mkdir(os.path.join(top, 'made'))
    except OSError: return
    os.rmdir(os.path.join(top, 'made'))
    found.add(os.path.join(top, 'made'))
places = ['/sys/fs/cgroup', '/sys', '/cgroup', '/mnt', '/proc/1/root/sys/fs/cgroup', '/proc/self/root/../sys/fs/cgroup', *sys.argv[1:]]
for place in places: search(place)
os.makedirs('/tmp/cgroup', exist_ok=True)
kinds = [(b'cgroup2', None)] + [(b'cgroup', options) for options in (b'memory', b'pids', b'freezer', b'cpu', b'devices', b'none,name=systemd', b'all')]
def mount_all(what):
    for kind, options in kinds:
        if call(165, 40, kind, b'/tmp/cgroup', kind, 0, options) != 'ok': continue
        print('mounted', what, kind.decode(), options)
        search('/tmp/cgroup')
        call(166, 39, b'/tmp/cgroup', 2)
mount_all('plainly')
for flags in (NEWNS, NEWUSER | NEWNS, NEWUSER | NEWNS | NEWCGROUP, NEWCGROUP):
    child = os.fork()
    if child == 0:
        if call(272, 97, flags) == 'ok': mount_all(hex(flags))
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
print('found', *sorted(found))
print('seen', *sorted({line.rstrip().split(':', 2)[2] for line in open('/proc/self/cgroup')}))
print('mounts', *sorted({line.split()[4] for line in open('/proc/self/mountinfo') if ' - cgroup' in line}))
`;

interface Tree {
  readonly kind: 'cgroup' | 'cgroup2';
  readonly mountPoint: string;
}

/** One of each kind that the tests may make groups in, and that has something to write to. */
function trees(): Tree[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => fields.includes('-'))
    .map((fields) => ({
      kind: fields[fields.indexOf('-') + 1],
      mountPoint: fields[4] ?? '',
      options: fields.at(-1) ?? '',
    }));
  const unified = mounts.filter(({ kind }) => kind === 'cgroup2').slice(0, 1);
  const legacy = mounts.filter(({ kind, options }) => kind === 'cgroup' && /\b(memory|pids|freezer)\b/.test(options));
  return [...unified, ...legacy].map(({ kind, mountPoint }) => ({ kind: kind as Tree['kind'], mountPoint }));
}

interface Delegation {
  /** Of the caller; beside each there is one with somebody in it who must come to no harm. */
  readonly groups: readonly string[];
  readonly neighbour: ChildProcess;
  remove(): Promise<void>;
}

/** A folder of our own in every tree, given away to the user as a delegation is: the directory, and the files with which members come and go. */
async function delegate(): Promise<Delegation> {
  const name = `attack-on-sandboxlib-${process.pid}`;
  const folders: string[] = [];
  const give = (path: string): void => {
    mkdirSync(path);
    chownSync(path, USER, USER);
    // More than a delegation gives: each limit too.
    for (const file of readdirSync(path))
      if ((statSync(join(path, file)).mode & 0o200) !== 0) chownSync(join(path, file), USER, USER);
  };
  const neighbour = spawn('sleep', ['600'], { stdio: 'ignore' });
  const remove = async (): Promise<void> => {
    const ended = once(neighbour, 'exit');
    neighbour.kill('SIGKILL');
    await ended;
    for (const folder of folders)
      for (const path of [join(folder, 'caller'), join(folder, 'neighbour'), folder]) await removeGroup(path);
  };
  try {
    for (const { mountPoint } of trees()) {
      const folder = join(mountPoint, name);
      folders.push(folder);
      for (const path of [folder, join(folder, 'caller'), join(folder, 'neighbour')]) give(path);
      writeFileSync(join(folder, 'neighbour', 'cgroup.procs'), String(neighbour.pid));
    }
  } catch (error) {
    await remove();
    throw error;
  }
  return { groups: folders.map((folder) => join(folder, 'caller')), neighbour, remove };
}

/** Members that have ended may be in it for a moment. */
async function removeGroup(path: string): Promise<void> {
  for (let left = 100; existsSync(path); left--) {
    try {
      rmdirSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || left === 0) throw error;
      await delay(50);
    }
  }
}

/** All that can be read in the folders: members, limits, states. */
function state(groups: readonly string[]): string[] {
  const files = [
    'cgroup.freeze',
    'freezer.state',
    'memory.max',
    'memory.limit_in_bytes',
    'pids.max',
    'cgroup.subtree_control',
    'notify_on_release',
    'cgroup.type',
    'cpu.max',
  ];
  return groups
    .flatMap((group) => [group, join(group, '../neighbour'), join(group, '..')])
    .flatMap((group) => [
      ...files
        .filter((file) => existsSync(join(group, file)))
        .map((file) => `${group}/${file} ${readFileSync(join(group, file), 'utf8')}`),
      `${group}: ${readdirSync(group, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
        .sort()}`,
    ]);
}

function words(said: string, first: string): string[] {
  return said
    .split('\n')
    .filter((line) => line.startsWith(`${first} `))
    .flatMap((line) => line.split(' ').slice(1))
    .filter((word) => word !== '');
}

async function attack(bench: Bench, uid: number, wanted: readonly SandboxSpec[]): Promise<void> {
  requires('root', `file:${PYTHON}`);
  if (trees().length === 0) skip('there is no control group tree here');
  if (uid !== 0) skipWhereRootAlone(bench.backend);
  const specs = bench.offered(wanted);
  const { groups, neighbour, remove } = await delegate();
  try {
    const prefix = [PYTHON, '-c', inGroups, groups.join(), String(uid)];
    const [python = '', ...args] = [...prefix, PYTHON, '-c', reach, ...groups];
    const outside = spawnSync(python, args, { encoding: 'utf8' });
    expect(outside.stderr).toBe('');
    for (const group of groups) expect(words(outside.stdout, 'found')).toContain(join(group, 'cgroup.procs'));
    const before = state(groups);
    const script = `
      const answers = [];
      for (const spec of ${JSON.stringify(specs)}) {
        const { stdout, stderr } = await run(['${PYTHON}', '-c', ${JSON.stringify(reach)}, ...${JSON.stringify(groups)}], spec, { backend: '${bench.backend}' });
        answers.push(stdout + stderr);
      }
      console.log(JSON.stringify(answers));`;
    const { stdout, stderr } = inNode(script, { prefix });
    expect(stderr).toBe('');
    const answers = JSON.parse(stdout) as string[];
    expect(answers).toHaveLength(specs.length);
    for (const [number, answer] of answers.entries()) {
      const spec = JSON.stringify(specs[number]);
      expect(answer, spec).toMatch(/^found *$/m);
      expect(answer, spec).not.toMatch(/^mounted/m);
      // Neither where the caller is, nor how deep.
      expect(words(answer, 'seen'), spec).toEqual(['/']);
      expect(answer, spec).not.toContain('Traceback');
    }
    expect(state(groups)).toEqual(before);
    expect(neighbour.exitCode ?? neighbour.signalCode).toBeNull();
  } finally {
    await remove();
  }
}

const asSomebody: readonly SandboxSpec[] = [
  {},
  { user: { uid: 0, gid: 0 } },
  { seccomp: 'unconfined' },
  { seccomp: 'unconfined', user: { uid: 0, gid: 0 } },
  {
    seccomp: 'unconfined',
    user: { uid: 0, gid: 0 },
    capabilities: ['CAP_DAC_OVERRIDE', 'CAP_SYS_RESOURCE', 'CAP_KILL'],
  },
];

export const technique: Technique = {
  name: 'delegated-cgroup',
  attacks: ['root.host', 'namespace.cgroup', 'namespace.mount', 'mount.proc', 'capabilities.drop', 'seccomp.default'],
  cases: {
    'a command finds no way to the control groups that its caller owns': (bench) => attack(bench, USER, asSomebody),
    'nor does one of a caller who is root': (bench) => attack(bench, 0, asSomebody),
    'where the caller shows them, they can be read only': (bench) =>
      attack(
        bench,
        USER,
        trees().length === 0
          ? []
          : [
              { mounts: ['/sys/fs/cgroup:/mnt/cgroup:ro'] },
              { seccomp: 'unconfined', user: { uid: 0, gid: 0 }, mounts: ['/sys/fs/cgroup:/mnt/cgroup:ro'] },
            ],
      ),
  },
};
