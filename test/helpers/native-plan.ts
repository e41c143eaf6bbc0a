// Plans and runs of the launcher by itself, without the library around: what the tests of native/ start from.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CallerFacts } from '../../src/backends/backend.ts';
import { callSteps } from '../../src/backends/launcher/call.ts';
import { encodePlan } from '../../src/backends/launcher/encode.ts';
import { launcherPath } from '../../src/backends/launcher/locate.ts';
import { parseStatusLine, type StatusLine } from '../../src/backends/launcher/status.ts';
import type { Step } from '../../src/backends/launcher/steps.ts';
import { planNative } from '../../src/backends/native/plan.ts';
import { recognized } from '../../src/backends/native/recognized.ts';
import type { Feature } from '../../src/features/feature.ts';
import { callerFacts } from '../../src/host/facts.ts';
import type { NormalizedSpec } from '../../src/spec/types.ts';

/** An id that no account has: what runs under it owns nothing. */
export const ORDINARY_ID = 54321;
/** Where the programs of a bench are inside. */
export const PROGRAMS = '/programs';

const inNative = (name: string): string => fileURLToPath(new URL(`../../native/test/${name}`, import.meta.url));

export interface Caller {
  readonly name: string;
  readonly uid: number;
}

/** Who can run the launcher in this process: whoever runs the tests, and as root an ordinary user too. */
export function callers(): Caller[] {
  const uid = process.getuid?.() ?? 0;
  if (uid !== 0) return [{ name: 'an ordinary user', uid }];
  return [
    { name: 'root', uid: 0 },
    { name: 'an ordinary user', uid: ORDINARY_ID },
  ];
}

/** A directory, reachable for everybody, with the launcher and test programs in it. */
export interface Bench {
  readonly directory: string;
  readonly launcher: string;
  program(name: string): string;
  remove(): void;
}

export function makeBench(...programs: readonly string[]): Bench {
  const directory = mkdtempSync(join(tmpdir(), 'sandboxlib-bench-'));
  chmodSync(directory, 0o755);
  const launcher = join(directory, 'launcher');
  copyFileSync(launcherPath(), launcher);
  mkdirSync(join(directory, 'programs'));
  const program = (name: string): string => join(directory, 'programs', name);
  for (const name of programs) compile(inNative(`${name}.c`), program(name));
  return { directory, launcher, program, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

function compile(source: string, output: string): void {
  compileWith(['-O1', '-static', '-Wall', '-Wextra', '-Werror', '-Wconversion'], output, source);
}

/** Replaces the bench's launcher by one that watches itself; ends with a report on stderr and another status where it finds a defect. */
export function sanitizeLauncher(bench: Bench): void {
  const sources = readdirSync(inNative('..')).filter((name) => name.endsWith('.c'));
  const flags = ['-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
  rmSync(bench.launcher);
  compileWith(flags, bench.launcher, ...sources.map((name) => inNative(`../${name}`)));
}

function compileWith(flags: readonly string[], output: string, ...sources: readonly string[]): void {
  const args = ['-std=c11', '-D_GNU_SOURCE', ...flags, '-o', output, ...sources];
  const { status, stderr, error } = spawnSync('cc', args, { encoding: 'utf8' });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(stderr);
}

/** The default sandbox for a caller, with the bench's programs in it. */
export function defaultSteps(
  bench: Pick<Bench, 'directory'>,
  uid: number,
  command: readonly [string, ...string[]],
  overrides: Partial<NormalizedSpec> = {},
  facts: Partial<CallerFacts> = {},
  granted: ReadonlySet<Feature> = recognized,
): Step[] {
  const whole = uid === 0;
  const ids = [whole ? { containerID: 0, hostID: 0, size: 4294967295 } : { containerID: uid, hostID: uid, size: 1 }];
  const home = whole ? '/root' : '/home/user';
  const spec: NormalizedSpec = {
    root: {
      kind: 'host',
      path: undefined,
      layers: [],
      image: undefined,
      readonly: true,
      changes: 'keep',
      writablePaths: [],
      missingMountPoints: [],
      coveredDirectories: [],
      hostsFile: undefined,
    },
    mounts: [
      {
        type: 'bind',
        source: join(bench.directory, 'programs'),
        destination: PROGRAMS,
        readonly: true,
        sourceKind: 'directory',
        sizeBytes: undefined,
        mode: undefined,
        origin: 'mounts[0]',
      },
    ],
    workspace: undefined,
    cwd: '/tmp',
    cwdGiven: false,
    env: { PATH: '/usr/bin:/bin', HOME: home },
    home,
    hostname: 'sandbox',
    umask: 0o022,
    user: { uid, gid: uid, additionalGids: [], name: 'user' },
    idMappings: { uid: ids, gid: ids, privileged: uid === 0, needsHelper: false },
    network: 'none',
    limits: { coreBytes: 0 },
    seccomp: 'default',
    onSyscall: undefined,
    capabilities: [],
    landlock: undefined,
    terminal: undefined,
    architecture: undefined,
    notes: [],
    ...overrides,
  };
  const plan = planNative(spec, granted, { ...callerFacts(), uid, gid: uid, ...facts });
  return callSteps(plan.detail, { command, killSignal: 'SIGTERM', gracePeriodMs: 2000 }, []);
}

/** The witness as the command; see native/test/witness.c. */
export function witnessCommand(bench: Pick<Bench, 'directory'>, uid: number): [string, ...string[]] {
  return [`${PROGRAMS}/witness`, String(uid), bench.directory];
}

export interface LauncherRun {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly lines: readonly StatusLine[];
}

/** Runs the launcher on a plan, behind `prefix` where there is one, and waits for it. */
export function runSteps(
  bench: Bench,
  uid: number,
  steps: readonly Step[],
  prefix: readonly string[] = [],
): LauncherRun {
  const file = join(bench.directory, `plan-${uid}`);
  writeFileSync(file, encodePlan(steps));
  const plan = openSync(file, 'r');
  const [command = '', ...args] = [...prefix, bench.launcher, 'run', '--plan-fd', '3', '--status-fd', '4'];
  const ended = spawnSync(command, args, {
    stdio: ['ignore', 'pipe', 'pipe', plan, 'pipe'],
    encoding: 'utf8',
    cwd: '/',
    timeout: 60_000,
    killSignal: 'SIGKILL',
    ...(uid === process.getuid?.() ? {} : { uid, gid: uid }),
  });
  closeSync(plan);
  if (ended.error !== undefined) throw ended.error;
  const status = ended.output[4] ?? '';
  return {
    code: ended.status,
    signal: ended.signal,
    stdout: ended.stdout,
    stderr: ended.stderr,
    lines: status
      .split('\n')
      .filter((line) => line !== '')
      .map(parseStatusLine),
  };
}
