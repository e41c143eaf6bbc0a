// Who asks. Apart from the readers, because every run needs it and only a probe needs them.
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  /** Node's word. */
  readonly architecture: string;
}

/** Systems without user ids have none of what a uid is needed for here. */
export function thisProcess(): Caller {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, architecture: process.arch };
}
