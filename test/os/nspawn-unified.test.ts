// systemd-nspawn where there are control groups of the second version alone: it is told of a first one, and leaves nothing in those that there are.
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { buildCli, cliPath } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'root', 'command:systemd-nspawn', 'command:unshare');

/**
 * In a group of its own, which is then the root of all that is mounted of control groups. What `$0` says comes first, then what is in the group. The mounts are
 * those of a mount namespace; the group is removed when nothing is in it any more.
 */
const inUnified = `
set -e
unmount() { for path in $(awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/self/mounts | sort -r) /sys/fs/cgroup; do umount -l "$path" 2>&1 | grep -v 'not mounted' || true; done; }
unmount
mount -t cgroup2 cgroup2 /sys/fs/cgroup
group=/sys/fs/cgroup/sandboxlib-test-$$
mkdir "$group"
( echo 0 > "$group/cgroup.procs"; exec unshare --cgroup --mount sh -ec '
  umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
  "$@"
  find /sys/fs/cgroup -mindepth 1 -type d' sh "$@" )
rmdir "$group"
`;

test('a command runs, without a group of systemd-nspawn left behind', () => {
  buildCli();
  const command = [process.execPath, cliPath, '--backend', 'systemd-nspawn', '--', 'sh', '-c', 'echo $$; hostname'];
  const { stdout, stderr, status } = spawnSync('unshare', ['--mount', 'sh', '-c', inUnified, 'sh', ...command], {
    encoding: 'utf8',
    env: process.env,
  });
  expect({ stdout, stderr, status }).toEqual({ stdout: '2\nsandbox\n', stderr: '', status: 0 });
});
