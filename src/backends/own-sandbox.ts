// The sandbox of a program that this library runs for itself: one that reads what is hostile, or one that needs ids that the caller has not. It is the native
// backend's, and nothing is negotiated: what these programs are kept from is not the caller's choice.
import { requirements } from '../features/requirements.ts';
import { callerFacts } from '../host/facts.ts';
import { nodeSpecHost } from '../spec/host.ts';
import { normalize } from '../spec/normalize.ts';
import type { NormalizedSpec, SandboxSpec } from '../spec/types.ts';
import type { Backend, BackendPlan, CallerFacts, LaunchedProcess, LaunchRequest } from './backend.ts';
import { loadBackend } from './registry.ts';

export interface OwnSandboxOptions {
  /** What is there of the host beside the mounts: its system directories, as in any sandbox, or nothing. */
  readonly view: 'system' | 'nothing';
  /** Whether the program gets descriptors beside its standard streams. */
  readonly descriptors?: boolean;
}

export class OwnSandbox {
  readonly idMappings: NormalizedSpec['idMappings'];
  readonly #backend: Backend;
  readonly #plan: BackendPlan;

  private constructor(backend: Backend, plan: BackendPlan, { idMappings }: NormalizedSpec) {
    this.#backend = backend;
    this.#plan = plan;
    this.idMappings = idMappings;
  }

  /** @throws {SpecError} where this host has not what the spec names, ranges of ids for example. */
  static async of(spec: SandboxSpec, { view, descriptors = false }: OwnSandboxOptions): Promise<OwnSandbox> {
    const backend = await loadBackend('native');
    const facts = callerFacts();
    const normalized = normalize(spec, nodeSpecHost());
    const { uid, gid } = facts;
    const granted = requirements(spec, { caller: { uid, gid }, descriptors });
    const seen = view === 'nothing' ? seeingNothing(facts) : facts;
    return new OwnSandbox(backend, backend.plan(normalized, granted, seen), normalized);
  }

  /** @throws {LaunchError} by what it gives. */
  launch(command: LaunchRequest['command'], stdio: LaunchRequest['stdio']): LaunchedProcess {
    return this.#backend.launch(this.#plan, { command, stdio, killSignal: 'SIGKILL', gracePeriodMs: 0 });
  }
}

function seeingNothing(facts: CallerFacts): CallerFacts {
  // Most of the facts are read when they are first asked for, which a copy would do for all of them.
  return Object.create(facts, { topLevel: { value: [] }, etcEntries: { value: [] } }) as CallerFacts;
}
