import { expect } from 'vitest';
import { isSandboxError } from '../../../src/errors/errors.ts';
import { run } from '../../../src/index.ts';
import type { Bench } from '../../conformance/bench.ts';
import { inNode } from '../in-node.ts';
import type { Technique } from '../technique.ts';

const ENDED =
  '{"event":"ended","cause":"command","code":0,"stdoutTruncated":false,"stderrTruncated":false,"wallMs":1,"cpuUserMs":1,"cpuSystemMs":1}';

/** What a program in the place of the launcher may do; descriptor 3 is the channel. */
const falseLaunchers: Readonly<Record<string, string>> = {
  'is an empty script': '',
  'says nothing': 'exit 0',
  'fails in silence': 'exit 7',
  'kills itself': 'kill -9 $$',
  'writes garbage': 'echo garbage >&3',
  'writes null': 'echo null >&3; sleep 0.1',
  'writes a number': 'echo 7 >&3',
  'writes a list': 'echo "[1,2]" >&3',
  'writes a string': 'echo \'"ended"\' >&3',
  'writes an unknown event': 'echo \'{"event":"later"}\' >&3',
  'writes no event': 'echo "{}" >&3',
  'writes half a line': 'printf \'{"event":"en\' >&3',
  'writes an end of the wrong kind': 'echo \'{"event":"ended"}\' >&3',
  'writes an unknown cause': 'echo \'{"event":"ended","cause":"whim"}\' >&3',
  'writes a failure without a step': 'echo \'{"event":"failed"}\' >&3',
  'writes a failure of the wrong kind': 'echo \'{"event":"failed","step":7,"errno":[]}\' >&3',
  'writes an end without a code': `echo '${ENDED.replace('"code":0,', '')}' >&3`,
  'writes binary': 'head -c 100000 /dev/urandom >&3',
  'starts and dies': 'echo \'{"event":"started","pid":1}\' >&3; exit 3',
  'closes the channel and goes on for a while': 'exec 3>&-; sleep 0.5',
  'hangs, then dies': 'sleep 1; kill -9 $$',
  'takes no plan': 'exec 3<&-; exit 0',
};

async function failureWith(launcher: string, bench: Bench): Promise<unknown> {
  const before = process.env['SANDBOXLIB_LAUNCHER'];
  process.env['SANDBOXLIB_LAUNCHER'] = launcher;
  try {
    return await run(['true'], {}, bench.options({})).then(
      ({ outcome }) => outcome,
      (error: unknown) => error,
    );
  } finally {
    if (before === undefined) delete process.env['SANDBOXLIB_LAUNCHER'];
    else process.env['SANDBOXLIB_LAUNCHER'] = before;
  }
}

export const technique: Technique = {
  name: 'false-launcher',
  attacks: ['root.host', 'namespace.pid'],
  only: { backend: 'native', because: 'each backend starts the same launcher by the same code' },
  cases: {
    ...Object.fromEntries(
      Object.entries(falseLaunchers).map(([what, script], index) => [
        `a launcher that ${what} is an error of ours`,
        async (bench: Bench) => {
          const launcher = bench.makeFile(`launcher-${index}`, `#!/bin/sh\n${script}\n`, 0o755);
          const error = await failureWith(launcher, bench);
          expect(isSandboxError(error), String(error)).toBe(true);
          expect((error as Error).message.length).toBeLessThan(1000);
        },
      ]),
    ),
    'what is no program is named': async (bench) => {
      const cases = [
        bench.makeDirectory('launcher-directory'),
        bench.makeFile('launcher-data', 'data\n', 0o644),
        bench.makeFile('launcher-lost', '#!/no/such/interpreter\n', 0o755),
        `${bench.directory}/launcher-absent`,
      ];
      for (const launcher of cases) {
        // In a process of its own: the message is what a person sees.
        const script =
          "console.log(JSON.stringify(await run(['true']).catch(({ code, message }) => ({ code, message }))));";
        const { stdout, stderr } = inNode(script, { env: { ...process.env, SANDBOXLIB_LAUNCHER: launcher } });
        expect(stderr).toBe('');
        const { code, message } = JSON.parse(stdout) as { code: string; message: string };
        expect(code, launcher).toMatch(/^SBX_(LAUNCH_FAILED|BACKEND_UNAVAILABLE)$/);
        expect(message, launcher).toContain(launcher);
      }
    },
  },
};
