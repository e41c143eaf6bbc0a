// Capabilities that the caller has in sets from which execve(2) takes: inheritable ones, which come alive with a file that asks for them
// (CVE-2022-24769), and ambient ones, which need no file.
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync } from 'node:fs';
import { expect } from 'vitest';
import { whyRootAlone } from '../../helpers/closed-backends.ts';
import { requires } from '../../helpers/requires.ts';
import { inNode } from '../in-node.ts';
import { PYTHON } from '../python.ts';
import { needing, type Technique } from '../technique.ts';

const none = new Array(5).fill('0'.repeat(16)).join(' ');
const CAP_DAC_OVERRIDE = 1;

/** With every capability inheritable and ambient, as the uid of the first argument. */
const withCapabilities = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
user = int(sys.argv[1])
last = int(open('/proc/sys/kernel/cap_last_cap').read())
# PR_SET_KEEPCAPS: over the change of uid.
if libc.prctl(8, 1, 0, 0, 0) != 0: sys.exit(70)
os.setresgid(user, user, user)
os.setresuid(user, user, user)
every = (1 << last + 1) - 1
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
# No bounding set of the tests' surroundings may be missing one: what is permitted is what there is.
data = (ctypes.c_uint32 * 6)()
libc.capget(header, data)
permitted = data[1] | data[4] << 32
data = (ctypes.c_uint32 * 6)(permitted & 0xffffffff, permitted & 0xffffffff, permitted & 0xffffffff, permitted >> 32, permitted >> 32, permitted >> 32)
if libc.capset(header, data) != 0: sys.exit(71)
for capability in range(last + 1):
    # PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE
    if permitted >> capability & 1 and libc.prctl(47, 2, capability, 0, 0) != 0: sys.exit(72)
os.execv(sys.argv[2], sys.argv[2:])
`;

export const technique: Technique = {
  name: 'inherited-capabilities',
  attacks: ['root.host', 'mount.bind', 'capabilities.drop', 'noNewPrivileges'],
  cases: {
    'nothing of what the caller could pass on arrives, and no file brings it to life': (bench) => {
      requires('root', `file:${PYTHON}`);
      const directory = bench.makeDirectory('inheritable');
      const file = `${directory}/inheriting`;
      copyFileSync(bench.guestOutside, file);
      chmodSync(file, 0o755);
      // VFS_CAP_REVISION_2 with the effective bit, all of the first 32 inheritable and none permitted.
      const attribute = '0100000200000000ffffffff0000000000000000';
      const set = `import os; os.setxattr('${file}', 'security.capability', bytes.fromhex('${attribute}'))`;
      expect(spawnSync(PYTHON, ['-c', set]).status).toBe(0);
      for (const uid of whyRootAlone(bench.backend) === undefined ? [0, 12345] : [0]) {
        const prefix = [PYTHON, '-c', withCapabilities, String(uid)];
        const outside = spawnSync(prefix[0] ?? '', [...prefix.slice(1), bench.guestOutside, 'caps'], {
          encoding: 'utf8',
        });
        // Permitted, effective, inheritable, bounding, ambient: all have some.
        expect(
          outside.stdout
            .trim()
            .split(' ')
            .map((word) => (BigInt(`0x${word}`) >> BigInt(CAP_DAC_OVERRIDE)) & 1n),
        ).toEqual([1n, 1n, 1n, 1n, 1n]);
        const inheriting = spawnSync(prefix[0] ?? '', [...prefix.slice(1), file, 'caps'], { encoding: 'utf8' });
        expect(inheriting.stdout).not.toMatch(/^0{16} 0{16}/);
        const script = `
          const answers = [];
          for (const seccomp of ['default', 'unconfined'])
            for (const user of [undefined, { uid: 0, gid: 0 }, ...(process.getuid() === 0 ? [{ uid: 77, gid: 77 }] : [])])
              for (const command of [['/inheritable/plain', 'caps'], ['/inheritable/inheriting', 'caps']]) {
                const spec = { seccomp, ...(user && { user }), mounts: ['${directory}:/inheritable:ro', '${bench.guestOutside}:/inheritable/plain:ro'] };
                const { stdout, stderr } = await run(command, spec, { backend: '${bench.backend}', stripFinalNewline: true });
                answers.push(stdout + stderr);
              }
          console.log(JSON.stringify(answers));`;
        bench.makeFile('inheritable/plain', '');
        const { stdout, stderr } = inNode(script, { prefix });
        expect(stderr).toBe('');
        const answers = JSON.parse(stdout) as string[];
        expect(answers.length).toBeGreaterThanOrEqual(8);
        expect(new Set(answers)).toEqual(new Set([none]));
      }
      return Promise.resolve();
    },
    'those that are kept are those that were named, whatever the caller has': needing(
      ['capabilities.keep'],
      (bench) => {
        requires('root', `file:${PYTHON}`);
        for (const uid of [0, 12345]) {
          const script = `
          const spec = { capabilities: ['CAP_CHOWN'], mounts: ['${bench.guestOutside}:/guest:ro'] };
          const { stdout, stderr } = await run(['/guest', 'caps'], spec, { backend: '${bench.backend}' });
          process.stdout.write(stdout + stderr);`;
          const { stdout } = inNode(script, { prefix: [PYTHON, '-c', withCapabilities, String(uid)] });
          expect(stdout).toBe(`${new Array(5).fill(`${'0'.repeat(15)}1`).join(' ')}\n`);
        }
        return Promise.resolve();
      },
    ),
  },
};
