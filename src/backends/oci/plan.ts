// An OCI runtime's sandbox as a plan of the launcher. Pure.
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { BASE, textFile } from '../launcher/room.ts';
import { throughRoom } from '../launcher/root-inside.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { wornInRoom } from '../launcher/worn.ts';
import { ociConfig } from './config.ts';
import type { RuntimeName } from './recognized.ts';

const BUNDLE = `${BASE}/bundle`;
const STATE = `${BASE}/state`;

export interface Runtime {
  readonly name: RuntimeName;
  /** Absolute path of its program. */
  readonly file: string;
}

export function planOci(
  { name, file }: Runtime,
  spec: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<LauncherPlan> {
  return throughRoom(spec, granted, caller, {
    backend: 'oci',
    mechanisms: wornInRoom(name),
    room: [
      { step: 'mkdir', mode: 0o700, path: STATE },
      textFile(`${BUNDLE}/config.json`, JSON.stringify(ociConfig(spec))),
    ],
    argv: [file, ...globalOptions[name], '--root', STATE, 'run', ...runOptions, 'sandbox'],
    env: {},
  });
}

/** Control groups are out of the runtime's reach (launcher/room.ts), and it is told not to want any. */
const globalOptions: Readonly<Record<RuntimeName, readonly string[]>> = {
  crun: ['--cgroup-manager=disabled'],
  runc: ['--rootless=true'],
  runsc: ['--ignore-cgroups'],
  'kata-runtime': [],
};

/** A session keyring of the runtime's making has a name, by which sandboxes of one user would share it; init makes one without. */
const runOptions: readonly string[] = ['--bundle', BUNDLE, '--preserve-fds', '2', '--no-new-keyring'];
