// How programs of another architecture run: which mechanism this host has for one, and the step of a plan that sets it up. Pure.
import { FeatureError, type MissingFeature } from '../../errors/errors.ts';
import { magicOf, qemuName } from '../../host/elf.ts';
import { type EmulationFacts, registeredFor } from '../../host/emulation.ts';
import { isAtLeast } from '../../host/findings/rule.ts';
import type { Architecture } from '../../spec/architectures.ts';
import type { IdMapping, NormalizedSpec } from '../../spec/types.ts';
import type { CallerFacts } from '../backend.ts';
import type { Step } from '../launcher/steps.ts';

export type FormatStep = Extract<Step, { step: 'binfmt' }>;

export type Emulation =
  /** The kernel runs them as its own, under the same filter of system calls. */
  | { readonly kind: 'kernel'; readonly architecture: Architecture }
  /** By a table of the sandbox's own. */
  | { readonly kind: 'table'; readonly architecture: Architecture; readonly interpreter: string }
  /** By an entry of the host's table, which holds in every user namespace that has none of its own. */
  | { readonly kind: 'host'; readonly architecture: Architecture; readonly entry: string };

/**
 * The best that this host seems to have. What only trying can tell, such as whether a filter of system calls is in the way, the launch tells.
 *
 * A table of one's own comes before the host's, which somebody may change meanwhile, and whose interpreter lies on a mount that is not read-only.
 * The kernel comes last: whether it still runs i386 programs cannot be read anywhere, and under the default filter they have no sockets there, if
 * their C library is an old one (docs/decisions/0009).
 */
export function findEmulation(architecture: Architecture, facts: EmulationFacts): Emulation | MissingFeature {
  const interpreter = facts.interpreters[architecture];
  const registered = registeredFor(architecture, facts);
  // Before that release a user namespace has no table, unless somebody patched the kernel; with nothing else at hand it is tried.
  if (interpreter !== undefined && (registered === undefined || isAtLeast(facts.kernelRelease, 6, 7))) {
    return { kind: 'table', architecture, interpreter };
  }
  if (registered !== undefined) return { kind: 'host', architecture, entry: registered.name };
  if (facts.compatible.includes(architecture)) return { kind: 'kernel', architecture };
  return {
    feature: 'architecture',
    because: `nothing here runs programs for ${architecture}: there is no qemu-${qemuName(architecture)}-static in /usr/bin or /usr/local/bin, and the host has not registered their format`,
    remedy: INSTALL,
  };
}

/** What to do where no program of another architecture can run. */
export const INSTALL =
  'install qemu-user-static, which needs Linux 6.7; before, register the format on the host with flag F';

/** @throws {FeatureError} when nothing runs programs of the architecture that the spec asks for. */
export function emulationOf(architecture: Architecture, { emulation }: CallerFacts): Emulation {
  const found = findEmulation(architecture, emulation);
  if ('feature' in found) throw new FeatureError('native', [found]);
  return found;
}

/** In the kernel's words. */
export function describeEmulation(emulation: Emulation): string {
  switch (emulation.kind) {
    case 'kernel':
      return 'IA-32 emulation of the kernel';
    case 'table':
      return `binfmt_misc of a user namespace, ${emulation.interpreter}`;
    case 'host':
      return `binfmt_misc of the host, entry ${emulation.entry}`;
  }
}

export function emulationNotes(emulation: Emulation): string[] {
  if (emulation.kind === 'kernel') return [];
  return [
    `programs for ${emulation.architecture} run in QEMU, and the filter of system calls sees what QEMU asks of this host's kernel`,
  ];
}

/**
 * The table is a file of uid 0 and gid 0 of the user namespace that it belongs to. Where the sandbox has no such ids, as for an ordinary user by
 * default, it belongs to one around the sandbox's.
 *
 * @throws {FeatureError} for mappings that allow neither.
 */
export function formatStep(
  emulation: Emulation,
  { idMappings }: NormalizedSpec,
  caller: CallerFacts,
): FormatStep | undefined {
  if (emulation.kind !== 'table') return undefined;
  const { uid, gid, privileged, needsHelper } = idMappings;
  const around = !(hasRoot(uid) && hasRoot(gid));
  const ownIds = isJust(uid, caller.uid) && isJust(gid, caller.gid);
  if (around && (privileged || needsHelper || !ownIds)) {
    const because = 'the table of formats belongs to uid 0 and gid 0 of the sandbox, which the id mappings leave out';
    const remedy = 'map container ids from 0 on, in uidMappings and gidMappings; or leave both out';
    throw new FeatureError('native', [{ feature: 'architecture', because, remedy }]);
  }
  const { magic, mask } = magicOf(emulation.architecture);
  return {
    step: 'binfmt',
    around,
    ifPossible: false,
    formats: [
      {
        name: emulation.architecture,
        interpreter: emulation.interpreter,
        flags: FLAGS,
        magic: Buffer.from(magic).toString('base64'),
        mask: Buffer.from(mask).toString('base64'),
      },
    ],
  };
}

/**
 * An empty table. The host's counts in every user namespace that has none of its own, and an interpreter that was opened when it was registered lies
 * on the host's own mount: by /proc/PID/exe of a program that it runs, a command that is uid 0 of the host could change its mode or its owner.
 */
export const hiddenFormats: FormatStep = { step: 'binfmt', around: false, ifPossible: true, formats: [] };

/** @throws {FeatureError} where the command is uid 0 of the host, and what would run its programs is the host's. */
export function refuseHostTable(emulation: Emulation): void {
  if (emulation.kind !== 'host') return;
  throw new FeatureError('native', [
    {
      feature: 'architecture',
      because: `the host's entry ${emulation.entry} of binfmt_misc would run the programs, and a command that is uid 0 of this host could change the mode of that interpreter`,
      remedy:
        'install qemu-user-static, on Linux 6.7 or later; or run it as an ordinary user, or map other ids: uidMappings [{ containerID: 0, hostID: 100000, size: 65536 }], gidMappings alike',
    },
  ]);
}

// P: the program's own name for itself (argv[0]) is kept; QEMU 6.0 looks for the mark of that in AT_FLAGS. O: the kernel opens the program, so
// that one may be executed that may not be read. F: the interpreter is opened at registration.
const FLAGS = 'POF';

function hasRoot(mappings: readonly IdMapping[]): boolean {
  return mappings.some(({ containerID }) => containerID === 0);
}

function isJust(mappings: readonly IdMapping[], id: number): boolean {
  const [only] = mappings;
  return mappings.length === 1 && only?.size === 1 && only.hostID === id;
}
