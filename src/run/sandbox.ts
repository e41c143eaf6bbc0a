// A spec that is checked, negotiated and planned once, for many runs. Every run still gets a sandbox of its own.
import type { BackendPlan } from '../backends/backend.ts';
import { expectRuns } from '../backends/launcher/server.ts';
import { FeatureError, SandboxError, SpecError } from '../errors/errors.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { Admission } from './admission.ts';
import { type CheckedCall, checkCall, checkSandboxOptions, prepare } from './call.ts';
import { type CheckedOptions, callOptionNames, poolOptionNames, sandboxOptionNames } from './options.ts';
import type { Prepared } from './plan.ts';
import { Process, type Purpose } from './process.ts';
import { refuseUnwritableStdin } from './stdio.ts';
import type { Enforcement, RunOptions, RunResult, Sandbox, SandboxOptions, SandboxProcess } from './types.ts';

/**
 * Checks and negotiates `spec` once; what is wrong with it shows here and not at the first run.
 *
 * @throws {SpecError} with all issues. @throws {FeatureError | BackendError} when this host cannot give what it asks for.
 * @example
 * await using sandbox = await createSandbox({ workspace: '.', limits: { wallMs: '30s' } });
 * await sandbox.run(['make']);
 */
export async function createSandbox(spec: SandboxSpec = {}, options?: SandboxOptions): Promise<Sandbox> {
  const { options: checked, issues } = checkSandboxOptions(options, [...sandboxOptionNames, ...poolOptionNames]);
  if (checked.maxQueue !== Number.POSITIVE_INFINITY && checked.concurrency === Number.POSITIVE_INFINITY)
    issues.push({ path: ['options', 'maxQueue'], message: 'is for runs that wait, and without concurrency none does' });
  expectRuns();
  return new PreparedSandbox(await prepare(spec, checked, issues), checked);
}

type PerRunOptions = Omit<RunOptions, 'backend' | 'optional' | 'image'>;

class PreparedSandbox implements Sandbox {
  readonly #prepared: Prepared;
  readonly #running = new Set<Process>();
  readonly #admission: Admission;
  readonly #warm: { close(): void } | undefined;
  #disposed = false;

  constructor(prepared: Prepared, { warm, concurrency, maxQueue }: CheckedOptions) {
    this.#prepared = prepared;
    this.#admission = new Admission(concurrency, maxQueue);
    // What each run has anew is nothing to make ahead.
    const { backend, plan, begin, keeper } = prepared;
    if (warm > 0 && begin === undefined && keeper === undefined) this.#warm = backend.keepWarm?.(plan, warm);
  }

  get enforcement(): Enforcement {
    return this.#prepared.enforcement;
  }

  get plan(): BackendPlan {
    return this.#prepared.plan;
  }

  async run(command: readonly string[], options?: PerRunOptions): Promise<RunResult> {
    return this.#begin('run', command, options).result;
  }

  spawn(command: readonly string[], options?: PerRunOptions): SandboxProcess {
    return this.#begin('handle', command, options);
  }

  async dispose(): Promise<void> {
    this.#disposed = true;
    this.#warm?.close();
    for (const running of this.#running) running.kill();
    await Promise.allSettled([...this.#running].map(({ result }) => result));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #begin(purpose: Purpose, command: unknown, options: unknown): Process {
    const call = checkCall(command, options, callOptionNames, this.#prepared.commandOf !== undefined);
    if (purpose === 'run') refuseUnwritableStdin(call);
    let isIn = false;
    const prepareCall = (): Prepared => {
      isIn = true;
      return this.#prepareCall(call);
    };
    const running = new Process(call, purpose, (ordered) => {
      // A wrong call is that, however many wait.
      this.#prepareCall(call);
      const turn = this.#admission.enter(ordered);
      if (turn === undefined) return prepareCall();
      return turn.then((admitted) => (admitted ? prepareCall() : this.#prepared));
    });
    this.#running.add(running);
    const forget = (): void => {
      this.#running.delete(running);
      if (isIn) this.#admission.leave();
      isIn = false;
    };
    running.result.then(forget, forget);
    return running;
  }

  #prepareCall(call: CheckedCall): Prepared {
    if (call.issues.length > 0) throw new SpecError(call.issues);
    if (this.#disposed) {
      throw new SandboxError('SBX_SANDBOX_DISPOSED', 'this sandbox was disposed of', { remedy: 'create another one' });
    }
    const { backend } = this.#prepared;
    if (call.options.descriptors.size > 0 && !backend.recognized.has('descriptors')) {
      throw new FeatureError(backend.name, [{ feature: 'descriptors', because: 'this backend does not know it' }]);
    }
    return this.#prepared;
  }
}
