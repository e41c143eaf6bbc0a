// A container in the words of docker-run(1): nothing but a place from which our launcher can enter the room. Pure.
import { TOOL_ROOT } from '../launcher/root-inside.ts';
import { toolDescriptors } from '../launcher/steps.ts';

/** The engine's socket and the directory of the rendezvous, as descriptors of the tool. */
export const ENGINE_FD: number = toolDescriptors.firstSource;
const DIRECTORY_FD = ENGINE_FD + 1;

/**
 * Where the launcher's socket is for a moment: in memory, and with nobody but its owner and root able to take a name away (S_ISVTX). The engine finds it by
 * this path, which nobody but root can lead elsewhere.
 */
export const DIRECTORY = '/dev/shm';
/** Of the image. */
const MEETING_PLACE = '/rendezvous';
/** The launcher puts the name of the run here, which is that of the container and of the socket. */
const NAME = 'RENDEZVOUS';

export function dockerArgs(docker: string, image: string, network: 'none' | 'host'): string[] {
  return [
    ...[`/proc/self/fd/${toolDescriptors.launcher}`, 'rendezvous'],
    ...['--directory', `/proc/self/fd/${DIRECTORY_FD}`, '--tree', TOOL_ROOT],
    ...[docker, 'run', '--rm', '--name', NAME, '--pull', 'never', '--log-driver', 'none', '--no-healthcheck'],
    // Where the sandbox has a network it is that of the room.
    ...['--network', 'none', '--ipc', 'none', '--userns', 'host', '--user', '0:0', '--read-only'],
    ...['--mount', `type=bind,source=${DIRECTORY},destination=${MEETING_PLACE}`, '--workdir', MEETING_PLACE],
    // To take the socket of a user, and enter that user's namespace. In there it is what the launcher is where there is no engine.
    ...['--cap-drop', 'ALL', ...capabilities.flatMap((name) => ['--cap-add', name])],
    ...['--security-opt', 'no-new-privileges', '--security-opt', 'seccomp=unconfined'],
    ...['--security-opt', 'apparmor=unconfined', '--security-opt', 'label=disable'],
    // A new /proc is to be had only where one is in sight that nothing is mounted over.
    ...['--security-opt', 'systempaths=unconfined'],
    // Which devices there are is said by what init mounts.
    ...['--device-cgroup-rule', 'a *:* rwm'],
    ...[image, '/launcher', 'inside', '--rendezvous', NAME, '--network', network === 'none' ? 'own' : 'room'],
  ];
}

const capabilities = ['DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SYS_ADMIN'];
