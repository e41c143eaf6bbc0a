// podman, with our init inside: podman makes the namespaces, init the root and the rest. All that podman keeps lies in a room of the launcher's making,
// whose user namespace it takes for a host of its own: it needs no pause process there, and leaves nothing on a disk.
import { BackendError } from '../../errors/errors.ts';
import type { Backend, CallerFacts } from '../backend.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import { BASE, textFile } from '../launcher/room.ts';
import { throughRoom } from '../launcher/root-inside.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { probeInRoom } from '../launcher/trial.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { CONFIGURATION, HOOKS, podmanArgs, TEMPORARY } from './argv.ts';
import { mechanisms, recognized } from './recognized.ts';

export const podman: Backend<LauncherPlan> = {
  name: 'podman',
  recognized,

  probe: () => probeInRoom(podman, mechanisms, { program: 'podman', remedy: 'install podman' }),

  plan(spec, granted, caller) {
    const file = programOf('podman', caller);
    const crun = programOf('crun', caller);
    return throughRoom(spec, granted, caller, {
      backend: 'podman',
      mechanisms,
      room: [
        { step: 'mkdir', mode: 0o700, path: TEMPORARY },
        { step: 'mkdir', mode: 0o700, path: HOOKS },
        // Instead of the machine's: what that adds to every container is not for this one.
        textFile(CONFIGURATION, ''),
      ],
      argv: [file, ...podmanArgs(spec.network, crun, caller.hardLimits)],
      env: { HOME: BASE, PATH, TMPDIR: TEMPORARY, XDG_RUNTIME_DIR: TEMPORARY, CONTAINERS_CONF: CONFIGURATION },
    });
  },

  launch: (plan, request) => launchPlan(launcherPath(), plan, request),
  wrap: (plan, request) => wrapPlan(launcherPath(), plan, request),
};

/** Where podman looks for conmon. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function programOf(name: string, caller: CallerFacts): string {
  const file = caller.program(name);
  if (file !== undefined) return file;
  const because = `there is no ${name} on PATH`;
  throw new BackendError('backend podman cannot run here', [{ backend: 'podman', because }], `install ${name}`);
}
