// What a plan may depend on, read once per process. Every run waits for this: some dozens of system calls and no more.
import type { CallerFacts, CgroupLayout, TopLevelEntry } from '../backends/backend.ts';
import { InternalError } from '../errors/errors.ts';
import { isInHostView, systemDirectories } from '../spec/host-view.ts';
import { type Caller, thisProcess } from './caller.ts';
import { readCgroups } from './cgroups.ts';
import { type EmulationFacts, hasFormats, readEmulation } from './emulation.ts';
import { readEntry, readEtcEntries } from './etc.ts';
import { type HostFiles, hostFiles } from './files.ts';
import { findOnPath } from './programs.ts';
import { findHelper } from './userns.ts';

let remembered: CallerFacts | undefined;

/** Facts about this process and its host. Remembered: an entry of /etc that comes later is seen by the next process. */
export function callerFacts(): CallerFacts {
  remembered ??= readCallerFacts(hostFiles, thisProcess());
  return remembered;
}

export function readCallerFacts(files: HostFiles, caller: Caller): CallerFacts {
  const topLevel = readTopLevel(files);
  let newuidmap: { readonly path: string | undefined } | undefined;
  let newgidmap: { readonly path: string | undefined } | undefined;
  let procEntries: ReadonlySet<string> | undefined;
  let processors: readonly string[] | undefined;
  let cgroups: CgroupLayout | undefined;
  const programs = new Map<string, string | undefined>();
  let emulation: EmulationFacts | undefined;
  let hardLimits: CallerFacts['hardLimits'] | undefined;
  return {
    uid: caller.uid,
    gid: caller.gid,
    get architecture() {
      return supportedArchitecture(caller.architecture);
    },
    // Few specs need the helpers, so nobody else looks for them.
    get newuidmap() {
      newuidmap ??= { path: findHelper(files, 'newuidmap')?.path };
      return newuidmap.path;
    },
    get newgidmap() {
      newgidmap ??= { path: findHelper(files, 'newgidmap')?.path };
      return newgidmap.path;
    },
    // The rest is for backends that are other programs.
    program(name) {
      if (!programs.has(name)) programs.set(name, findOnPath(files, name, process.env['PATH']));
      return programs.get(name);
    },
    get procEntries() {
      procEntries ??= new Set((files.readdir('/proc') ?? []).filter((name) => !/^\d+$/.test(name)));
      return procEntries;
    },
    get processors() {
      processors ??= (files.readdir('/sys/devices/system/cpu') ?? []).filter((name) => /^cpu\d+$/.test(name)).sort();
      return processors;
    },
    get cgroups() {
      cgroups ??= readCgroups(files);
      return cgroups;
    },
    get hardLimits() {
      hardLimits ??= readHardLimits(files);
      return hardLimits;
    },
    topLevel,
    // Not remembered: a module may be loaded at any time.
    get hasFormats() {
      return hasFormats(files);
    },
    get emulation() {
      emulation ??= readEmulation(files, caller.architecture);
      return emulation;
    },
    etcEntries: readEtcEntries(files, new Set(topLevel.map((entry) => entry.name))),
  };
}

/** proc_pid_limits(5): `Max open files            1024                 20000                files`. */
function readHardLimits(files: HostFiles): CallerFacts['hardLimits'] {
  const text = files.readFile('/proc/self/limits') ?? '';
  const hard = (name: string): number | undefined => {
    const words = new RegExp(`^Max ${name} +\\S+ +(\\d+)`, 'm').exec(text);
    return words?.[1] === undefined ? undefined : Number(words[1]);
  };
  // No more processes than numbers for them.
  const numbers = Number(files.readFile('/proc/sys/kernel/pid_max') ?? Number.NaN);
  const processes = hard('processes');
  const bounds = [processes, numbers].filter((bound) => bound !== undefined && !Number.isNaN(bound)) as number[];
  return { openFiles: hard('open files'), processes: bounds.length === 0 ? undefined : Math.min(...bounds) };
}

function readTopLevel(files: HostFiles): TopLevelEntry[] {
  const entries: TopLevelEntry[] = [];
  for (const directory of systemDirectories) {
    const entry = readEntry(files, '/', directory.slice(1), isInHostView);
    if (entry !== undefined && entry.kind !== 'file') entries.push(entry);
  }
  return entries;
}

/** Only the native backend asks, and it is not usable where no launcher is built. */
function supportedArchitecture(name: string): CallerFacts['architecture'] {
  if (name === 'x64' || name === 'arm64') return name;
  throw new InternalError(`a plan was made for architecture ${name}, for which there is no launcher`);
}
