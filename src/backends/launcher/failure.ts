// A step that failed, in words: what failed, why (source), then what to do.
import { type ExecReason, LaunchError } from '../../errors/errors.ts';
import type { FailedLine } from './status.ts';

/** `confined`: whether Landlock names the paths that the command may use. */
export function launchError(line: FailedLine, confined: boolean): LaunchError {
  if (line.step === 'exec' && line.reason !== undefined) return execError(line, line.reason, confined);
  const place = line.index === undefined ? line.step : `${line.step}[${line.index}]`;
  const what = verbs[line.step] ?? `cannot do step ${line.step} of`;
  const object = line.path ?? objects[line.step] ?? 'the sandbox';
  const source = line.syscall === undefined ? '' : ` from ${line.syscall}${line.syscall.includes('(') ? '' : '(2)'}`;
  const said = line.detail === undefined ? '' : `: ${line.detail}`;
  const message = `${what} ${object}: ${line.errno ?? 'failed'}${source}, step ${place}${said}`;
  return new LaunchError(message, line, { remedy: remedyFor(line) });
}

const verbs: Record<string, string> = {
  plan: 'the launcher refused',
  namespaces: 'cannot make',
  'map-ids': 'cannot map ids for',
  root: 'cannot make a root of',
  mount: 'cannot mount',
  readonly: 'cannot make read-only',
  mask: 'cannot mask',
  mkdir: 'cannot make directory',
  symlink: 'cannot make symlink',
  file: 'cannot make file',
  sysctl: 'cannot set',
  pivot: 'cannot enter',
  cwd: 'cannot enter directory',
  user: 'cannot become',
  seccomp: 'cannot install',
  landlock: 'cannot restrict by Landlock',
  capabilities: 'cannot drop',
  terminal: 'cannot open',
  binfmt: 'cannot register the format of programs with',
  lost: 'lost',
  capture: 'cannot keep any of the changes, because of',
};

const objects: Record<string, string> = {
  plan: 'the plan',
  namespaces: 'the namespaces',
  'map-ids': 'the user namespace',
  pivot: 'the new root',
  user: 'the user',
  seccomp: 'the seccomp filter',
  landlock: 'the command',
  capabilities: 'the capabilities',
  terminal: 'a terminal',
  binfmt: 'binfmt_misc',
  lost: 'the sandbox, which something outside of it ended',
  capture: 'the directory that they are in',
};

function remedyFor(line: FailedLine): string | undefined {
  if (line.step === 'cwd' && line.errno === 'ENOENT') return 'mount that directory, or give a cwd that exists inside';
  if (line.step === 'namespaces' || line.step === 'map-ids') return 'see "run-sandbox doctor"';
  if (line.step === 'mount' && line.errno === 'ENOENT')
    return 'the source is gone, or the mount point is not in the root';
  // Tmpfs, devpts and mqueue give no such error for options of ours.
  if ((line.step === 'mount' || line.step === 'root') && line.syscall === 'fsconfig' && line.errno === 'EINVAL')
    return "overlayfs takes it neither as a layer below nor, where changes are captured, $XDG_STATE_HOME as one above, which must not be an overlay or a network file system itself; with limits.diskBytes (--disk) it may be, or set XDG_STATE_HOME elsewhere; the kernel's log says which";
  if (line.step === 'root' && line.syscall === 'fstatat' && line.errno === 'EPERM')
    return 'it is a device, which a root that is only entered would let the command open: remove it, or use a backend that mounts the root';
  if (line.step === 'root' && line.syscall === 'fstatat' && line.errno === 'EXDEV')
    return 'another file system is mounted there, and shows the command more than the root: unmount it, or use a backend that mounts the root';
  if (line.step === 'landlock' && line.path !== undefined && line.errno === 'ENOENT')
    return 'name a path that is there, inside the sandbox';
  if (line.step === 'landlock' && (line.errno === 'ELOOP' || line.errno === 'ENOTDIR'))
    return 'there is a symlink, or a file, in its path: name what that leads to';
  // The kernel's MAX_INSNS_PER_PATH.
  if (line.step === 'seccomp' && line.errno === 'ENOMEM')
    return 'with the filters that this process is under already there would be more than 32768 instructions: write a shorter profile, or start it under fewer filters';
  if (line.syscall === 'open' && (line.errno === 'ELOOP' || line.errno === 'ENOTDIR'))
    return 'there is a symlink, or a file, in its path that was not there when the spec was checked: see who changes it';
  if (line.step === 'capture' && (line.errno === 'ENOSPC' || line.errno === 'EDQUOT'))
    return 'make room where changes are kept, set XDG_STATE_HOME to a directory elsewhere, or lower limits.diskBytes';
  if (line.step === 'capture' && line.errno === 'EFBIG')
    return 'it is larger than the file system of the changes, or a bound of the caller on files, allows: set XDG_STATE_HOME to a directory elsewhere';
  return undefined;
}

function execError(line: FailedLine, reason: ExecReason, confined: boolean): LaunchError {
  const path = line.path ?? 'the command';
  const text: Record<ExecReason, [string, string | undefined]> = {
    'not-found': [`${path}: not found in the sandbox`, undefined],
    'not-executable': [
      `${path}: permission denied`,
      confined
        ? 'landlock.paths must cover it, and its loader or interpreter, with rox or rwx; and it must be executable'
        : 'make it executable, or run it by its interpreter',
    ],
    directory: [`${path}: is a directory`, undefined],
    'missing-interpreter': [
      `${path}: its interpreter ${line.interpreter || '(unnamed)'} is not in the sandbox`,
      'mount it, or use a root that has it',
    ],
    'wrong-architecture': [
      `${path}: is a program for another architecture`,
      "name it: architecture in the spec, --architecture on the command line, such as 'arm64'",
    ],
    'not-a-program': [`${path}: is not a program`, 'a script needs a first line such as #!/bin/sh'],
    'text-busy': [`${path}: is open for writing`, 'close it first'],
    'interpreter-loop': [`${path}: its interpreter or a symbolic link leads round in a circle`, undefined],
    'too-long': [`${path}: arguments and environment are too long together`, 'pass data by a file or by stdin'],
    other: [`${path}: cannot be executed`, undefined],
  };
  const [message, remedy] = text[reason];
  return new LaunchError(`${message} (${line.errno ?? 'failed'} from execve(2))`, line, { remedy });
}
