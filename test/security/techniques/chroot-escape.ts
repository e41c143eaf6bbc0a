import { expect } from 'vitest';
import { run } from '../../../src/index.ts';
import type { Technique } from '../technique.ts';

export const technique: Technique = {
  name: 'chroot-escape',
  attacks: ['root.host', 'namespace.mount'],
  cases: {
    // With CAP_SYS_CHROOT a process leaves a plain chroot by making another below its working directory. Here there is nothing above.
    'a second chroot and many .. lead nowhere': async (bench) => {
      const script = `python3 - <<'END'
import os
os.mkdir('/tmp/x')
above = os.open('/', os.O_RDONLY)
os.chroot('/tmp/x')
os.fchdir(above)
for _ in range(64): os.chdir('..')
os.chroot('.')
print(sorted(os.listdir('/')))
END`;
      const { stdout, stderr } = await run(
        ['sh', '-c', script],
        { capabilities: ['CAP_SYS_CHROOT'] },
        bench.options({}),
      );
      expect(stderr).toBe('');
      expect(stdout).toContain("'usr'");
      expect(stdout).not.toMatch(/'(var|run|mnt|boot|srv)'/);
    },
    'above the root there is only the root': async (bench) => {
      expect(await bench.refusal(['stat', '/../../srv'])).toBe('errno ENOENT');
      expect(await bench.refusal(['stat', '/../var'])).toBe('errno ENOENT');
    },
  },
};
