// bubblewrap, with our init inside: bwrap makes the namespaces, init does the rest. What bwrap leaks, inherits or mixes up does not reach the
// command: it gets nothing from bwrap but the namespaces.
import { BackendError, FeatureError } from '../../errors/errors.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { Backend, CallerFacts } from '../backend.ts';
import { filesystemSteps } from '../launcher/filesystem.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import { forbidsNesting, refuseHostPrivilege } from '../launcher/privilege.ts';
import { INIT_INSIDE, type LauncherPlan } from '../launcher/steps.ts';
import { Sources, throughTool } from '../launcher/tool.ts';
import { probeByTrial } from '../launcher/trial.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { namespaceArgs, stage } from './argv.ts';
import { mechanisms, recognized } from './recognized.ts';

export const bubblewrap: Backend<LauncherPlan> = {
  name: 'bubblewrap',
  recognized,

  probe: () => probeByTrial(bubblewrap, mechanisms, { program: 'bwrap', remedy: 'install bubblewrap' }),

  plan(wanted, granted, caller) {
    const bwrap = caller.program('bwrap');
    if (bwrap === undefined) throw missingBwrap();
    refuseUser(wanted);
    const spec = withOneId(wanted, caller);
    const hostRoot = caller.uid === 0;
    refuseHostPrivilege('bubblewrap', spec, hostRoot);
    const sources = new Sources();
    const filesystem = stage(filesystemSteps(spec, granted, caller, forbidsNesting(spec, granted, hostRoot)), sources);
    return throughTool(spec, granted, caller, {
      backend: 'bubblewrap',
      mechanisms,
      room: [{ step: 'namespaces', namespaces: [] }, ...sources.steps],
      argv: [
        bwrap,
        ...namespaceArgs(spec),
        ...filesystem.args,
        '--as-pid-1',
        // Of bwrap's own user namespace: init needs them for the mounts, and the command gets what the spec says.
        ...['--cap-add', 'ALL'],
        ...['--chdir', '/', '--'],
        ...INIT_INSIDE,
      ],
      groups: true,
      inside: [...filesystem.steps, { step: 'pivot' }],
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

/** bwrap maps one id, whoever calls it. */
function withOneId(spec: NormalizedSpec, caller: Pick<CallerFacts, 'uid' | 'gid'>): NormalizedSpec {
  const { uid, gid } = spec.user;
  return {
    ...spec,
    idMappings: {
      uid: [{ containerID: uid, hostID: caller.uid, size: 1 }],
      gid: [{ containerID: gid, hostID: caller.gid, size: 1 }],
      privileged: false,
      needsHelper: false,
    },
  };
}

const INT_MAX = 2 ** 31 - 1;

function refuseUser({ user }: NormalizedSpec): void {
  const refuse = (because: string): never => {
    throw new FeatureError('bubblewrap', [{ feature: 'user', because, remedy: 'use backend native' }]);
  };
  if (user.additionalGids.length > 0) refuse('bwrap maps one gid, and sets no additional ones');
  if (user.uid > INT_MAX || user.gid > INT_MAX) refuse(`bwrap takes ids up to ${INT_MAX}`);
}
