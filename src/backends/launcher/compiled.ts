// A plan that runs by itself: a copy of the launcher with the plan at its end, and what it was made against. native/README.md has the format.
import { readFileSync } from 'node:fs';
import { BackendError } from '../../errors/errors.ts';
import type { BackendPlan, CompileRequest } from '../backend.ts';
import { callSteps } from './call.ts';
import { encodePlan, Writer } from './encode.ts';
import { remedyForLauncher } from './locate.ts';
import type { LauncherPlan, Step } from './steps.ts';

/** What the launcher keeps a place behind: where the rest begins, and how long it is. */
const MARK = Buffer.from('SBX-COMPILED-AT:', 'latin1');
const VERSION = 1;
const flags = { takesCommand: 1, boundsFiles: 2, namesPaths: 4, knowsFormats: 8 } as const;
const groupPlaces = { own: 0, above: 1, top: 2 } as const;
/** A plan needs a command; this one is replaced by the words of the call. */
const NO_COMMAND = ['-'] as const;

export function compilePlan(launcher: string, plan: BackendPlan<LauncherPlan>, request: CompileRequest): Uint8Array {
  const program = readFileSync(launcher);
  const at = program.indexOf(MARK);
  if (at === -1 || program.indexOf(MARK, at + 1) !== -1) {
    const because = `the launcher ${launcher} has no place for a plan`;
    throw new BackendError(
      'nothing can be compiled',
      [{ backend: plan.backend, because }],
      remedyForLauncher(launcher),
    );
  }
  const appended = encodeCompiled(plan.detail, request);
  const place = at + MARK.length;
  program.writeBigUInt64LE(BigInt(program.length), place);
  program.writeBigUInt64LE(BigInt(appended.length), place + 8);
  return Buffer.concat([program, appended]);
}

/** Whether a file's content is what `compilePlan` makes, of any version. */
export function isCompiled(content: Buffer): boolean {
  const at = content.indexOf(MARK);
  return at !== -1 && at + MARK.length + 16 <= content.length && content.readBigUInt64LE(at + MARK.length) !== 0n;
}

function encodeCompiled(plan: LauncherPlan, request: CompileRequest): Uint8Array {
  const { command, facts } = request;
  const [first, ...rest] = command.length === 0 ? NO_COMMAND : command;
  const steps = callSteps(plan, { ...request, command: [first ?? '', ...rest] }, []);
  const w = new Writer();
  w.u32(facts.uid);
  w.u32(facts.gid);
  w.u32(
    (command.length === 0 ? flags.takesCommand : 0) |
      (facts.boundsFiles ? flags.boundsFiles : 0) |
      (steps.some((step) => step.step === 'landlock' && step.paths !== undefined) ? flags.namesPaths : 0) |
      (facts.knowsFormats ? flags.knowsFormats : 0),
  );
  w.u64(BigInt(Math.ceil(facts.processCpuMs ?? 0)));
  w.string(facts.kernel);
  w.string(facts.workspace ?? '');
  for (const list of [facts.inherit, facts.own, facts.set, openPaths(steps)]) strings(w, list);
  const groups = steps.flatMap((step) => (step.step === 'cgroup' ? [facts.groupPlace(step.parent)] : []));
  w.u32(groups.length);
  for (const { controller, mountPoint, root, which } of groups) {
    for (const text of [controller, mountPoint, root]) w.string(text);
    w.u32(groupPlaces[which]);
  }
  w.u32(facts.notices.length);
  for (const { style, text } of facts.notices) {
    w.u32(style);
    w.string(text);
  }
  strings(w, steps.some((step) => step.step === 'seccomp' && step.tells) ? facts.calls() : []);
  w.raw(encodePlan(steps));
  const body = w.bytes();
  const head = Buffer.alloc(16);
  head.write('SBXC', 'latin1');
  head.writeUInt32LE(VERSION, 4);
  head.writeBigUInt64LE(sumOf(body), 8);
  return Buffer.concat([head, body]);
}

function strings(w: Writer, list: readonly string[]): void {
  w.u32(list.length);
  for (const text of list) w.string(text);
}

/** What the host view shows because everybody may read it: whether that still holds no step asks. */
function openPaths(steps: readonly Step[]): string[] {
  return steps.flatMap((step) => {
    if (step.step !== 'mount' || step.kind !== 'bind' || step.source !== step.destination) return [];
    const isOfHostView = step.flags.includes('recursive') && step.flags.includes('readonly');
    const isNamed = (['sourceWithoutLinks', 'sourceInRoot', 'sourceOfRoot'] as const).some((flag) =>
      step.flags.includes(flag),
    );
    return isOfHostView && !isNamed ? [step.source] : [];
  });
}

/** FNV-1a of 64 bits, in two halves: a plan is some kilobytes, and a bigint for each byte would take longer than all the rest. */
function sumOf(bytes: Uint8Array): bigint {
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  for (const byte of bytes) {
    low = (low ^ byte) >>> 0;
    // Times 2 ** 40 + 0x1b3, modulo 2 ** 64.
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
    low = product >>> 0;
  }
  return (BigInt(high) << 32n) | BigInt(low);
}
