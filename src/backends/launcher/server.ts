// Processes that start sandboxes for this one (native/serve.c). A fork of Node copies the page tables of its whole heap: milliseconds where that is empty, tens
// of them where it is not. So Node forks once, and what it made then forks for every run.
import { type ChildProcess, spawn } from 'node:child_process';
import { isMainThread } from 'node:worker_threads';
import type { BackendPlan, LaunchedProcess, LaunchRequest } from '../backend.ts';
import { callSteps, execStep, isPreparedFor, partsOf, stepsOfCall, stepsOfPreparation } from './call.ts';
import { withCaptures } from './captures.ts';
import { encodePlan, encodeRecords, joinRecords, type Records } from './encode.ts';
import { type CollectRequest, Lane, type LaneSocket } from './lane.ts';
import { encodeCall } from './orders.ts';
import type { LauncherPlan } from './steps.ts';

/** Runs at a time of the first server. */
const FIRST_LANES = 8;
/** Of each that is started because all the others are busy. */
const MORE_LANES = 64;
const FIRST_LANE_FD = 3;
/** How long a server beyond the first may have nothing to do. */
const IDLE_MS = 10_000;

const servers: Server[] = [];
let launches = 0;

/** Says that many runs are to come. */
export function expectRuns(): void {
  launches++;
}

/**
 * Launches by way of a server, which is started when it is first worth it; `undefined` where this launch cannot go that way.
 *
 * `SANDBOXLIB_SERVER`: `off` uses none, `always` one from the first run on, and also with a launcher of the caller's (SANDBOXLIB_LAUNCHER).
 */
export function launchByServer(
  launcher: string,
  plan: BackendPlan<LauncherPlan>,
  request: LaunchRequest,
): LaunchedProcess | undefined {
  const known = knowledgeOf(plan.detail);
  if (request.collect === undefined || !known.mayGo || !isWorthIt()) return undefined;
  const collecting = request as CollectRequest;
  const prepared = pools.get(plan.detail)?.launch(launcher, collecting);
  return prepared ?? idleLane(launcher)?.start(encodeRun(plan.detail, request), collecting, known.confined);
}

/** Keeps `count` sandboxes of this plan ready for commands to come. */
export function keepWarm(launcher: string, { detail }: BackendPlan<LauncherPlan>, count: number): WarmPool {
  const pool = new WarmPool(launcher, detail, count);
  pools.set(detail, pool);
  return pool;
}

const pools = new WeakMap<LauncherPlan, WarmPool>();

/** Sandboxes that wait for their command. Each is used once, and another is made while it is. */
class WarmPool {
  readonly #launcher: string;
  readonly #plan: Uint8Array;
  readonly #confined: boolean;
  readonly #count: number;
  readonly #ready: Lane[] = [];
  #who: string = identity();
  /** One of them could not be made, or did not last: a launch that is awaited says why. */
  #failed = false;
  #closed = false;

