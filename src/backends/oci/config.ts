// What an OCI runtime finds as config.json: namespaces, and a process that may do in them what it has to (OCI runtime spec 1.0.2). Pure.
//
// The mounts of the spec are none of the runtime's. What each of them does with a link or a device in a root that somebody hostile prepared, with the
// bounds of a tmpfs, or with the flags of what lies below a bind, is its own idea; init does it as it does where there is no tool.
import type { CapabilityName } from '../../spec/capabilities.ts';
import type { NormalizedSpec } from '../../spec/types.ts';
import { TOOL_ROOT } from '../launcher/root-inside.ts';
import { INIT_INSIDE } from '../launcher/steps.ts';

export interface OciConfig {
  readonly ociVersion: string;
  readonly process: {
    readonly terminal: boolean;
    readonly user: { readonly uid: number; readonly gid: number };
    readonly args: readonly string[];
    readonly env: readonly string[];
    readonly cwd: string;
    readonly capabilities: Readonly<Record<CapabilitySet, readonly CapabilityName[]>>;
    readonly noNewPrivileges: boolean;
  };
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly mounts: readonly {
    readonly destination: string;
    readonly type: string;
    readonly source: string;
    readonly options: readonly string[];
  }[];
  readonly linux: { readonly namespaces: readonly { readonly type: string }[] };
}

type CapabilitySet = 'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient';

/** For the mounts, the loopback and the bounds of user namespaces, and to become what the command is to be. None of it reaches the command. */
const capabilities: readonly CapabilityName[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_ADMIN',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_ADMIN',
  'CAP_SYS_RESOURCE',
];

/**
 * Init runs as uid 0 of the room, in whose user namespace all of this is: runc makes none of its own in which no id is mapped to 0. Its cgroup
 * namespace is the room's, too.
 */
export function ociConfig({ network }: Pick<NormalizedSpec, 'network'>): OciConfig {
  const namespaces = ['pid', 'mount', 'ipc', 'uts', ...(network === 'none' ? ['network'] : [])];
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: INIT_INSIDE,
      env: [],
      cwd: '/',
      capabilities: {
        bounding: capabilities,
        effective: capabilities,
        permitted: capabilities,
        inheritable: [],
        ambient: [],
      },
      noNewPrivileges: true,
    },
    root: { path: TOOL_ROOT, readonly: false },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'nodev', 'noexec'] }],
    linux: { namespaces: namespaces.map((type) => ({ type })) },
  };
}
