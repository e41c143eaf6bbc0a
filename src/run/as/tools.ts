// The tools in whose words a sandbox can be said. Alone, because the command line's options name them.

export const toolNames = [
  'bwrap',
  'oci',
  'nspawn',
  'runc',
  'podman',
  'docker',
  'firejail',
  'linux-user-chroot',
] as const;
export type ToolName = (typeof toolNames)[number];
