// Files in the order of what they take, the longest first: what is started last would else keep one worker busy while the others have nothing left. A fresh
// checkout has no times of earlier runs to go by, and vitest would run one project after the other.
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const longest: readonly RegExp[] = [
  /\/security\/attacks\.test\.ts$/,
  /\/security\/attacks-user\.test\.ts$/,
  /\/os\/demo\.test\.ts$/,
  /\/conformance\/docker(?:-user)?\.test\.ts$/,
  /\/conformance\/podman(?:-user)?\.test\.ts$/,
  /\/os\/explain-as\.test\.ts$/,
  /\/os\/launcher-faults\.test\.ts$/,
];

function rank({ moduleId }: TestSpecification): number {
  const place = longest.findIndex((pattern) => pattern.test(moduleId));
  return place === -1 ? longest.length : place;
}

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // Stable: the rest stays in vitest's own order.
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