  constructor(launcher: string, plan: LauncherPlan, count: number) {
    this.#launcher = launcher;
    this.#count = count;
    const { before, after, confined } = knowledgeOf(plan);
    this.#confined = confined;
    this.#plan = joinRecords([
      before,
      encodeRecords(stepsOfPreparation(plan)),
      after,
      encodeRecords([execStep(plan, [])]),
    ]);
    this.#fill();
  }

  launch(launcher: string, request: CollectRequest): LaunchedProcess | undefined {
    if (this.#closed || launcher !== this.#launcher || !isPreparedFor(request)) return undefined;
    const order = encodeCall(request);
    if (order === undefined) return undefined;
    const who = identity();
    if (who !== this.#who) {
      this.#drop();
      this.#who = who;
    }
    const lane = this.#ready.shift();
    // Behind this launch, and where the last failed not before this one has shown how it goes.
    if (lane === undefined) this.#failed = false;
    setImmediate(() => this.#fill()).unref();
    return lane?.call(order, request, this.#confined);
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  #drop(): void {
    for (const lane of this.#ready.splice(0)) lane.drop();
  }

  #fill(): void {
    while (!this.#closed && !this.#failed && this.#ready.length < this.#count) {
      const lane = idleLane(this.#launcher);
      if (lane === undefined) return;
      this.#ready.push(lane);
      lane.prepare(this.#plan, () => {
        remove(this.#ready, lane);
        this.#failed = true;
      });
    }
  }
}

export type { WarmPool };

/** Ends them all; what they run ends with them. The next launch starts another. */
export async function endServers(): Promise<void> {
  await Promise.all(servers.splice(0).map((server) => server.end()));
}

/** A process that starts one sandbox and ends does not gain by it. */
function isWorthIt(): boolean {
  launches++;
  const choice = process.env['SANDBOXLIB_SERVER'];
  if (choice === 'off') return false;
  if (choice === 'always') return true;
  const launcher = process.env['SANDBOXLIB_LAUNCHER'];
  return launches > 1 && (launcher === undefined || launcher === '');
}

function encodeRun(plan: LauncherPlan, request: LaunchRequest): Uint8Array {
  const { captures = [], stdio } = request;
  const descriptors = stdio[2] === 'stdout' ? [{ from: 1, to: 2 }] : [];
  if (captures.length > 0)
    return encodePlan(callSteps(plan, request, descriptors).map((step) => withCaptures(step, captures)));
  const { before, after } = knowledgeOf(plan);
  return joinRecords([
    before,
    encodeRecords(stepsOfCall(request, descriptors)),
    after,
    encodeRecords([execStep(plan, request.command)]),
  ]);
}

/** What all launches of a plan share. */
interface Knowledge {
  /** A terminal is the caller's, and the server has none; where no pid namespace ends the sandbox, a launcher of its own does. */
  readonly mayGo: boolean;
  readonly confined: boolean;
  readonly before: Records;
  readonly after: Records;
}

const knowledge = new WeakMap<LauncherPlan, Knowledge>();

function knowledgeOf(plan: LauncherPlan): Knowledge {
  const known = knowledge.get(plan);
  if (known !== undefined) return known;
  const { before, after } = partsOf(plan);
  const made = {
    mayGo: plan.steps.every(({ step }) => step !== 'terminal' && step !== 'domain'),
    confined: plan.steps.some((step) => step.step === 'landlock' && step.paths !== undefined),
    before: encodeRecords(before),
    after: encodeRecords(after),
  };
  knowledge.set(plan, made);
  return made;
}

function idleLane(launcher: string): Lane | undefined {
  // A thread may end before its children do, and nobody waits for them then: they would stay as zombies.
  if (!isMainThread) return undefined;
  const who = identity();
  for (const server of [...servers]) {
    // A server stays who this process was when it started it.
    if (server.launcher === launcher && server.who === who) {
      const lane = server.take();
      if (lane !== undefined) return lane;
    } else {
      server.retire();
    }
  }
  const server = Server.start(launcher, who, servers.length === 0 ? FIRST_LANES : MORE_LANES);
  return server?.take();
}

function identity(): string {
  const ids = [process.getuid?.(), process.geteuid?.(), process.getgid?.(), process.getegid?.()];
  return [...ids, ...(process.getgroups?.() ?? [])].join();
}

class Server {
  readonly launcher: string;
  readonly who: string;
  readonly #child: ChildProcess;
  readonly #lanes: Set<Lane>;
  /** The one that has rested longest comes first: its server may still have to see the end of its last run. */
  readonly #idle: Lane[];
  #retired = false;
  #patience: NodeJS.Timeout | undefined;

  /** `undefined` where it cannot be started: a launch without it says why. */
  static start(launcher: string, who: string, lanes: number): Server | undefined {
    const stdio = ['ignore', 'ignore', 'ignore', ...Array<'pipe'>(lanes).fill('pipe')] as const;
    let child: ChildProcess;
    try {
      child = spawn(launcher, ['serve', '--lanes', String(lanes)], { stdio: [...stdio], env: {}, cwd: '/' });
    } catch {
      return undefined;
    }
    // What else goes wrong shows as the end of its lanes.
    child.on('error', () => {});
    child.unref();
    if (child.pid === undefined) return undefined;
    return new Server(child, launcher, who);
  }

  private constructor(child: ChildProcess, launcher: string, who: string) {
    this.#child = child;
    this.launcher = launcher;
    this.who = who;
    const sockets = child.stdio.slice(FIRST_LANE_FD) as unknown as LaneSocket[];
    this.#idle = sockets.map(
      (socket) =>
        new Lane(
          socket,
          (lane) => this.#giveBack(lane),
          (lane) => this.#forget(lane),
        ),
    );
    this.#lanes = new Set(this.#idle);
    servers.push(this);
    // What runs goes on, and its lane ends with it.
    child.once('exit', () => this.retire());
  }

  take(): Lane | undefined {
    const lane = this.#idle.shift();
    if (lane !== undefined) clearTimeout(this.#patience);
    return lane;
  }

  /** Takes no more runs, and ends with the last of those that it has. */
  retire(): void {
    this.#retired = true;
    remove(servers, this);
    for (const lane of this.#idle.splice(0)) lane.close();
  }

  async end(): Promise<void> {
    this.retire();
    for (const lane of this.#lanes) lane.close();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    await new Promise((resolve) => this.#child.once('exit', resolve).ref());
  }

  #giveBack(lane: Lane): void {
    if (this.#retired) {
      lane.close();
      return;
    }
    this.#idle.push(lane);
    if (this.#idle.length < this.#lanes.size || servers[0] === this) return;
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => this.retire(), IDLE_MS).unref();
  }

  #forget(lane: Lane): void {
    this.#lanes.delete(lane);
    remove(this.#idle, lane);
    if (this.#lanes.size === 0) this.retire();
  }
}

function remove<T>(list: T[], entry: T): void {
  const at = list.indexOf(entry);
  if (at >= 0) list.splice(at, 1);
}
