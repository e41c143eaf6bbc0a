// What an OCI runtime gives together with our launcher around it and our init inside, and by which mechanism.
import type { Feature } from '../../features/feature.ts';
import type { Mechanisms } from '../launcher/tool.ts';
import { wornInPidNamespace } from '../launcher/worn.ts';

/** In order of preference. */
export const runtimeNames = ['crun', 'runc', 'runsc', 'kata-runtime'] as const;
export type RuntimeName = (typeof runtimeNames)[number];

export function mechanismsOf(runtime: RuntimeName): Mechanisms {
  const by = (what: string): string => `${what} by ${runtime}`;
  return {
    ...wornInPidNamespace,
    'root.host': by('tmpfs with read-only bind mounts of system directories, pivot_root'),
    'root.path': by('bind mount, pivot_root'),
    'root.readonly': by('MS_RDONLY'),
    'root.writablePaths': by('bind mounts over a read-only root'),
    'root.missingMountPoints': 'overlay with a layer of mount points around the runtime',
    'mount.bind': by('bind mount'),
    'mount.tmpfs': by('tmpfs with size= and nr_inodes='),
    'mount.proc': by('proc of the pid namespace, masked,'),
    'mount.dev': by('tmpfs with six device nodes, own devpts and mqueue,'),
    workspace: by('bind mount'),
    hostname: by('sethostname in a uts namespace'),
    user: 'setresuid, setresgid; for an ordinary user uid_map and gid_map of one id',
    idMappings: 'uid_map and gid_map of a user namespace around the runtime',
    'idMappings.ranges': 'uid_map and gid_map of a user namespace around the runtime',
    'namespace.user': 'user namespace around the runtime',
    'namespace.pid': by('pid namespace, our init as pid 1,'),
    'namespace.mount': by('mount namespace, old root detached,'),
    'namespace.network': by('network namespace'),
    'namespace.ipc': by('ipc namespace'),
    'namespace.uts': by('uts namespace'),
    'namespace.cgroup': 'cgroup namespace around the runtime',
    'network.none': by('network namespace with nothing but lo'),
    'network.host': "the host's network namespace",
    'capabilities.drop': 'empty capability sets, locked securebits',
    terminal: "pseudo-terminal of the sandbox's devpts",
  };
}

export const recognized: ReadonlySet<Feature> = new Set(Object.keys(mechanismsOf('runc')) as Feature[]);
