// docker: the client asks the engine for a container, in which our launcher enters the room that it made outside, and makes the sandbox in there. Nothing
// of the sandbox is known to the engine: no path of the host but one directory, no network, and none of the command's streams.
import { realpathSync } from 'node:fs';
import { BackendError } from '../../errors/errors.ts';
import { callerFacts } from '../../host/facts.ts';
import type { Backend } from '../backend.ts';
import { launchPlan } from '../launcher/launch.ts';
import { launcherPath } from '../launcher/locate.ts';
import type { LauncherPlan } from '../launcher/steps.ts';
import { probeByTrial } from '../launcher/trial.ts';
import { unusable } from '../launcher/unusable.ts';
import { wrapPlan } from '../launcher/wrap.ts';
import { type Engine, ensureImage, type LauncherImage, readImage } from './image.ts';
import { planDocker } from './plan.ts';
import { mechanisms, recognized } from './recognized.ts';

const DEFAULT_HOST = 'unix:///var/run/docker.sock';

/** With the engine that `host` names, as DOCKER_HOST does for its client. */
export function loadDocker(
  host: string = process.env['DOCKER_HOST'] || DEFAULT_HOST,
  client: string | undefined = callerFacts().program('docker'),
): Backend<LauncherPlan> {
  const engine = findEngine(host, client);
  if (engine instanceof BackendError) return unusable('docker', recognized, engine);
  let image: LauncherImage | undefined;
  const imageOnce = (): LauncherImage => {
    image ??= readImage(launcherPath());
    return image;
  };
  let present = false;
  const withImage = (): string => {
    if (!present) ensureImage(engine, imageOnce());
    present = true;
    return launcherPath();
  };
  const backend: Backend<LauncherPlan> = {
    name: 'docker',
    recognized,
    probe: () => probeByTrial(backend, mechanisms, { program: 'docker', remedy: 'install docker.io' }),
    plan: (spec, granted, caller) => planDocker(engine, imageOnce().name, spec, granted, caller),
    launch: (plan, request) => launchPlan(withImage(), plan, request),
    wrap: (plan, request) => wrapPlan(withImage(), plan, request),
  };
  return backend;
}

function findEngine(host: string, client: string | undefined): Engine | BackendError {
  if (client === undefined) return refuse('there is no docker on PATH', 'install docker.io');
  if (!host.startsWith('unix:///')) {
    return refuse(
      `${host} may be an engine of another machine, which has none of the files of this one`,
      'set DOCKER_HOST to the unix socket of an engine here: unix:///var/run/docker.sock',
    );
  }
  try {
    return { client, socket: realpathSync(host.slice('unix://'.length)) };
  } catch (error) {
    return refuse(
      `no engine listens at ${host}: ${(error as NodeJS.ErrnoException).code}`,
      'start it, or set DOCKER_HOST to its socket',
    );
  }
}

function refuse(because: string, remedy: string): BackendError {
  return new BackendError('backend docker cannot run here', [{ backend: 'docker', because }], remedy);
}
