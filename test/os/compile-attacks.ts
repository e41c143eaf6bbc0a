// The quickest attacks of the suite (test/security) by way of a compiled plan: whatever they start is one.
import { afterAll, beforeAll, describe, test, vi } from 'vitest';
import { Bench } from '../conformance/bench.ts';
import { requires } from '../helpers/requires.ts';
import { technique as argumentSmuggling } from '../security/techniques/argument-smuggling.ts';
import { technique as inheritedCapabilities } from '../security/techniques/inherited-capabilities.ts';
import { technique as kernelKnobs } from '../security/techniques/kernel-knobs.ts';
import { technique as mountCalls } from '../security/techniques/mount-calls.ts';
import { technique as procEscape } from '../security/techniques/proc-escape.ts';
import { technique as reachForProcesses } from '../security/techniques/reach-for-processes.ts';
import { technique as rootEscape } from '../security/techniques/root-escape.ts';
import { technique as separators } from '../security/techniques/separators-in-paths.ts';
import { technique as socketFamilies } from '../security/techniques/socket-families.ts';

vi.mock('../../src/index.ts', async (original) => {
  const { runCompiled } = await import('../helpers/compiled.ts');
  return { ...(await original<object>()), run: runCompiled };
});

const techniques = [
  argumentSmuggling,
  inheritedCapabilities,
  kernelKnobs,
  mountCalls,
  procEscape,
  reachForProcesses,
  rootEscape,
  separators,
  socketFamilies,
];

export function compileAttacks(): void {
  requires('linux', 'userns');
  const bench = new Bench('native');
  beforeAll(() => bench.open());
  afterAll(() => bench.close());
  for (const { name, cases } of techniques) {
    describe(name, () => {
      for (const [title, given] of Object.entries(cases)) {
        // It looks at the launcher, which is another file here: test/os/compile-cases.ts looks at this one.
        if (title.startsWith('the program of the launcher')) continue;
        const body = typeof given === 'function' ? given : given.body;
        test(title, () => body(bench, (full) => Math.ceil(full / 10)));
      }
    });
  }
}
