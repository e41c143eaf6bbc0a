// What the steps of a file system take from the host, for backends in which that lies elsewhere than on the host. Pure.
import type { MountFlag, Step } from './steps.ts';

export type SourceKind = 'any' | 'directory' | 'file';
/** Where init finds `path`, which is told the first time that it is asked for. */
export type Place = (path: string, kind: SourceKind, device: boolean) => string;

const ofRoot: ReadonlySet<MountFlag> = new Set(['sourceInRoot', 'sourceOfRoot']);

/** `step` with everything that is the host's where `place` puts it. */
export function withPlaces(step: Step, place: Place): Step {
  if (step.step === 'root' && step.source !== '' && step.kind !== 'tmpfs') {
    const source = place(step.source, 'directory', false);
    return {
      ...step,
      source,
      options: step.kind === 'capture' ? place(step.options, 'directory', false) : step.options,
    };
  }
  if (step.step === 'layer') return { ...step, path: place(step.path, 'directory', false) };
  if (step.step !== 'mount') return step;
  const { kind, flags, sourceKind, options } = step;
  if (kind === 'overlay') {
    const source = place(step.source, 'directory', false);
    return { ...step, source, options: flags.includes('captures') ? place(options, 'directory', false) : options };
  }
  if (kind !== 'bind' || flags.some((flag) => ofRoot.has(flag))) return step;
  return { ...step, source: place(step.source, sourceKind, !flags.includes('nodev')) };
}
