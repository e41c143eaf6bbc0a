// What podman gives together with our launcher around it and our init inside, and by which mechanism.
import type { Feature } from '../../features/feature.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { wornInRoom } from '../launcher/worn.ts';

export const mechanisms: Mechanisms = wornInRoom('podman');

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanisms) as Feature[]);
