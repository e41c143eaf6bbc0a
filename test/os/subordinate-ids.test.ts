// An ordinary user's ranges of ids, through newuidmap(1) and newgidmap(1) for real.
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SandboxSpec } from '../../src/index.ts';
import { buildCli } from '../helpers/cli.ts';
import { type Answer, account, type Call, runWithPrivateEtc } from '../helpers/private-etc.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'root', 'userns', 'command:newuidmap', 'command:setpriv', 'command:unshare', 'command:python3');

const ranges = `${account.name}:700000:1000\\n${account.uid}:800000:500\\nsomebody:900000:1000\\n`;
const subordinate: SandboxSpec = {
  uidMappings: 'subordinate',
  gidMappings: 'subordinate',
  user: { uid: 0, gid: 0 },
};

let directory: string;
beforeAll(() => {
  // Others know ranges too, and would be asked.
  process.env['SANDBOXLIB_BACKEND'] = 'native';
  buildCli();
  directory = mkdtempSync(join(tmpdir(), 'subordinate-'));
  chmodSync(directory, 0o755);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function shell(script: string, spec: SandboxSpec = {}): Call {
  return [['sh', '-c', script], spec];
}

/** stdout of one run that must end with status 0. */
function answerOf([answer]: readonly Answer[]): string {
  expect(answer?.error).toBeUndefined();
  expect(answer?.result).toMatchObject({ outcome: { kind: 'exited', code: 0 }, stderr: '' });
  return String(answer?.result?.stdout).trimEnd();
}

function makeWorkspace(name: string): string {
  const path = join(directory, name);
  mkdirSync(path);
  chownSync(path, account.uid, account.gid);
  return path;
}

test('the user is the caller, and every other id one of its ranges, in their order', () => {
  const script = 'id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map | tr -s " "';
  const answers = runWithPrivateEtc({ subuid: ranges }, [
    shell(script, subordinate),
    shell(script, { ...subordinate, user: { uid: 5, gid: 6 } }),
  ]);
  expect(answerOf(answers).split('\n')).toEqual([
    ...['0', '0', ` 0 ${account.uid} 1`, ' 1 700000 1000', ' 1001 800000 500'],
    ...[` 0 ${account.gid} 1`, ' 1 700000 1000', ' 1001 800000 500'],
  ]);
  expect(answerOf(answers.slice(1)).split('\n')).toEqual([
    ...['5', '6', ' 0 700000 5', ` 5 ${account.uid} 1`, ' 6 700005 995', ' 1001 800000 500'],
    ...[' 0 700000 6', ` 6 ${account.gid} 1`, ' 7 700006 994', ' 1001 800000 500'],
  ]);
});

test('files of many owners belong inside to the ids that stand for them', () => {
  const workspace = makeWorkspace('many-owners');
  const owners = [account.uid, 700_000, 700_499, 700_999, 800_000, 800_499, 0, 12, 900_000];
  for (const owner of owners) {
    writeFileSync(join(workspace, String(owner)), '');
    chownSync(join(workspace, String(owner)), owner, owner === account.uid ? account.gid : owner);
  }
  const stat = `cd ${workspace}; stat -c '%u %g' ${owners.join(' ')}`;
  const inside = answerOf(runWithPrivateEtc({ subuid: ranges }, [shell(stat, { ...subordinate, workspace })]));
  const ids = ['0', '1', '500', '1000', '1001', '1500', '65534', '65534', '65534'];
  expect(inside.split('\n')).toEqual(ids.map((id) => `${id} ${id}`));
});

test('with CAP_CHOWN a file can be given to a subordinate id, and on the host it belongs to the id behind it', () => {
  const workspace = makeWorkspace('chown');
  const spec: SandboxSpec = { ...subordinate, workspace, capabilities: ['CAP_CHOWN'] };
  const script = 'touch mine given far; chown 5:6 given; chown 1001:1500 far; ! chown 1501 mine 2>/dev/null';
  answerOf(runWithPrivateEtc({ subuid: ranges }, [shell(script, spec)]));
  const ownersOf = (name: string): number[] => {
    const { uid, gid } = statSync(join(workspace, name));
    return [uid, gid];
  };
  expect(ownersOf('mine')).toEqual([account.uid, account.gid]);
  expect(ownersOf('given')).toEqual([700_004, 700_005]);
  expect(ownersOf('far')).toEqual([800_000, 800_499]);
});

test('without a capability nobody becomes a subordinate id or gives a file away', () => {
  const workspace = makeWorkspace('no-capability');
  const become = `python3 -c 'import os; os.setuid(5)'`;
  const script = `touch mine; ! chown 5 mine 2>/dev/null && ! ${become} 2>/dev/null`;
  answerOf(runWithPrivateEtc({ subuid: ranges }, [shell(script, { ...subordinate, workspace })]));
  expect(statSync(join(workspace, 'mine')).uid).toBe(account.uid);
});

test('who becomes a subordinate id makes files of the id behind it', () => {
  const workspace = makeWorkspace('become');
  chmodSync(workspace, 0o777);
  const spec: SandboxSpec = { ...subordinate, workspace, capabilities: ['CAP_SETUID', 'CAP_SETGID'] };
  const script = `python3 -c 'import os; os.setgroups([]); os.setgid(44); os.setuid(33); open("file", "w")'`;
  answerOf(runWithPrivateEtc({ subuid: ranges }, [shell(script, spec)]));
  expect(statSync(join(workspace, 'file'))).toMatchObject({ uid: 700_032, gid: 700_043 });
});

test("a sandbox may be made of subordinate ids alone: then its files are not the caller's", () => {
  const workspace = makeWorkspace('alone');
  chmodSync(workspace, 0o777);
  const mappings = [{ containerID: 0, hostID: 700_000, size: 1000 }];
  const spec: SandboxSpec = {
    uidMappings: mappings,
    gidMappings: mappings,
    user: { uid: 3, gid: 4, additionalGids: [7, 8] },
    workspace,
  };
  const seen = answerOf(runWithPrivateEtc({ subuid: ranges }, [shell('touch file; id -u; id -g; id -G', spec)]));
  expect(seen.split('\n')).toEqual(['3', '4', '4 7 8']);
  expect(statSync(join(workspace, 'file'))).toMatchObject({ uid: 700_003, gid: 700_004 });
});

test('nothing of ranges can be used to reach an id that is not in them', () => {
  const mapped = (hostID: number, size = 1): SandboxSpec => ({
    uidMappings: [
      { containerID: 0, hostID: account.uid, size: 1 },
      { containerID: 1, hostID, size },
    ],
  });
  const answers = runWithPrivateEtc({ subuid: ranges }, [
    shell('true', mapped(0)),
    shell('true', mapped(900_000)),
    shell('true', mapped(700_000, 1001)),
  ]);
  for (const { error } of answers) {
    expect(error).toMatchObject({
      code: 'SBX_SPEC_INVALID',
      message: expect.stringMatching(/uidMappings\[1\]: uids? .* not in a range of sandboxlib-tester in \/etc\/subuid/),
    });
  }
});

test('without a range the error names the file and the command that adds one', () => {
  const [answer] = runWithPrivateEtc({ subuid: 'somebody:900000:1000\\n' }, [shell('true', subordinate)]);
  expect(answer?.error).toMatchObject({
    code: 'SBX_SPEC_INVALID',
    issues: [
      {
        path: ['uidMappings'],
        message: `/etc/subuid has no range for ${account.name}; as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${account.name}`,
      },
      { path: ['gidMappings'], message: expect.stringContaining(`/etc/subgid has no range for ${account.name}`) },
    ],
  });
});

test('without /etc/subgid the error says that there is no such file', () => {
  const [answer] = runWithPrivateEtc({ subuid: ranges, also: 'rm /etc/subgid' }, [shell('true', subordinate)]);
  expect(answer?.error).toMatchObject({
    issues: [{ path: ['gidMappings'], message: expect.stringContaining('(not read: there is no such file)') }],
  });
});

/** Covers the helpers by files without the permission to execute, or by copies without the set-user-ID bit. */
const coverBy = (make: string): string =>
  `for helper in newuidmap newgidmap; do file=$(command -v $helper); copy=$private/$helper; ${make}; mount --bind "$copy" "$file"; done`;

test('without newuidmap the error names it and the package that has it', () => {
  const also = coverBy('touch "$copy"');
  const [answer] = runWithPrivateEtc({ subuid: ranges, also }, [shell('true', subordinate)]);
  expect(answer?.error).toMatchObject({
    code: 'SBX_FEATURE_UNAVAILABLE',
    missing: [
      {
        feature: 'idMappings.ranges',
        because: expect.stringContaining('newuidmap and newgidmap not installed'),
        remedy: expect.stringContaining('apt-get install uidmap'),
      },
    ],
  });
});

test('a newuidmap without its privilege is told from one that is missing', () => {
  const also = coverBy('cp "$file" "$copy"; chmod u-s "$copy"');
  const [answer] = runWithPrivateEtc({ subuid: ranges, also }, [shell('true', subordinate)]);
  expect(answer?.error).toMatchObject({
    code: 'SBX_FEATURE_UNAVAILABLE',
    missing: [{ feature: 'idMappings.ranges', remedy: expect.stringContaining('chmod u+s') }],
    cause: { code: 'SBX_LAUNCH_FAILED', step: 'map-ids' },
  });
});

test('where ranges are optional and missing, the sandbox has the one id that the caller has', () => {
  const [answer] = runWithPrivateEtc({ subuid: ranges, also: coverBy('touch "$copy"') }, [
    [['sh', '-c', 'tr -s " " < /proc/self/uid_map'], subordinate, { optional: ['idMappings.ranges'] }],
  ]);
  expect(answer?.error).toBeUndefined();
  expect(answer?.result).toMatchObject({
    stdout: ` 0 ${account.uid} 1\n`,
    enforcement: { skipped: [{ feature: 'idMappings.ranges' }] },
  });
});
