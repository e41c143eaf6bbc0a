import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { run } from '../../../src/index.ts';
import type { SandboxSpec } from '../../../src/spec/types.ts';
import { inNode } from '../in-node.ts';
import type { Technique } from '../technique.ts';

const TOKEN = 'token-of-the-caller-4711';

/** What changes programs from outside, and what nobody else may read. */
const poison = {
  LD_LIBRARY_PATH: '/nowhere',
  GLIBC_TUNABLES: 'glibc.malloc.check=3',
  BASH_ENV: '/poison.sh',
  ENV: '/poison.sh',
  IFS: 'x',
  PYTHONSTARTUP: '/poison.py',
  PYTHONPATH: '/nowhere',
  PERL5OPT: '-Mpoison',
  GITHUB_TOKEN: TOKEN,
  AWS_SECRET_ACCESS_KEY: TOKEN,
  SSH_AUTH_SOCK: `/tmp/${TOKEN}`,
  npm_config__authToken: TOKEN,
};

export const technique: Technique = {
  name: 'poisoned-environment',
  attacks: ['root.host', 'env', 'mount.proc', 'mount.bind'],
  cases: {
    'nothing of the environment of the caller reaches the command, init or /proc': async (bench) => {
      const look =
        'env; echo ---; for pid in /proc/[0-9]*; do tr "\\0" "\\n" < $pid/environ; tr "\\0" " " < $pid/cmdline; done 2>/dev/null';
      for (const spec of bench.offered<SandboxSpec>([
        {},
        { user: { uid: 0, gid: 0 } },
        { capabilities: ['CAP_SYS_PTRACE', 'CAP_DAC_OVERRIDE'] },
      ])) {
        const script = `console.log(JSON.stringify(await run(['sh', '-c', ${JSON.stringify(look)}], ${JSON.stringify(spec)})));`;
        const { stdout, stderr } = inNode(script, { env: { ...process.env, ...poison } });
        expect(stderr).toBe('');
        const { stdout: seen } = JSON.parse(stdout) as { stdout: string };
        expect(seen).not.toContain(TOKEN);
        const names = (seen.split('---')[0] ?? '').split('\n').map((line) => line.split('=')[0] ?? '');
        expect(names.filter((name) => name !== '').sort()).toEqual([
          'HOME',
          'LANG',
          'LOGNAME',
          'PATH',
          'PWD',
          'TMPDIR',
          'USER',
        ]);
      }
    },
    'variables of the spec arrive as they are, whatever they are called, and act on the command alone': async (
      bench,
    ) => {
      const odd = {
        ...{
          'A B': 'x',
          'a.b': '=',
          '1': '',
          '-n': '-n',
          'BASH_FUNC_ls%%': '() { echo poisoned; }',
          A: 'a=b=c',
          B: '\n\t "\'\\$(id)',
        },
        ...{
          C: '漢\u{1f600}',
          D: 'x'.repeat(131_069),
          EMPTY: '',
          PATH: '',
          IFS: '',
          HOME: '',
          SANDBOXLIB_LAUNCHER: '/nowhere',
        },
        // Of a library that is not there every dynamic program complains, and none that is static.
        LD_PRELOAD: '/nowhere/poison.so',
      };
      const result = await bench.run(['env'], { env: odd }, {});
      expect(result.stderr).toBe('');
      const expected = Object.entries(odd).map(([name, value]) => `${name}=${value}\n`);
      for (const line of expected) expect(result.stdout).toContain(line);
      const complaint = await run(
        ['/bin/sh', '-c', ':'],
        { env: { LD_PRELOAD: '/nowhere/poison.so' } },
        bench.options({}),
      );
      expect(String(complaint.stderr).split('cannot be preloaded')).toHaveLength(2);
    },
    'variables that are none are refused, and too many of them are too long': async (bench) => {
      for (const env of [
        { '': 'x' },
        { 'A=B': 'x' },
        { 'A\0B': 'x' },
        { A: 'x\0y' },
        { A: '\ud800' },
        { A: 'x'.repeat(131_070) },
      ] as Record<string, string>[])
        await expect(run(['true'], { env }, bench.options({})), JSON.stringify(env).slice(0, 40)).rejects.toMatchObject(
          {
            code: 'SBX_SPEC_INVALID',
          },
        );
      const many = Object.fromEntries(Array.from({ length: 100 }, (_, number) => [`V${number}`, 'x'.repeat(131_000)]));
      await expect(run(['true'], { env: many }, bench.options({}))).rejects.toMatchObject({
        code: 'SBX_LAUNCH_FAILED',
        errno: 'E2BIG',
        reason: 'too-long',
      });
    },
    'a library for the dynamic loader of the caller acts on nothing inside': async () => {
      // A library that is not there: every dynamic program that sees the variable complains on stderr.
      const env = { ...process.env, LD_PRELOAD: '/nowhere/poison.so' };
      const complaint = 'cannot be preloaded';
      const script =
        "const { stderr, stdout } = await run(['ls', '/proc/self/exe']); console.log(JSON.stringify({ stderr, stdout }));";
      const { stdout, stderr } = inNode(script, { env });
      expect(stderr, 'Node itself has seen it').toContain(complaint);
      expect(JSON.parse(stdout)).toEqual({ stderr: '', stdout: '/proc/self/exe\n' });
      expect(stderr.split(complaint), 'and only Node').toHaveLength(2);
    },
    'a shell inside reads no file that the caller named': async (bench) => {
      const file = bench.makeFile('poison.sh', 'echo poisoned\n');
      const script = `const { stdout } = await run(['bash', '-c', 'echo clean'], { mounts: [${JSON.stringify(`${file}:/poison.sh:ro`)}] }); console.log(stdout.trim());`;
      expect(inNode(script, { env: { ...process.env, ...poison } })).toMatchObject({ stderr: '', stdout: 'clean\n' });
      // It would, if it were told to.
      const told = { mounts: [`${file}:/poison.sh:ro`], env: { BASH_ENV: '/poison.sh' } };
      expect((await run(['bash', '-c', 'echo clean'], told, bench.options({}))).stdout).toBe('poisoned\nclean\n');
    },
    'programs are looked for inside the root, with the PATH of the command': async (bench) => {
      const outside = bench.makeDirectory('outside-programs');
      bench.makeFile('outside-programs/only-outside', '#!/bin/sh\necho outside\n', 0o755);
      bench.makeFile('outside-programs/ls', '#!/bin/sh\necho outside\n', 0o755);
      const script = `
        const found = await run(['ls', '-d', '/']);
        const missing = await run(['only-outside']).catch(({ step, reason, errno }) => ({ step, reason, errno }));
        console.log(JSON.stringify({ found: found.stdout, missing }));`;
      const { stdout, stderr } = inNode(script, { env: { ...process.env, PATH: `${outside}:${process.env['PATH']}` } });
      expect(stderr).toBe('');
      expect(JSON.parse(stdout)).toEqual({
        found: '/\n',
        missing: { step: 'exec', reason: 'not-found', errno: 'ENOENT' },
      });
    },
    'each way in which a program cannot be executed has its own reason': async (bench) => {
      const directory = bench.makeDirectory('broken');
      const make = (name: string, content: string | Uint8Array, mode = 0o755): string =>
        bench.makeFile(`broken/${name}`, content, mode);
      make('plain', 'echo x\n', 0o644);
      make('lost', '#!/no/such/interpreter -x\n');
      make('empty', '');
      make('nothing', '#!\n');
      make(
        'noise',
        Buffer.from([
          0x7f,
          0x45,
          0x4c,
          0x46,
          2,
          1,
          1,
          0,
          ...new Array<number>(8).fill(0),
          2,
          0,
          0xf3,
          0,
          ...new Array<number>(64).fill(0),
        ]),
      );
      make('loop', '#!/broken/loop\n');
      mkdirSync(join(directory, 'folder'), { recursive: true });
      const expected = {
        '/broken/absent': { reason: 'not-found', errno: 'ENOENT' },
        '/broken/plain/x': { reason: 'not-found' },
        '/broken/plain': { reason: 'not-executable', errno: 'EACCES' },
        '/broken/folder': { reason: 'directory' },
        '/broken/lost': { reason: 'missing-interpreter', interpreter: '/no/such/interpreter' },
        '/broken/empty': { reason: 'not-a-program', errno: 'ENOEXEC' },
        '/broken/nothing': { reason: 'not-a-program' },
        '/broken/noise': { errno: 'ENOEXEC' },
        '/broken/loop': { reason: 'interpreter-loop' },
      };
      for (const [program, failure] of Object.entries(expected)) {
        const started = run([program], { mounts: [`${directory}:/broken:ro`] }, bench.options({}));
        await expect(started, program).rejects.toMatchObject({ code: 'SBX_LAUNCH_FAILED', step: 'exec', ...failure });
      }
    },
  },
};
