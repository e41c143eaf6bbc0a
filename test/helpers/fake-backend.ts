// A backend that launches nothing: the test decides when and how each run ends, and looks at what was asked of it.
import { PassThrough } from 'node:stream';
import type {
  Backend,
  BackendName,
  BackendReport,
  LaunchEnd,
  LaunchedProcess,
  LaunchRequest,
} from '../../src/backends/backend.ts';
import type { Availability, Feature } from '../../src/features/feature.ts';
import type { CheckedCall } from '../../src/run/call.ts';
import { checkCall } from '../../src/run/call.ts';
import { runOptionNames } from '../../src/run/options.ts';
import type { Prepared } from '../../src/run/plan.ts';
import type { RunOptions } from '../../src/run/types.ts';
import type { NormalizedSpec } from '../../src/spec/types.ts';

export interface FakeLaunch extends LaunchedProcess {
  readonly request: LaunchRequest;
  readonly stdin: PassThrough | undefined;
  readonly stdout: PassThrough | undefined;
  readonly stderr: PassThrough | undefined;
  /** `terminate SIGTERM 2000`, `kill`, ...: what was asked, in order. */
  readonly orders: readonly string[];
  start(): void;
  /** Closes the outputs and settles `ended`. */
  end(end?: Partial<LaunchEnd>): void;
  fail(error: unknown): void;
}

export interface FakeBackend extends Backend {
  readonly launches: FakeLaunch[];
  readonly probes: number;
}

export interface FakeOptions {
  readonly name?: BackendName;
  readonly recognized?: readonly Feature[];
  readonly usable?: Availability;
  readonly unavailable?: readonly Feature[];
}

export function fakeBackend(options: FakeOptions = {}): FakeBackend {
  const { name = 'none', recognized = [], unavailable = [], usable = { available: true, mechanism: 'fake' } } = options;
  const launches: FakeLaunch[] = [];
  let probes = 0;
  return {
    name,
    launches,
    get probes() {
      return probes;
    },
    recognized: new Set(recognized),
    async probe(): Promise<BackendReport> {
      probes += 1;
      const features = recognized.map((feature): [Feature, Availability] => [
        feature,
        unavailable.includes(feature)
          ? { available: false, because: 'the fake host lacks it', remedy: 'use another host' }
          : { available: true, mechanism: 'fake' },
      ]);
      return { backend: name, usable, features: new Map(features) };
    },
    plan: (_spec, granted) => ({
      backend: name,
      applied: [...granted].map((feature) => ({ feature, mechanism: 'fake' })),
      notes: [],
      detail: undefined,
    }),
    launch(_plan, request) {
      const launch = fakeLaunch(request);
      launches.push(launch);
      return launch;
    },
  };
}

/** What `prepare` gives for a spec that this backend serves. */
export function preparedFor(
  backend: Backend,
  applied: readonly Feature[] = [],
  limits: Partial<NormalizedSpec['limits']> = {},
): Prepared {
  const plan = {
    backend: backend.name,
    applied: applied.map((feature) => ({ feature, mechanism: 'fake' })),
    notes: [],
    detail: undefined,
  };
  const spec = { limits: { coreBytes: 0, ...limits } } as NormalizedSpec;
  const request = { required: new Set(applied), optional: [], wished: new Set<Feature>(), chosen: backend.name };
  const enforcement = { backend: backend.name, applied: plan.applied, skipped: [] };
  return { spec, backend, plan, enforcement, request, keeper: undefined, commandOf: undefined };
}

/** A call whose options are known to be right. */
export function callOf(options: RunOptions = {}, command: readonly string[] = ['cmd']): CheckedCall {
  const call = checkCall(command, options, runOptionNames);
  if (call.issues.length > 0) throw new Error(JSON.stringify(call.issues));
  return call;
}

const plainEnd: LaunchEnd = {
  code: 0,
  signal: undefined,
  cause: { kind: 'command' },
  stdoutTruncated: false,
  stderrTruncated: false,
  usage: { wallMs: 1 },
};

function fakeLaunch(request: LaunchRequest): FakeLaunch {
  const orders: string[] = [];
  const stream = (fd: number): PassThrough | undefined =>
    request.stdio[fd] === 'pipe' ? new PassThrough() : undefined;
  const [stdin, stdout, stderr] = [stream(0), stream(1), stream(2)];
  const closeOutputs = (): void => {
    stdout?.end();
    stderr?.end();
    stdin?.destroy();
  };
  let start: () => void = () => {};
  let refuse: (error: unknown) => void = () => {};
  let resolve: (end: LaunchEnd) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const started = new Promise<void>((onStart, onFail) => {
    start = onStart;
    refuse = onFail;
  });
  const ended = new Promise<LaunchEnd>((onEnd, onFail) => {
    resolve = onEnd;
    reject = onFail;
  });
  started.catch(() => {});
  ended.catch(() => {});
  return {
    request,
    pid: 4711,
    stdin,
    stdout,
    stderr,
    extra: new Map(),
    started,
    ended,
    orders,
    terminate: (signal = request.killSignal, gracePeriodMs = request.gracePeriodMs) =>
      void orders.push(`terminate ${signal} ${gracePeriodMs}`),
    kill: () => void orders.push('kill'),
    signal: (signal) => void orders.push(`signal ${signal}`),
    forward: (signal) => void orders.push(`forward ${signal}`),
    resize: (columns, rows) => void orders.push(`resize ${columns} ${rows}`),
    ref: () => {},
    unref: () => {},
    start,
    end(end = {}) {
      start();
      closeOutputs();
      resolve({ ...plainEnd, ...end });
    },
    fail(error) {
      closeOutputs();
      refuse(error);
      reject(error);
    },
  };
}
