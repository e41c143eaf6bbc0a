// A sandbox in the words of another tool: for people who know that one, and to show what it leaves out. Nothing of ours is in it. Pure.
import type { CallerFacts } from '../../backends/backend.ts';
import { withoutMissingSysfs } from '../../features/sysfs.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import type { Equivalent } from '../types.ts';
import { asBwrap } from './bwrap.ts';
import { asDocker } from './docker.ts';
import { asFirejail } from './firejail.ts';
import { asLinuxUserChroot } from './linux-user-chroot.ts';
import { asNspawn } from './nspawn.ts';
import { asOci } from './oci.ts';
import { asPodman } from './podman.ts';
import { landlockBeyond, onSyscallBeyond, sysfsBeyond, type Translation, withoutViews } from './shared.ts';
import type { ToolName } from './tools.ts';

type Translate = (spec: NormalizedSpec, caller: CallerFacts, directory: string) => Translation;

const translations: Readonly<Record<ToolName, Translate>> = {
  bwrap: asBwrap,
  oci: (spec, caller) => asOci('crun', spec, caller),
  nspawn: asNspawn,
  runc: (spec, caller) => asOci('runc', spec, caller),
  podman: asPodman,
  docker: asDocker,
  firejail: asFirejail,
  'linux-user-chroot': asLinuxUserChroot,
};

/** `directory`: in which the command line will be used; absolute. */
export function equivalentOf(tool: ToolName, spec: NormalizedSpec, caller: CallerFacts, directory: string): Equivalent {
  if (spec.root.kind === 'image' || spec.mounts.some(({ layers }) => layers !== undefined)) {
    const lacks = [`an image: ${tool} would have to be given its layers as one directory (run-sandbox image unpack)`];
    return { tool, before: [], argv: undefined, lacks };
  }
  const known = tool === 'bwrap' ? { spec, lacks: [] } : withoutViews(spec);
  const shown = withoutMissingSysfs(known.spec, new Set());
  const translation = translations[tool](shown, caller, directory);
  const lacks = [
    ...translation.lacks,
    ...known.lacks,
    ...sysfsBeyond(spec),
    ...landlockBeyond(spec),
    ...onSyscallBeyond(spec),
  ];
  return { tool, ...translation, lacks };
}
