// Supplementary groups can give, and they can take away: a file may deny to a group what it grants to everybody else. Who can drop a group of his gets
// round that (CVE-2014-8989), so a user namespace that an ordinary user makes must not let him.
import { chmodSync, chownSync } from 'node:fs';
import { expect } from 'vitest';
import { FeatureError } from '../../../src/errors/errors.ts';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import type { Bench } from '../../conformance/bench.ts';
import { requires } from '../../helpers/requires.ts';
import { inNode } from '../in-node.ts';
import { PYTHON, python, pythonOutside } from '../python.ts';
import { skipWhereRootAlone } from '../skip.ts';
import type { Technique } from '../technique.ts';

const GROUP = 4242;
const USER = 12345;

/** A caller with one supplementary group. */
const withGroup = `
import os, sys
os.setgroups([int(sys.argv[1])])
user = int(sys.argv[2])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
os.execv(sys.argv[3], sys.argv[3:])
`;

/** Reads, drops what it can, and reads again. */
const read = `
import errno, os, sys
def attempt(act):
    try: act()
    except OSError as error: return errno.errorcode[error.errno]
    return 'ok'
def look(): return [attempt(lambda: os.close(os.open(path, os.O_RDONLY))) for path in sys.argv[1:]]
answers = look()
answers.append(attempt(lambda: os.setgroups([])))
answers.append(attempt(lambda: os.setgroups([0])))
answers.append(attempt(lambda: os.setresgid(0, 0, 0)))
print(*answers, *look())
`;

/** Two files of somebody else: one that the group alone may read, one that the group alone may not. */
function makeFiles(bench: Bench): [string, string] {
  const [granted, denied] = [bench.makeFile('group-granted', 'x'), bench.makeFile('group-denied', 'x')];
  for (const file of [granted, denied]) chownSync(file, GROUP, GROUP);
  chmodSync(granted, 0o040);
  chmodSync(denied, 0o604);
  return [granted, denied];
}

/** What `read` says in a sandbox of that caller. */
function inSandbox(bench: Bench, uid: number, spec: object): string[] {
  const files = makeFiles(bench);
  const inside = ['/mnt/granted', '/mnt/denied'];
  const mounts = files.map((file, number) => `${file}:${inside[number]}:ro`);
  const command = [PYTHON, '-c', read, ...inside];
  const script = `
    const { stdout, stderr } = await run(${JSON.stringify(command)}, ${JSON.stringify({ ...spec, mounts })}, { backend: '${bench.backend}' });
    process.stdout.write(stdout + stderr);`;
  const { stdout, stderr } = inNode(script, { prefix: [PYTHON, '-c', withGroup, String(GROUP), String(uid)] });
  expect(stderr).toBe('');
  return stdout.trim().split(' ');
}

/** Who maps one gid has no others to set, and says so. */
async function setsGroups(bench: Bench): Promise<boolean> {
  const spec = { user: { uid: 0, gid: 0, additionalGids: [GROUP] } };
  return run(['true'], spec, bench.options({})).then(
    () => true,
    (error: unknown) => {
      if (bench.backend === 'native' || !(error instanceof FeatureError)) throw error;
      return false;
    },
  );
}

export const technique: Technique = {
  name: 'groups-of-the-caller',
  attacks: ['root.host', 'mount.bind', 'user', 'capabilities.drop'],
  cases: {
    'a group that is denied a file cannot be dropped by an ordinary user, and gives no more than outside': (bench) => {
      requires('root', `file:${PYTHON}`);
      skipWhereRootAlone(bench.backend);
      const outside = pythonOutside(
        `
import subprocess
for line in subprocess.check_output([sys.executable, '-c', *sys.argv[1:]], text=True).splitlines(): print('answers', line)
`,
        [withGroup, GROUP, USER, PYTHON, '-c', read, ...makeFiles(bench)],
      );
      const same = ['ok', 'EACCES', 'EPERM', 'EPERM', 'EPERM', 'ok', 'EACCES'];
      expect(outside['answers']?.split(' ')).toEqual(same);
      for (const more of bench.offered<SandboxSpec>([
        {},
        { user: { uid: 0, gid: 0 } },
        { capabilities: ['CAP_SETGID', 'CAP_SETUID'] },
      ])) {
        for (const seccomp of ['default', 'unconfined']) {
          const answers = inSandbox(bench, USER, { ...more, seccomp });
          // To become the gid that one is already is no news.
          expect(answers.toSpliced(4, 1), JSON.stringify(more)).toEqual(same.toSpliced(4, 1));
        }
      }
      return Promise.resolve();
    },
    'a group of root is not there in its sandbox': async (bench) => {
      requires('root', `file:${PYTHON}`);
      for (const user of [
        { uid: 1000, gid: 1000 },
        { uid: 0, gid: 0 },
      ]) {
        // The caller may set groups, and the sandbox has those alone that its spec names.
        expect(inSandbox(bench, 0, { user })).toEqual([
          'EACCES',
          'ok',
          'EPERM',
          'EPERM',
          // EINVAL: where no other gid is mapped, there is none to become.
          user.gid === 0 ? 'ok' : expect.stringMatching(/^(EPERM|EINVAL)$/),
          'EACCES',
          'ok',
        ]);
        if (!(await setsGroups(bench))) continue;
        const named = inSandbox(bench, 0, { user: { ...user, additionalGids: [GROUP] } });
        expect(named.slice(0, 4)).toEqual(['ok', 'EACCES', 'EPERM', 'EPERM']);
      }
    },
    'setgroups is switched off where the caller may not set groups': async (bench) => {
      const script = `
say('setgroups', open('/proc/self/setgroups').read().strip())
say('allow', attempt(lambda: open('/proc/self/setgroups', 'w').write('allow')))
say('call', attempt(lambda: os.setgroups([os.getgid()])))
`;
      for (const spec of bench.offered<SandboxSpec>([{}, { capabilities: ['CAP_SETGID'] }])) {
        const answers = await python(bench, script, { ...spec, seccomp: 'unconfined' });
        const may = process.getuid?.() === 0 && spec.capabilities !== undefined;
        expect(answers['call']).toBe(may ? 'ok' : 'EPERM');
        // It stays on for root alone, and there not on every backend.
        if (process.getuid?.() !== 0) expect(answers['setgroups']).toBe('deny');
        else if (bench.backend === 'native') expect(answers['setgroups']).toBe('allow');
        expect(answers['allow']).not.toBe('ok');
      }
    },
  },
};
