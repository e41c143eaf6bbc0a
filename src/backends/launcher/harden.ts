// What init does inside of a tool that leaves it CAP_SYS_ADMIN in the sandbox's own user namespace, before the command comes: bounds for each tmpfs, a
// /proc that neither tells of nor sets anything of the machine, device nodes that are not to be changed, no further user namespaces. Pure.
import { isWithin } from '../../spec/paths.ts';
import { deviceNames, type Layout, maskedInProc, readonlyInProc, TMPFS_BYTES, tmpfsBounds } from '../layout.ts';
import type { MountFlag, Step } from './steps.ts';

/** `namespaces`: the sysctl that is set to 0, so that the command makes none of that kind. */
export function hardenSteps(layout: Layout, limited: 'user' | 'cgroup'): Step[] {
  const covered = (path: string, from: number): boolean =>
    layout.entries
      .slice(from + 1)
      .some((entry) => (entry.kind === 'bind' || entry.kind === 'tmpfs') && isWithin(path, entry.destination));
  const steps: Step[] = [];
  for (const [index, entry] of layout.entries.entries()) {
    // What a later mount covers is out of reach, for the command as for us.
    if ('destination' in entry && covered(entry.destination, index)) continue;
    if (entry.kind === 'tmpfs') {
      steps.push(rebound(entry.destination, tmpfsBounds(entry.sizeBytes), entry.readonly));
    } else if (entry.kind === 'proc') {
      if (entry.destination === '/proc') steps.push(noMore(limited));
      steps.push(...readonlyInProc.map((name) => sealed(`${entry.destination}/${name}`)));
      steps.push(...maskedInProc.map((name): Step => ({ step: 'mask', path: `${entry.destination}/${name}` })));
    } else if (entry.kind === 'dev') {
      const { destination } = entry;
      steps.push(terminals(`${destination}/pts`), rebound(`${destination}/shm`, tmpfsBounds(TMPFS_BYTES), false));
      steps.push(...deviceNames.map((name): Step => ({ step: 'readonly', path: `${destination}/${name}` })));
      // The directory itself last: mount points of granted devices lie in it.
      steps.push(rebound(destination, 'size=64k,nr_inodes=256', false), { step: 'readonly', path: destination });
    } else if (entry.kind === 'bind' && entry.sourceKind === 'device') {
      steps.push({ step: 'readonly', path: entry.destination });
    }
  }
  // A root made from nothing holds mount points and links, and no more.
  if (layout.root === undefined) {
    // In two steps: a file system with a file open for writing, as a tool may have, cannot be made read-only as a whole (EBUSY).
    steps.push(rebound('/', `size=1m,nr_inodes=${rootInodes(layout)}`, false));
    if (layout.readonly) steps.push({ step: 'readonly', path: '/' });
  }
  return [insideRoot, ...steps];
}

/** A devpts of its own: no terminal of the host is in it. */
function terminals(destination: string): Step {
  const options = 'newinstance,ptmxmode=0666,mode=0620';
  return {
    step: 'mount',
    kind: 'devpts',
    flags: ['nosuid', 'noexec'],
    sourceKind: 'any',
    source: '',
    destination,
    options,
  };
}

/** Each entry may need some directories above it. */
function rootInodes({ entries }: Layout): number {
  return 4096 + 16 * entries.length;
}

const insideRoot: Step = { step: 'root', kind: 'host', readonly: false, source: '/', options: '', skeleton: [] };

function noMore(kind: 'user' | 'cgroup'): Step {
  return { step: 'sysctl', name: `user/max_${kind}_namespaces`, value: '0' };
}

function rebound(destination: string, options: string, readonly: boolean): Step {
  const flags: MountFlag[] = ['remount', 'nosuid', 'nodev', ...(readonly ? (['readonly'] as const) : [])];
  return { step: 'mount', kind: 'tmpfs', flags, sourceKind: 'any', source: '', destination, options };
}

function sealed(path: string): Step {
  return {
    step: 'mount',
    kind: 'bind',
    flags: ['readonly', 'recursive', 'nosuid', 'nodev', 'noexec', 'sourceInRoot', 'ifExists'],
    sourceKind: 'any',
    source: path,
    destination: path,
    options: '',
  };
}
