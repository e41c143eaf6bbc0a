// bubblewrap, with our init inside: bwrap makes namespaces and mounts, init does the rest. What bwrap leaks, inherits or mixes up does not
// reach the command: it gets nothing from bwrap but the namespaces and the mounts.
import { BackendError } from '../../errors/errors.ts';
import type { Backend } from '../backend.ts';
import { hardenSteps } from '../launcher/harden.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import { forbidsNesting, refuseHostPrivilege } from '../launcher/privilege.ts';
import { INIT_INSIDE, type LauncherPlan } from '../launcher/steps.ts';
import { Sources, throughTool } from '../launcher/tool.ts';
import { probeByTrial } from '../launcher/trial.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { layoutOf } from '../layout.ts';
import { filesystemArgs, namespaceArgs } from './argv.ts';
import { mechanisms, recognized } from './recognized.ts';

export const bubblewrap: Backend<LauncherPlan> = {
  name: 'bubblewrap',
  recognized,

  probe: () => probeByTrial(bubblewrap, mechanisms, { program: 'bwrap', package: 'bubblewrap' }),

  plan(spec, granted, caller) {
    const bwrap = caller.program('bwrap');
    if (bwrap === undefined) throw missingBwrap();
    const sources = new Sources();
    const hostRoot = caller.uid === 0;
    refuseHostPrivilege('bubblewrap', spec, hostRoot);
    const layout = layoutOf(spec, caller);
    const filesystem = filesystemArgs(layout, {
      source: (entry) => ['descriptor', String(sources.add(entry))],
      text: (text) => String(sources.addText(text)),
      bareDev: true,
    });
    return throughTool(spec, granted, caller, {
      backend: 'bubblewrap',
      mechanisms,
      room: [{ step: 'namespaces', namespaces: [] }, ...sources.steps],
      argv: [
        bwrap,
        ...namespaceArgs(spec),
        ...filesystem,
        '--as-pid-1',
        // Of bwrap's own user namespace: init needs them to finish what bwrap leaves open, and the command gets what the spec says.
        ...['--cap-add', 'ALL'],
        ...['--chdir', '/', '--'],
        ...INIT_INSIDE,
      ],
      inside: hardenSteps(layout, forbidsNesting(spec, granted, hostRoot) ? 'user' : 'cgroup'),
      notes: [
        `only uid ${spec.user.uid} and gid ${spec.user.gid} are mapped: files of other ids belong to 65534 inside`,
      ],
    });
  },

  launch: (plan, request) => launchPlan(launcherPath(), plan, request),
  wrap: (plan, request) => wrapPlan(launcherPath(), plan, request),
};

function missingBwrap(): BackendError {
  return new BackendError(
    'backend bubblewrap cannot run here',
    [{ backend: 'bubblewrap', because: 'there is no bwrap on PATH' }],
    'install bubblewrap',
  );
}
