import { expect } from 'vitest';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { inPython } from '../in-python.ts';
import type { Technique } from '../technique.ts';

export const technique: Technique = {
  name: 'chroot-escape',
  attacks: ['root.host', 'namespace.mount'],
  cases: {
    // With CAP_SYS_CHROOT a process leaves a plain chroot by making another below its working directory. Here there is nothing above.
    'a second chroot and many .. lead nowhere': async (bench) => {
      const script = `
os.mkdir('/tmp/x')
above = os.open('/', os.O_RDONLY)
print(attempt(lambda: os.chroot('/tmp/x')))
os.fchdir(above)
for _ in range(64): os.chdir('..')
print(attempt(lambda: os.chroot('.')))
print(sorted(os.listdir('/')))`;
      for (const spec of bench.offered<SandboxSpec>([{}, { capabilities: ['CAP_SYS_CHROOT'] }])) {
        const [first, second, names] = await inPython(bench, script, spec);
        const answer = spec.capabilities === undefined ? 'EPERM' : 'ok';
        expect([first, second]).toEqual([answer, answer]);
        expect(names).toContain("'usr'");
        expect(names).not.toMatch(/'(var|run|mnt|boot|srv)'/);
      }
    },
    'above the root there is only the root': async (bench) => {
      expect(await bench.refusal(['stat', '/../../srv'])).toBe('errno ENOENT');
      expect(await bench.refusal(['stat', '/../var'])).toBe('errno ENOENT');
    },
  },
};
