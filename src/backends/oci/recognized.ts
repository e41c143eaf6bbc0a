// What an OCI runtime gives together with our launcher around it and our init inside, and by which mechanism.
import type { Feature } from '../../features/feature.ts';
import { wornInRoom } from '../launcher/worn.ts';

/** In order of preference. */
export const runtimeNames = ['crun', 'runc', 'runsc', 'kata-runtime'] as const;
export type RuntimeName = (typeof runtimeNames)[number];

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(wornInRoom('a runtime')) as Feature[]);
