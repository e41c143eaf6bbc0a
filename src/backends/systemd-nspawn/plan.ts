// A sandbox in the words of systemd-nspawn(1). Pure.
import { BackendError } from '../../errors/errors.ts';
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { filesystemSteps } from '../launcher/filesystem.ts';
import { forbidsNesting, refuseHostPrivilege } from '../launcher/privilege.ts';
import { INIT_INSIDE, type LauncherPlan, toolDescriptors } from '../launcher/steps.ts';
import { throughTool } from '../launcher/tool.ts';
import { mechanisms } from './recognized.ts';
import { handIn, INSIDE, ROOT, roomSteps, SOURCES } from './room.ts';

export function planNspawn(
  spec: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<LauncherPlan> {
  const file = caller.program('systemd-nspawn');
  if (caller.uid !== 0)
    throw refuse('systemd-nspawn needs root', 'run it as root, or use a backend that makes a user namespace');
  if (file === undefined) throw refuse('there is no systemd-nspawn on PATH', 'install systemd-container');
  if (caller.cgroups.version === 'none') throw refuse('it needs control groups', 'mount them, or use backend native');
  refuseHostPrivilege('systemd-nspawn', spec, true);
  const { trees, mounts, inside } = handIn(filesystemSteps(spec, granted, caller, forbidsNesting(spec, granted, true)));
  return throughTool(spec, granted, caller, {
    backend: 'systemd-nspawn',
    mechanisms,
    room: roomSteps(trees, mounts, caller.cgroups.version),
    argv: [file, ...options, ...(spec.network === 'none' ? ['--private-network'] : []), '--', ...INIT_INSIDE],
    env: environment,
    setGroups: true,
    groups: true,
    inside: [{ step: 'hostname', hostname: spec.hostname }, ...inside, { step: 'pivot' }],
    notes: notesOf(spec),
  });
}

/** user_namespaces(7): the last one of 32 bits stands for no id. */
const ALL_IDS = 2 ** 32 - 1;

const options: readonly string[] = [
  ...['--quiet', '--settings=no', '--register=no', '--keep-unit', '--machine=sandbox'],
  // Nothing of the host is linked or copied into it.
  ...['--link-journal=no', '--resolv-conf=off', '--timezone=off', '--console=pipe'],
  // Every id is itself, so that files keep their owners; and what init may do it may do there alone.
  ...[`--private-users=0:${ALL_IDS}`, '--private-users-ownership=off', '--capability=all'],
  ...[`--directory=${ROOT}`, `--bind=${SOURCES}:${INSIDE}`],
];

const environment: Readonly<Record<string, string>> = {
  // sd_listen_fds(3): init finds 3 and 4 open; the launcher fills the process id in.
  LISTEN_FDS: String(toolDescriptors.launcher - toolDescriptors.socket + 1),
  LISTEN_PID: '',
  // Its filter is not that of the spec, which init installs.
  SYSTEMD_SECCOMP: '0',
  // Complaints come to us, and nothing to the journal.
  SYSTEMD_LOG_TARGET: 'console',
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
};

function refuse(because: string, remedy: string): BackendError {
  return new BackendError('backend systemd-nspawn cannot run here', [{ backend: 'systemd-nspawn', because }], remedy);
}

function notesOf({ user, network }: NormalizedSpec): string[] {
  const notes: string[] = [];
  if (user.uid === 0) {
    notes.push(
      "the command is uid 0 of this host, without any capability: it owns root's files, where the sandbox shows them",
    );
  }
  if (network === 'host') {
    notes.push("the host's network brings its abstract unix sockets along (unix(7)), whoever listens there");
  }
  return notes;
}
