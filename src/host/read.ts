// All readers together: what can be read of this host without trying anything.
import { type Caller, thisProcess } from './caller.ts';
import { readCgroups } from './cgroups.ts';
import { readContainer } from './container.ts';
import { readEmulation } from './emulation.ts';
import { type HostFiles, hostFiles } from './files.ts';
import { readKernel } from './kernel.ts';
import { readLsm } from './lsm.ts';
import type { HostFacts } from './types.ts';
import { readUser } from './userns.ts';

export function readHost(files: HostFiles = hostFiles, caller: Caller = thisProcess()): HostFacts {
  const kernel = readKernel(files);
  return {
    kernel,
    architecture: caller.architecture,
    user: readUser(files, caller),
    container: readContainer(files),
    lsm: readLsm(files, kernel),
    cgroups: readCgroups(files),
    emulation: readEmulation(files, caller.architecture),
  };
}
