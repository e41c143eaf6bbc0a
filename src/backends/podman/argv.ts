// A container in the words of podman-run(1): namespaces, a process that may do in them what it likes, and nothing of podman's own ideas. Pure.

import type { CallerFacts } from '../backend.ts';
import { BASE } from '../launcher/room.ts';
import { TOOL_ROOT } from '../launcher/root-inside.ts';
import { INIT_INSIDE } from '../launcher/steps.ts';

/** Where podman keeps what it keeps, all of it in the room. */
const STORAGE = `${BASE}/storage`;
const RUN = `${BASE}/run`;
export const TEMPORARY: string = `${BASE}/tmp`;
export const HOOKS: string = `${BASE}/hooks`;
export const CONFIGURATION: string = `${BASE}/containers.conf`;

export function podmanArgs(network: 'none' | 'host', crun: string, limits: CallerFacts['hardLimits']): string[] {
  return [
    ...['--root', STORAGE, '--runroot', RUN, '--tmpdir', TEMPORARY, '--storage-driver', 'vfs'],
    // Of the runtimes that podman knows, crun alone goes without control groups.
    ...['--runtime', crun, '--cgroup-manager', 'cgroupfs', '--events-backend', 'none'],
    // Those of the machine are programs that run at the start of each container (oci-hooks(5)).
    ...['--hooks-dir', HOOKS],
    ...['run', '--rm', '--cgroups', 'disabled', '--cgroupns', 'host', '--network', network],
    ...['--pid', 'private', '--ipc', 'private', '--uts', 'private', '--user', '0:0', '--workdir', '/'],
    ...['--log-driver', 'none', '--no-hosts', '--http-proxy=false', '--systemd', 'false'],
    // Its devpts would belong to a group that an ordinary user has no number for. Init makes the one that the command gets.
    ...['--mount', 'type=tmpfs,destination=/dev/pts'],
    // Init makes the command's root and drops all that the command is not to have.
    ...['--cap-add', 'all', '--security-opt', 'seccomp=unconfined', '--security-opt', 'label=disable'],
    ...['--security-opt', 'apparmor=unconfined', '--security-opt', 'unmask=all'],
    // Podman's own idea of these is beyond what the caller may set; and it bounds itself to kernel.pid_max before it sets them.
    ...['--ulimit', `nofile=${bound(limits.openFiles)}`, '--ulimit', `nproc=${bound(limits.processes)}`],
    ...['--preserve-fds', '2', '--rootfs', TOOL_ROOT],
    ...INIT_INSIDE,
  ];
}

function bound(limit: number | undefined): string {
  return `${limit ?? -1}:${limit ?? -1}`;
}
