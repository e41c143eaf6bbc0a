// A spec that is checked, negotiated and planned once, for many runs. Every run still gets a sandbox of its own.
import type { BackendPlan } from '../backends/backend.ts';
import { expectRuns } from '../backends/launcher/server.ts';
import { FeatureError, SandboxError, SpecError } from '../errors/errors.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { type CheckedCall, checkCall, checkSandboxOptions, type Prepared, prepare } from './launch.ts';
import { callOptionNames } from './options.ts';
import { Process, type Purpose } from './process.ts';
import { refuseUnwritableStdin } from './stdio.ts';
import type { Enforcement, RunOptions, RunResult, Sandbox, SandboxProcess } from './types.ts';

/**
 * Checks and negotiates `spec` once; what is wrong with it shows here and not at the first run.
 *
 * @throws {SpecError} with all issues. @throws {FeatureError | BackendError} when this host cannot give what it asks for.
 * @example
 * await using sandbox = await createSandbox({ workspace: '.', limits: { wallMs: '30s' } });
 * await sandbox.run(['make']);
 */
export async function createSandbox(
  spec: SandboxSpec = {},
  options?: Pick<RunOptions, 'backend' | 'optional' | 'image'>,
): Promise<Sandbox> {
  const { options: checked, issues } = checkSandboxOptions(options);
  expectRuns();
  return new PreparedSandbox(await prepare(spec, checked, issues));
}

type PerRunOptions = Omit<RunOptions, 'backend' | 'optional' | 'image'>;

class PreparedSandbox implements Sandbox {
  readonly #prepared: Prepared;
  readonly #running = new Set<Process>();
  #disposed = false;

  constructor(prepared: Prepared) {
    this.#prepared = prepared;
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
    for (const running of this.#running) running.kill();
    await Promise.allSettled([...this.#running].map(({ result }) => result));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #begin(purpose: Purpose, command: unknown, options: unknown): Process {
    const call = checkCall(command, options, callOptionNames, this.#prepared.commandOf !== undefined);
    if (purpose === 'run') refuseUnwritableStdin(call);
    const running = new Process(call, purpose, () => this.#prepareCall(call));
    this.#running.add(running);
    const forget = (): void => {
      this.#running.delete(running);
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
