// What is known about this host, as plain data that survives JSON. The readers are beside this file, one for each part.
import type { BackendName, CgroupParents } from '../backends/backend.ts';
import type { Availability, Feature } from '../features/feature.ts';
import type { EmulationFacts } from './emulation.ts';

export interface KernelFacts {
  /** As `uname -r` prints it. */
  readonly release: string;
  /** Active Linux security modules in their order; `undefined` where securityfs is not mounted. */
  readonly lsms: readonly string[] | undefined;
  /** Those of `sysctlNames` that this kernel has, by dotted name. */
  readonly sysctls: Readonly<Record<string, string>>;
}

/** `size` ids from `start` on. */
export interface IdRange {
  readonly start: number;
  readonly size: number;
}

/** One line of /proc/self/uid_map or gid_map (user_namespaces(7)). */
export interface IdMapLine {
  readonly inside: number;
  readonly outside: number;
  readonly size: number;
}

export interface HelperFacts {
  readonly path: string;
  /** Mode bit set-user-ID and owner root. Without it the helper may still have file capabilities: the probe tells by running it. */
  readonly setuidRoot: boolean;
}

/** Who the caller is, and which other ids it may use. */
export interface UserFacts {
  readonly uid: number;
  readonly gid: number;
  /** Login name; `undefined` when /etc/passwd does not have the uid. */
  readonly name: string | undefined;
  readonly uidMap: readonly IdMapLine[];
  readonly gidMap: readonly IdMapLine[];
  /** Whether the caller's user namespace maps every id to itself, as the initial one does. */
  readonly mapsEveryId: boolean;
  /** Ranges of the caller in /etc/subuid and /etc/subgid (subuid(5)). */
  readonly subuid: readonly IdRange[];
  readonly subgid: readonly IdRange[];
  /** First id from which 65536 ids belong to nobody in either file: what a new range may be. */
  readonly freeSubordinateStart: number;
  readonly newuidmap: HelperFacts | undefined;
  readonly newgidmap: HelperFacts | undefined;
}

export interface LsmFacts {
  readonly apparmor: {
    readonly enabled: boolean;
    /** `kernel.apparmor_restrict_unprivileged_userns` is 1: Ubuntu 23.10 and later. */
    readonly restrictsUserNamespaces: boolean;
    /** The profile of this process: `unconfined`, `docker-default (enforce)`, ... */
    readonly profile: string | undefined;
  };
  readonly selinux: { readonly enabled: boolean; readonly enforcing: boolean };
  /** Whether the kernel lists Landlock; `undefined` where the list cannot be read. The probe has the ABI. */
  readonly landlock: boolean | undefined;
}

export interface CgroupFacts {
  /** `hybrid`: controllers are in v1 trees, and a v2 tree is mounted beside them. */
  readonly version: 'v2' | 'hybrid' | 'v1' | 'none';
  /** Where the v2 tree is mounted. */
  readonly mountPoint: string | undefined;
  /** This process's own cgroup in the v2 tree, as in /proc/self/cgroup. */
  readonly path: string | undefined;
  /** Where a group of a sandbox's own can be made, if the caller may. */
  readonly parents: CgroupParents;
  /** Controllers that the own cgroup could hand to children: cgroup.controllers of v2, else those of the mounted v1 trees. */
  readonly controllers: readonly string[];
  /** Whether the caller may make child cgroups and move its own processes there. */
  readonly delegated: boolean;
}

export interface ContainerFacts {
  /** More than a marker file: images of containers are booted as virtual machines too, with their marker. */
  readonly inside: boolean;
  readonly kind: 'docker' | 'podman' | 'kubernetes' | 'lxc' | 'systemd-nspawn' | 'other' | undefined;
  /** What speaks for it, in words. */
  readonly evidence: readonly string[];
  /** Paths below /proc that something covers: then the kernel refuses a fresh proc in a new user namespace. */
  readonly maskedProc: readonly string[];
  /** Effective CAP_SYS_ADMIN, in the caller's own user namespace. */
  readonly sysAdmin: boolean;
  /** Effective CAP_SETFCAP: without it uid 0 may not map itself into a new user namespace (Linux 5.12, user_namespaces(7)). */
  readonly setfcap: boolean;
  readonly seccomp: 'disabled' | 'strict' | 'filter' | undefined;
  readonly noNewPrivileges: boolean;
}

/** One thing of the kernel or of the machine, found by doing it in a throwaway child: a line of `launcher probe`. */
export interface Facility {
  /** `namespace.user`, `proc.fresh`, `landlock`, ... */
  readonly facility: string;
  readonly ok: boolean;
  readonly detail: string;
  /** Of the call that failed. */
  readonly errno?: string;
  /** What failed: a system call, or `map-ids`, `timeout`. */
  readonly step?: string;
}

/** One thing about this host that a person may want to change, with the command that does it. */
export interface Finding {
  /** Stable, for scripts: `userns-sysctl-off`. */
  readonly id: string;
  readonly severity: 'error' | 'warning' | 'info';
  /** What it takes away; empty where nothing. */
  readonly features: readonly Feature[];
  readonly cause: string;
  /** What to do, ready to be copied; may have several lines. */
  readonly remedy: string;
}

/** A BackendReport that survives JSON. */
export interface BackendSummary {
  readonly backend: BackendName;
  readonly usable: Availability;
  readonly features: Readonly<Partial<Record<Feature, Availability>>>;
}

/** Everything that was read of this host, without trying anything. */
export interface HostFacts {
  readonly kernel: KernelFacts;
  /** Node's word: `x64`, `arm64`, ... */
  readonly architecture: string;
  readonly user: UserFacts;
  readonly container: ContainerFacts;
  readonly lsm: LsmFacts;
  readonly cgroups: CgroupFacts;
  /** What could run programs of another architecture. */
  readonly emulation: EmulationFacts;
}

/** What `probe()` returns and `run-sandbox doctor` prints. */
export interface HostReport extends HostFacts {
  /** Each facility that was tried, in a fixed order; empty where no launcher is built for this host. */
  readonly facilities: readonly Facility[];
  readonly backends: readonly BackendSummary[];
  /** Worst first. */
  readonly findings: readonly Finding[];
}
