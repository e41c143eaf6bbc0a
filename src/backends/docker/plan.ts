// A sandbox that is entered from a container, as a plan of the launcher.
import type { Feature } from '../../features/feature.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { BackendPlan, CallerFacts } from '../backend.ts';
import { BASE } from '../launcher/room.ts';
import { TOOL_ROOT, throughRoom } from '../launcher/root-inside.ts';
import { type LauncherPlan, type Step, toolDescriptors } from '../launcher/steps.ts';
import { DIRECTORY, dockerArgs } from './argv.ts';
import type { Engine } from './image.ts';
import { mechanisms } from './recognized.ts';

export function planDocker(
  { client, socket }: Engine,
  image: string,
  spec: NormalizedSpec,
  granted: ReadonlySet<Feature>,
  caller: CallerFacts,
): BackendPlan<LauncherPlan> {
  const source = (offset: number, sourceKind: 'directory' | 'any', path: string): Step => ({
    step: 'source',
    number: toolDescriptors.firstSource + offset,
    sourceKind,
    path,
  });
  return throughRoom(spec, granted, caller, {
    backend: 'docker',
    mechanisms,
    sources: [source(0, 'any', socket), source(1, 'directory', DIRECTORY)],
    // Where the new pid namespace gets its own.
    room: [{ step: 'mkdir', mode: 0o555, path: `${TOOL_ROOT}/proc` }],
    argv: dockerArgs(client, image, spec.network),
    // A client that is killed between its two requests leaves a container.
    endSignal: 0,
    env: {
      DOCKER_HOST: `unix:///proc/self/fd/${toolDescriptors.firstSource}`,
      DOCKER_CONFIG: BASE,
      HOME: BASE,
      PATH: '/usr/bin:/bin',
    },
  });
}
