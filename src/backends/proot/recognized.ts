// What holds under proot, and what it only shows. Apart from the backend, so that negotiation need not load that.
import type { Feature } from '../../features/feature.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { worn } from '../launcher/worn.ts';

const seen = 'shown, not enforced: proot translates paths by ptrace, and a hostile program can leave it';
/**
 * proot must read the memory of init (ptrace(2)), so that init stays dumpable, and nothing parts the command from it, from proot and from the
 * launcher: an ordinary user's command can write to /proc/PID/mem of each. As root it has no capability for that, and no need: it owns core_pattern.
 */
const set = 'set, not enforced: a hostile program can take over another process of its user, which does not have it';

/** What a command finds as the spec has it, as long as it means no harm. */
export const views: ReadonlyMap<Feature, string> = new Map<Feature, string>([
  ['root.path', seen],
  ['mount.bind', seen],
  ['workspace', seen],
  ['mount.proc', "shown, not enforced: it is the host's own /proc"],
  ['mount.dev', "shown, not enforced: it is the host's own /dev"],
  ['limits.processCpuMs', set],
  ['limits.openFiles', set],
  ['limits.fileBytes', set],
  ['limits.stackBytes', set],
  ['limits.coreBytes', set],
  ['limits.outputBytes', set],
  ['seccomp.default', set],
  ['seccomp.strict', set],
  ['seccomp.custom', set],
  ['noNewPrivileges', set],
  // By ptrace too.
  ['landlock.paths', set],
  ['landlock.tcp', set],
  ['landlock.scopes', set],
]);

/** A question goes before proot's own filter, so that the call would pass it by, with a path of the host's. */
const beyond: ReadonlySet<string> = new Set<Feature>(['seccomp.notify', ...views.keys()]);

/** What a hostile program gains nothing by leaving, or `none` promises too. */
export const mechanisms: Mechanisms = {
  ...Object.fromEntries(Object.entries(worn).filter(([feature]) => !beyond.has(feature))),
  'network.host': "the host's network",
  'usage.cpu': 'wait4 of proot and what it traces',
  architecture: 'static user-mode QEMU, started by proot',
};

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanisms) as Feature[]);
