// /proc/self/mountinfo, as proc_pid_mountinfo(5) has it.
export interface MountLine {
  /** What of the file system is mounted: `/` for all of it. */
  readonly root: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly superOptions: readonly string[];
}

/** Lines that are not understood are left out: a later kernel may say more, and nothing here needs all of it. */
export function parseMountinfo(text: string | undefined): MountLine[] {
  const mounts: MountLine[] = [];
  for (const line of (text ?? '').split('\n')) {
    // A variable number of optional fields stands before the dash.
    const [before, after] = splitOnce(line, ' - ');
    const [, , , root, mountPoint] = before.split(' ');
    const [type, , superOptions] = after.split(' ');
    if (root === undefined || mountPoint === undefined || type === undefined || type === '') continue;
    mounts.push({
      root: decodeOctal(root),
      mountPoint: decodeOctal(mountPoint),
      type,
      superOptions: superOptions?.split(',') ?? [],
    });
  }
  return mounts;
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** Blank, tab, newline and backslash are written as octal. */
function decodeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
