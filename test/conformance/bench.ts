// What each case of the suite works with: one backend, the guest inside of it, and a directory of its own.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BackendName } from '../../src/backends/backend.ts';
import { registry } from '../../src/backends/registry.ts';
import { type Feature, features } from '../../src/features/feature.ts';
import { type RequirementOptions, requirements } from '../../src/features/requirements.ts';
import { createSandbox, type DeniedCall, run, spawn } from '../../src/index.ts';
import type { RunOptions, RunResult, SandboxProcess } from '../../src/run/types.ts';
import type { SandboxSpec } from '../../src/spec/types.ts';
import { barePath, guestPath } from '../helpers/guest.ts';

const GUEST_INSIDE = '/guest';

export class Bench {
  readonly backend: BackendName;
  readonly recognized: ReadonlySet<Feature>;
  readonly #warm: boolean;
  #directory: string | undefined;

  /** `warm`: runs are those of a sandbox that is made ready before it is known what it is for. */
  constructor(backend: BackendName, { warm = false }: { readonly warm?: boolean } = {}) {
    this.backend = backend;
    this.#warm = warm;
    this.recognized = registry.find(({ name }) => name === backend)?.recognized ?? new Set();
  }

  /** Preconditions: the test process may write to its temporary directory, and the sandbox's user may read there. */
  open(): void {
    this.#directory = mkdtempSync(join(tmpdir(), 'bench-'));
    chmodSync(this.#directory, 0o755);
    process.env['XDG_CACHE_HOME'] = this.cacheDirectory;
    copyFileSync(guestPath(), this.guestOutside);
    chmodSync(this.guestOutside, 0o755);
    copyFileSync(barePath(), this.bareOutside);
    chmodSync(this.bareOutside, 0o755);
    if (!this.isRoot) return;
    // A program on PATH, a directory to start in, and one for proc.
    mkdirSync(join(this.directory, 'usr/bin'), { recursive: true });
    mkdirSync(join(this.directory, 'proc'));
    copyFileSync(this.guestOutside, join(this.directory, 'usr/bin/true'));
  }

  close(): void {
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true });
  }

  /** On the host. */
  get directory(): string {
    if (this.#directory === undefined) throw new Error('the bench is not open');
    return this.#directory;
  }

  /** Where the store of images is. */
  get cacheDirectory(): string {
    return join(this.directory, 'cache');
  }

  get guestOutside(): string {
    return join(this.directory, 'guest');
  }

  /** A program without a C library. */
  get bareOutside(): string {
    return join(this.directory, 'bare');
  }

  /** Whether the command sees files of the host only where a mount puts them. */
  get hasMounts(): boolean {
    return this.recognized.has('mount.bind');
  }

  /** Whether the directory of the bench is the root, because there are no mounts to show it by. */
  get isRoot(): boolean {
    return !this.hasMounts && this.recognized.has('root.path');
  }

  /** Where the command finds `path` of the host, given a mount of `mountsFor(path)`. */
  inside(path: string): string {
    if (this.isRoot) return path.slice(this.directory.length);
    return this.hasMounts ? `/mnt${path}` : path;
  }

  mountsFor(path: string, access: 'ro' | 'rw' = 'ro'): string[] {
    return this.hasMounts ? [`${path}:${this.inside(path)}:${access}`] : [];
  }

  /** The guest as a command. */
  guest(args: readonly (string | number)[]): string[] {
    return [this.hasMounts || this.isRoot ? GUEST_INSIDE : this.guestOutside, ...args.map(String)];
  }

  /** `spec` with the guest in it. */
  withGuest(spec: SandboxSpec): SandboxSpec {
    if (!this.hasMounts) return this.withRoot(spec);
    return { ...spec, mounts: [`${this.guestOutside}:${GUEST_INSIDE}:ro`, ...(spec.mounts ?? [])] };
  }

  /** `spec` with a root, where the backend has none of its own. */
  withRoot(spec: SandboxSpec): SandboxSpec {
    return this.isRoot ? { root: { path: this.directory, readonly: false }, ...spec } : spec;
  }

  /** `spec` with the programs of the host in it: where the backend has no view of it, and needs a root, all of it. */
  withHost(spec: SandboxSpec): SandboxSpec {
    const alreadyThere = this.recognized.has('root.host') || !this.recognized.has('root.path');
    return alreadyThere ? spec : { root: { path: '/', readonly: false }, ...spec };
  }

  options(options: RunOptions): RunOptions {
    return { ...this.relaxed(), ...options, backend: this.backend };
  }

  /** Some backends give little of what every sandbox promises, so that the rest is optional there: what they do know must hold all the same. */
  relaxed(): Pick<RunOptions, 'optional'> {
    if (this.backend === 'none') return { optional: 'all' };
    return this.hasMounts ? {} : { optional: features.filter((feature) => !this.recognized.has(feature)) };
  }

  /**
   * Those of `specs` that ask for no more than `{}` does, or for what this backend knows. The others are refused by name, which the conformance suite
   * tries feature by feature.
   *
   * @throws when none is left: then nothing would be tried.
   */
  offered<Spec extends SandboxSpec>(specs: readonly Spec[]): Spec[] {
    const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
    const options: RequirementOptions = { caller: { uid, gid } };
    const asked = requirements({}, options);
    const left = specs.filter((spec) =>
      [...requirements(spec, options)].every((feature) => asked.has(feature) || this.recognized.has(feature)),
    );
    if (left.length === 0) throw new Error(`backend ${this.backend} offers none of ${JSON.stringify(specs)}`);
    return left;
  }

  run(args: readonly (string | number)[], spec: SandboxSpec = {}, options: RunOptions = {}): Promise<RunResult> {
    return this.#run(this.guest(args), this.withGuest(spec), this.options(options));
  }

  spawn(args: readonly (string | number)[], spec: SandboxSpec = {}, options: RunOptions = {}): SandboxProcess {
    return spawn(this.guest(args), this.withGuest(spec), this.options(options));
  }

  /** As `run`, of the program without a C library. */
  bare(args: readonly (string | number)[], spec: SandboxSpec = {}, options: RunOptions = {}): Promise<RunResult> {
    const mounts = [...this.mountsFor(this.bareOutside), ...(spec.mounts ?? [])];
    const placed = this.hasMounts ? { ...spec, mounts } : this.withRoot(spec);
    return this.#run([this.inside(this.bareOutside), ...args.map(String)], placed, this.options(options));
  }

  async #run(command: string[], spec: SandboxSpec, options: RunOptions): Promise<RunResult> {
    if (!this.#warm) return run(command, spec, options);
    const { backend, optional, image, ...call } = options;
    const forSandbox = { backend, optional, image, warm: 1 };
    const given = Object.entries(forSandbox).filter(([, value]) => value !== undefined);
    await using sandbox = await createSandbox(spec, Object.fromEntries(given));
    return await sandbox.run(command, call);
  }

  /** The outcome of a command that its profile kills. Which call it was is known where no other filter is in force before: theirs, or that of the tool. */
  killedFor(call: Partial<DeniedCall> = {}): object {
    if (['chroot', 'proot'].includes(this.backend)) return { kind: 'signalled', signal: 'SIGSYS' };
    return { kind: 'denied', rule: 'seccomp', syscall: call };
  }

  /** stdout of a run that must end with status 0. */
  async answer(args: readonly (string | number)[], spec: SandboxSpec = {}, options: RunOptions = {}): Promise<string> {
    const result = await this.run(args, spec, { stripFinalNewline: true, ...options });
    return result.assertSuccess().stdout as string;
  }

  /** stdout of a run that must end with status 1: what the guest's call failed with. */
  async refusal(args: readonly (string | number)[], spec: SandboxSpec = {}): Promise<string> {
    const { stdout, outcome } = await this.run(args, spec, { stripFinalNewline: true });
    if (outcome.kind !== 'exited' || outcome.code !== 1)
      throw new Error(`${args.join(' ')}: ${JSON.stringify(outcome)}, ${stdout}`);
    return stdout as string;
  }

  /** What `fds` says when the command has just `wanted`. On `none` what this process itself inherited without close-on-exec goes on. */
  openDescriptors(wanted: readonly number[]): string {
    const passedOn = this.backend === 'none' ? inheritable() : [];
    return [...new Set([...wanted, ...passedOn])].sort((a, b) => a - b).join('\n');
  }

  makeDirectory(name: string): string {
    const path = join(this.directory, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  makeFile(name: string, content: string | Uint8Array, mode = 0o644): string {
    const path = join(this.directory, name);
    writeFileSync(path, content);
    chmodSync(path, mode);
    return path;
  }
}

/** Descriptors of this process beyond 2 without O_CLOEXEC; proc_pid_fdinfo(5) has the flags in octal. */
function inheritable(): number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((number) => {
      const info =
        number > 2 && existsSync(`/proc/self/fdinfo/${number}`)
          ? readFileSync(`/proc/self/fdinfo/${number}`, 'utf8')
          : '';
      const flags = /^flags:\s*([0-7]+)$/m.exec(info)?.[1];
      return flags !== undefined && (Number.parseInt(flags, 8) & 0o2000000) === 0;
    });
}

/** What the guest's `flood` and `bytewise` write. */
export function pattern(bytes: number): Uint8Array {
  const expected = new Uint8Array(bytes);
  for (let index = 0; index < bytes; index++) expected[index] = index % 251;
  return expected;
}

export function sameBytes(got: unknown, expected: Uint8Array): boolean {
  return got instanceof Uint8Array && Buffer.compare(got, expected) === 0;
}
