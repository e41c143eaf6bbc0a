// Processes that start sandboxes for this one (native/serve.c). A fork of Node copies the page tables of its whole heap: milliseconds where that is empty, tens
// of them where it is not. So Node forks once, and what it made then forks for every run.
import { type ChildProcess, spawn } from 'node:child_process';
import { InternalError } from '../../errors/errors.ts';
import type { BackendPlan, LaunchedProcess, LaunchRequest } from '../backend.ts';
import { callSteps, execStep, isPreparedFor, partsOf, stepsOfCall, stepsOfPreparation } from './call.ts';
import { withCaptures } from './captures.ts';
import { encodePlan, encodeRecords, joinRecords, type Records } from './encode.ts';
import { Lane, type LaneSocket, type LentStreams } from './lane.ts';
import { encodeCall, encodeLend } from './orders.ts';
import type { LauncherPlan } from './steps.ts';

interface Size {
  /** Runs at a time. */
  readonly lanes: number;
  /** Sockets that can be a stream of a run, of one each. */
  readonly streams: number;
}

const FIRST: Size = { lanes: 8, streams: 0 };
/** Of each that is started because all the others are busy. */
const MORE: Size = { lanes: 64, streams: 0 };
/** Of each that is started because no other has streams left. Three are the most that a run needs. */
const WITH_STREAMS: Size = { lanes: 16, streams: 48 };
const STREAMS_OF_RUN = 3;
const ORDERS_FD = 3;
const FIRST_LANE_FD = ORDERS_FD + 1;
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
  // In this order: what is known of a plan is its encoding, which takes as long as planning.
  if (!isOnlyPipes(request) || !isWorthIt()) return undefined;
  const known = knowledgeOf(plan.detail);
  if (!known.mayGo) return undefined;
  const prepared = request.collect === undefined ? undefined : pools.get(plan.detail)?.launch(launcher, request);
  if (prepared !== undefined) return prepared;
  const piped = request.collect === undefined ? ([0, 1, 2] as const).filter((fd) => request.stdio[fd] === 'pipe') : [];
  const place = findPlace(launcher, piped);
  return place?.lane.start(encodeRun(plan.detail, request), request, known.confined, place.streams);
}

/** What the caller passes on as it is, no server has. */
function isOnlyPipes({ stdio }: LaunchRequest): boolean {
  return stdio.length <= 3 && stdio.every((entry) => entry === 'pipe' || entry === 'ignore' || entry === 'stdout');
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

  launch(launcher: string, request: LaunchRequest): LaunchedProcess | undefined {
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
      const lane = findPlace(this.#launcher, [])?.lane;
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

/** A lane, and the streams that go with what is next started on it. */
interface Place {
  readonly lane: Lane;
  readonly streams: LentStreams;
}

function findPlace(launcher: string, piped: readonly (0 | 1 | 2)[]): Place | undefined {
  if (!isMainThread()) return undefined;
  const who = identity();
  for (const server of [...servers]) {
    // A server stays who this process was when it started it.
    if (server.launcher === launcher && server.who === who) {
      const place = server.take(piped);
      if (place !== undefined) return place;
    } else {
      server.retire();
    }
  }
  const size = piped.length > 0 ? WITH_STREAMS : servers.length === 0 ? FIRST : MORE;
  return Server.start(launcher, who, size)?.take(piped);
}

let mainThread: boolean | undefined;

/** Of a thread that is not, nobody waits for the children when it ends before them: they would stay as zombies. */
function isMainThread(): boolean {
  // Loaded here: it takes 2 ms, and a process that runs one command does not get here. Not by `createRequire`, for which `node:module` takes another.
  mainThread ??= process.getBuiltinModule('node:worker_threads').isMainThread;
  return mainThread;
}

function identity(): string {
  const ids = [process.getuid?.(), process.geteuid?.(), process.getgid?.(), process.getegid?.()];
  return [...ids, ...(process.getgroups?.() ?? [])].join();
}

class Server {
  readonly launcher: string;
  readonly who: string;
  readonly #child: ChildProcess;
  readonly #orders: LaneSocket;
  readonly #lanes: Set<Lane>;
  readonly #numbers: ReadonlyMap<Lane, number>;
  /** The one that has rested longest comes first: its server may still have to see the end of its last run. */
  readonly #idle: Lane[];
  /** Those that no run had yet, by their numbers. */
  readonly #streams: (readonly [number, LaneSocket])[];
  #retired = false;
  #patience: NodeJS.Timeout | undefined;

  /** `undefined` where it cannot be started: a launch without it says why. */
  static start(launcher: string, who: string, { lanes, streams }: Size): Server | undefined {
    const sockets = Array<'pipe'>(FIRST_LANE_FD - ORDERS_FD + lanes + streams).fill('pipe');
    const args = ['serve', '--lanes', String(lanes), '--streams', String(streams)];
    let child: ChildProcess;
    try {
      child = spawn(launcher, args, { stdio: ['ignore', 'ignore', 'ignore', ...sockets], env: {}, cwd: '/' });
    } catch {
      return undefined;
    }
    // What else goes wrong shows as the end of its lanes.
    child.on('error', () => {});
    child.unref();
    if (child.pid === undefined) return undefined;
    return new Server(child, launcher, who, lanes);
  }

  private constructor(child: ChildProcess, launcher: string, who: string, lanes: number) {
    this.#child = child;
    this.launcher = launcher;
    this.who = who;
    const [orders, ...sockets] = child.stdio.slice(ORDERS_FD) as unknown as [LaneSocket, ...LaneSocket[]];
    this.#orders = orders;
    for (const socket of [orders, ...sockets.slice(lanes)]) {
      socket.unref();
      // As of a lane: the end says it.
      socket.on('error', () => {});
    }
    this.#idle = sockets.slice(0, lanes).map(
      (socket) =>
        new Lane(
          socket,
          (lane) => this.#giveBack(lane),
          (lane) => this.#forget(lane),
        ),
    );
    this.#numbers = new Map(this.#idle.map((lane, number) => [lane, number]));
    this.#streams = sockets.slice(lanes).map((socket, number) => [number, socket]);
    this.#lanes = new Set(this.#idle);
    servers.push(this);
    // What runs goes on, and its lane ends with it.
    child.once('exit', () => this.retire());
  }

  take(piped: readonly (0 | 1 | 2)[]): Place | undefined {
    if (piped.length > this.#streams.length) return undefined;
    const lane = this.#idle.shift();
    if (lane === undefined) return undefined;
    clearTimeout(this.#patience);
    return { lane, streams: this.#lend(lane, piped) };
  }

  get #hasStreams(): boolean {
    return this.#streams.length >= STREAMS_OF_RUN;
  }

  #lend(lane: Lane, piped: readonly (0 | 1 | 2)[]): LentStreams {
    const lent: { [Descriptor in 0 | 1 | 2]?: LaneSocket } = {};
    for (const descriptor of piped) {
      const [stream, socket] = this.#streams.shift() ?? [];
      const number = this.#numbers.get(lane);
      if (stream === undefined || socket === undefined || number === undefined)
        throw new InternalError('a server lends what it does not have');
      this.#orders.write(encodeLend(number, descriptor, stream));
      socket.ref();
      lent[descriptor] = socket;
    }
    return lent;
  }

  /** Takes no more runs, and ends with the last of those that it has. */
  retire(): void {
    this.#retired = true;
    remove(servers, this);
    for (const lane of this.#idle.splice(0)) lane.close();
    for (const [, socket] of this.#streams.splice(0)) socket.destroy();
    if (this.#lanes.size === 0) this.#orders.destroy();
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
    if (this.#idle.length < this.#lanes.size) return;
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => this.#isNeeded() || this.retire(), IDLE_MS).unref();
  }

  /** Though it has nothing to do: the next run would need another. */
  #isNeeded(): boolean {
    return servers[0] === this || (this.#hasStreams && !servers.some((other) => other !== this && other.#hasStreams));
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
