// What hostile programs, roots, callers and hosts are known to try, and where it is tried here. An attack that nothing tries yet says what it waits for.
// The letters: P paths and mounts, K kernel interfaces, I identity, S processes and signals, F system call filter, D descriptors and data, L limits,
// N network, R robustness of the launcher, X what we came upon ourselves.
import type { Feature } from '../../src/features/feature.ts';

/** What has to be built first: a promise, a backend, or a part that is neither. */
export type Bringer =
  | Feature
  | `backend ${string}`
  | 'time namespaces'
  | 'Landlock ABI 9'
  | 'quotas of directories'
  | 'warm launchers';

export interface Later {
  readonly because: string;
  readonly broughtBy: Bringer;
}

interface Known {
  /** Letter and two digits; gaps are numbers that were never given. */
  readonly id: string;
  readonly attack: string;
}

/** Tried by techniques, by their name, and by files of tests, by their path from the top of the project. `later`: the part that is not tried yet. */
export interface Tried extends Known {
  readonly triedBy: readonly [string, ...string[]];
  readonly later?: Later;
}

export interface Untried extends Known {
  readonly triedBy?: never;
  readonly later: Later;
}

export type CoveredAttack = Tried | Untried;

const allowList: Later = {
  because: 'there is no network between none and that of the host',
  broughtBy: 'network.allow',
};

export const coverage: readonly CoveredAttack[] = [
  {
    id: 'P01',
    attack: 'a directory of the root is a symlink to one of the host, and a mount goes below it',
    triedBy: ['symlinked-root'],
  },
  {
    id: 'P02',
    attack: 'the parent of a mount point is exchanged for a symlink while the sandbox is set up',
    triedBy: ['path-race'],
  },
  {
    id: 'P03',
    attack: 'a destination spelt with dots, doubled and trailing slashes',
    triedBy: ['separators-in-paths', 'test/unit/spec-normalize.test.ts'],
  },
  { id: 'P04', attack: 'the /dev of the root is a symlink', triedBy: ['symlinked-root'] },
  {
    id: 'P06',
    attack: 'the root replaces the terminal of the command by a symlink',
    triedBy: ['false-terminal', 'symlinked-root'],
  },
  { id: 'P07', attack: 'the /proc of the root is false', triedBy: ['symlinked-root'] },
  {
    id: 'P08',
    attack: 'writing through a read-only bind',
    triedBy: ['mount-calls', 'test/conformance/cases-filesystem.ts'],
  },
  { id: 'P09', attack: 'writing to what is mounted below a read-only bind', triedBy: ['bound-trees'] },
  { id: 'P10', attack: 'a source whose mount has flags that a user namespace may not clear', triedBy: ['bound-trees'] },
  { id: 'P12', attack: 'a source that is a symlink, or becomes one', triedBy: ['path-race'] },
  { id: 'P13', attack: 'a source that is another one between check and mount', triedBy: ['path-race'] },
  { id: 'P14', attack: 'mounting a file over a directory, and the like', triedBy: ['bound-trees'] },
  { id: 'P16', attack: 'a set-user-ID program in a mounted directory', triedBy: ['bound-trees', 'privilege-gain'] },
  { id: 'P17', attack: 'mount(2) and umount2(2) from inside', triedBy: ['mount-calls'] },
  { id: 'P18', attack: 'the mount calls of Linux 5.2 and later from inside', triedBy: ['mount-calls'] },
  { id: 'P19', attack: 'a second chroot, then up', triedBy: ['chroot-escape', 'root-escape'] },
  {
    id: 'P20',
    attack: 'out of a plain chroot by a directory that was opened before',
    triedBy: ['proc-escape', 'root-escape'],
  },
  { id: 'P21', attack: 'out of the root by the links of /proc', triedBy: ['proc-escape'] },
  { id: 'P22', attack: 'a working directory that lies outside of the root', triedBy: ['proc-escape'] },
  { id: 'P23', attack: 'a working directory that is missing', triedBy: ['test/conformance/cases-command.ts'] },
  { id: 'P25', attack: 'mounts made after the start, on either side', triedBy: ['proc-escape'] },
  { id: 'P26', attack: 'five thousand mounts', triedBy: ['many-mounts'] },
  {
    id: 'P27',
    attack: 'an overlay over a directory with mounts in it',
    triedBy: ['past-a-view'],
  },
  {
    id: 'P28',
    attack: 'a command forges the marks by which an overlay remembers what was removed',
    triedBy: ['past-a-view', 'test/os/changes-cases.ts'],
  },
  {
    id: 'P29',
    attack: 'paths with the separators of mount strings and mount options in them',
    triedBy: ['separators-in-paths', 'test/unit/spec-mount-string.test.ts'],
  },
  { id: 'P31', attack: 'rename and link from one bind to another', triedBy: ['rename-across-mounts'] },
  {
    id: 'P32',
    attack: 'symlinks, devices, holes and masses of files in what is copied out',
    triedBy: ['test/os/changes-cases.ts'],
  },
  {
    id: 'P33',
    attack: 'an output becomes a symlink while it is copied out',
    triedBy: ['test/os/changes-cases.ts'],
  },
  {
    id: 'P34',
    attack: 'a symlink in the way when the host tidies up with privilege',
    triedBy: ['test/os/changes-cases.ts'],
  },
  { id: 'P35', attack: 'a tree that resists being removed', triedBy: ['stubborn-trees'] },

  { id: 'K01', attack: 'writing to kernel settings', triedBy: ['kernel-knobs'] },
  { id: 'K02', attack: 'writing to sysrq, interrupts and buses by /proc', triedBy: ['kernel-knobs'] },
  { id: 'K03', attack: 'reading memory, keys and timers of the kernel by /proc', triedBy: ['kernel-knobs'] },
  { id: 'K04', attack: 'reading the log of the kernel', triedBy: ['kernel-knobs', 'inherited-state'] },
  {
    id: 'K05',
    attack: 'making devices, and using those of a mounted directory',
    triedBy: ['privilege-gain', 'test/conformance/cases-filesystem.ts'],
  },
  {
    id: 'K07',
    attack: 'raising limits in, or leaving, a control group',
    triedBy: ['delegated-cgroup', 'nested-namespaces'],
  },
  { id: 'K08', attack: 'writing to /sys', triedBy: ['kernel-knobs'] },
  { id: 'K09', attack: 'registering an interpreter for the whole machine', triedBy: ['kernel-knobs'] },
  { id: 'K10', attack: 'a core file on the host', triedBy: ['inherited-state'] },
  {
    id: 'K11',
    attack: 'clock, modules, swap, accounting and other calls about the whole machine',
    triedBy: ['inherited-state'],
  },
  { id: 'K12', attack: 'personality(2), which turns off what protects memory', triedBy: ['test/os/seccomp.test.ts'] },
  { id: 'K13', attack: 'a host that allows no fresh /proc', triedBy: ['test/os/probe.test.ts'] },
  {
    id: 'K14',
    attack: 'seeing and signalling processes of the host',
    triedBy: ['reach-for-processes', 'test/conformance/cases-isolation.ts'],
  },
  { id: 'K15', attack: 'meeting by shared memory and message queues of POSIX', triedBy: ['shared-objects'] },
  { id: 'K17', attack: 'devices that lead to the kernel or to other machines', triedBy: ['privilege-gain'] },
  {
    id: 'K18',
    attack: 'a clock of its own',
    later: { because: 'a spec cannot ask for a time namespace', broughtBy: 'time namespaces' },
  },

  {
    id: 'I01',
    attack: 'dropping a group that is denied something, and using groups of the caller',
    triedBy: ['groups-of-the-caller'],
  },
  {
    id: 'I02',
    attack: 'a capability that was left, or that the caller passes on',
    triedBy: ['inherited-capabilities', 'privilege-gain', 'test/conformance/cases-isolation.ts'],
  },
  { id: 'I03', attack: 'a user namespace made from inside', triedBy: ['nested-namespaces'] },
  { id: 'I04', attack: 'a sandbox in a sandbox', triedBy: ['sandbox-in-sandbox'] },
  { id: 'I05', attack: 'privileges by execve', triedBy: ['privilege-gain', 'test/conformance/cases-isolation.ts'] },
  {
    id: 'I06',
    attack: 'ids at the end of their range, and ids that are not mapped',
    triedBy: ['ids-at-the-edge', 'test/unit/spec-normalize.test.ts'],
  },
  {
    id: 'I07',
    attack: 'ranges of ids that are missing, empty or overlap',
    triedBy: ['test/os/subordinate-ids.test.ts', 'test/unit/host-readers.test.ts'],
  },
  { id: 'I08', attack: 'root of the host as the caller', triedBy: ['privilege-gain', 'kernel-knobs'] },
  { id: 'I11', attack: 'keys of the caller', triedBy: ['shared-objects'] },
  {
    id: 'I12',
    attack: 'out of a label of SELinux or AppArmor',
    later: { because: 'a spec cannot name a label', broughtBy: 'selinux' },
  },

  {
    id: 'S01',
    attack: 'typing into the terminal of the caller',
    triedBy: ['terminal-injection', 'test/os/seccomp.test.ts'],
  },
  { id: 'S02', attack: 'a terminal in a state that the command left', triedBy: ['test/cli/terminal.test.ts'] },
  {
    id: 'S03',
    attack: 'abstract sockets of the host',
    triedBy: ['network-escape', 'shared-objects', 'past-landlock'],
  },
  {
    id: 'S04',
    attack: 'sockets in mounted directories',
    triedBy: ['shared-objects'],
    later: { because: 'what is mounted can be connected to, as documented', broughtBy: 'Landlock ABI 9' },
  },
  { id: 'S05', attack: 'shared memory, semaphores and queues of System V', triedBy: ['shared-objects'] },
  { id: 'S06', attack: 'socket families beyond the usual', triedBy: ['socket-families'] },
  { id: 'S07', attack: 'tracing and reading the launcher', triedBy: ['reach-for-processes', 'taking-over'] },
  { id: 'S08', attack: 'overwriting the launcher by /proc', triedBy: ['reach-for-processes'] },
  { id: 'S09', attack: 'stopping and killing whoever watches', triedBy: ['reach-for-processes'] },
  {
    id: 'S11',
    attack: 'a daemon that outlives its command',
    triedBy: ['reach-for-processes', 'test/conformance/cases-lifecycle.ts'],
  },
  { id: 'S12', attack: 'ten thousand zombies', triedBy: ['process-storm', 'reach-for-processes'] },
  { id: 'S13', attack: 'ending by a signal to oneself', triedBy: ['reach-for-processes'] },
  { id: 'S14', attack: 'signals to whoever started it', triedBy: ['test/cli/signals.test.ts'] },
  {
    id: 'S15',
    attack: 'SIGKILL at any moment to anybody',
    triedBy: ['test/os/launcher-kill.test.ts', 'test/os/die-with-parent.test.ts'],
  },
  { id: 'S17', attack: 'a caller with signals ignored and blocked', triedBy: ['inherited-state'] },
  {
    id: 'S19',
    attack: 'bombs of processes and threads',
    triedBy: ['process-storm', 'outstaying', 'group-bounds'],
  },
  { id: 'S21', attack: 'limits, priorities and masks of the caller', triedBy: ['inherited-state'] },
  { id: 'S22', attack: 'taking more of the processor than its share', triedBy: ['inherited-state'] },
  { id: 'S23', attack: 'one app of a pod in the files and the memory of another', triedBy: ['test/os/pods-cases.ts'] },

  {
    id: 'F01',
    attack: 'system calls of another ABI',
    triedBy: ['other-syscall-routes', 'past-a-profile', 'test/os/seccomp.test.ts'],
  },
  { id: 'F03', attack: 'system calls through io_uring', triedBy: ['other-syscall-routes', 'past-a-profile'] },
  { id: 'F04', attack: 'flags that clone3 hides from a filter', triedBy: ['other-syscall-routes'] },
  {
    id: 'F05',
    attack: 'system calls that are younger than the filter',
    triedBy: ['other-syscall-routes', 'test/unit/seccomp-profile.test.ts'],
  },
  {
    id: 'F07',
    attack: 'a family that socketcall hides from a filter',
    triedBy: ['other-syscall-routes', 'test/os/seccomp.test.ts'],
  },
  {
    id: 'F08',
    attack: 'arguments that change after a supervisor has looked',
    triedBy: ['past-the-questions'],
  },
  { id: 'F10', attack: 'a call that ends the program', triedBy: ['other-syscall-routes'] },
  { id: 'F11', attack: 'a program that confines itself further', triedBy: ['other-syscall-routes'] },
  { id: 'F12', attack: 'a filter that names unknown calls', triedBy: ['test/unit/seccomp-compile.test.ts'] },
  { id: 'F13', attack: 'a filter that is too long for the kernel', triedBy: ['test/unit/seccomp-compile.test.ts'] },
  { id: 'F14', attack: 'memory that is written first and executed then', triedBy: ['past-a-profile'] },

  { id: 'D01', attack: 'descriptors that the caller left open', triedBy: ['leaked-descriptors'] },
  { id: 'D03', attack: 'a start without stdin, stdout or stderr', triedBy: ['leaked-descriptors'] },
  { id: 'D04', attack: 'writing to the channel of the launcher', triedBy: ['forged-status'] },
  { id: 'D06', attack: 'output without end', triedBy: ['output-flood'] },
  { id: 'D07', attack: 'a reader that goes away', triedBy: ['output-flood'] },
  { id: 'D08', attack: 'output that is no text', triedBy: ['output-flood'] },
  { id: 'D09', attack: 'a million writes of one byte, and sizes around those of a pipe', triedBy: ['output-flood'] },
  { id: 'D10', attack: 'arguments that are too long or too many', triedBy: ['argument-smuggling'] },
  { id: 'D11', attack: 'arguments that look like options', triedBy: ['argument-smuggling'] },
  { id: 'D12', attack: 'variables of the caller that change how programs run', triedBy: ['poisoned-environment'] },
  { id: 'D13', attack: 'secrets in the environment of the caller', triedBy: ['poisoned-environment'] },
  {
    id: 'D14',
    attack: 'variables with odd names and values',
    triedBy: ['poisoned-environment', 'test/unit/spec-normalize.test.ts'],
  },
  {
    id: 'D16',
    attack: 'programs that cannot be executed',
    triedBy: ['poisoned-environment', 'test/conformance/cases-command.ts'],
  },
  { id: 'D17', attack: 'a PATH of the caller', triedBy: ['poisoned-environment'] },
  { id: 'D18', attack: 'input that is never read', triedBy: ['test/conformance/cases-streams.ts'] },

  { id: 'L01', attack: 'stopping, or not hearing, at the end of its time', triedBy: ['outstaying'] },
  { id: 'L02', attack: 'spreading work over many processes', triedBy: ['group-bounds'] },
  { id: 'L03', attack: 'eating memory in every way there is', triedBy: ['group-bounds'] },
  { id: 'L04', attack: 'one SIGKILL taken for another', triedBy: ['outstaying', 'group-bounds'] },
  { id: 'L05', attack: 'filling memory through a tmpfs', triedBy: ['disk-fill'] },
  {
    id: 'L06',
    attack: 'filling the disk',
    triedBy: ['disk-fill'],
    later: {
      because: 'what is mounted from the host, and what is captured there, has no bound',
      broughtBy: 'quotas of directories',
    },
  },
  {
    id: 'L07',
    attack: 'a host that delegates no control group',
    triedBy: ['test/unit/host-readers.test.ts', 'test/os/groups.test.ts'],
  },
  { id: 'L08', attack: 'many sandboxes side by side', triedBy: ['crowd', 'test/os/hostile-calls.test.ts'] },
  { id: 'L09', attack: 'usage that is not known and told as 0', triedBy: ['test/conformance/cases-lifecycle.ts'] },
  {
    id: 'L10',
    attack: 'statuses that are taken for something else',
    triedBy: ['crowd', 'outstaying', 'test/conformance/cases-command.ts'],
  },
  { id: 'L12', attack: 'a caller that is too busy to enforce a limit', triedBy: ['outstaying'] },

  { id: 'N01', attack: 'out of the network by any packet', triedBy: ['network-escape', 'socket-families'] },
  { id: 'N02', attack: 'one port in two sandboxes', triedBy: ['network-escape'] },
  { id: 'N03', attack: 'other names for a host that is not allowed', later: allowList },
  {
    id: 'N04',
    attack: 'services on loopback and on link-local addresses',
    triedBy: ['network-escape'],
    later: allowList,
  },
  { id: 'N05', attack: 'a helper of the network that dies', later: allowList },
  { id: 'N06', attack: 'past a proxy', later: allowList },
  {
    id: 'N07',
    attack: 'in from outside',
    later: { because: 'no port can be published', broughtBy: 'network.publish' },
  },

  {
    id: 'R01',
    attack: 'spoilt specs and plans',
    triedBy: ['hostile-plan', 'test/os/hostile-calls.test.ts', 'test/unit/spec-schema.test.ts'],
  },
  { id: 'R02', attack: 'every system call of the set-up fails once', triedBy: ['test/os/launcher-faults.test.ts'] },
  { id: 'R03', attack: 'a step of the set-up that protects fails', triedBy: ['test/os/launcher-faults.test.ts'] },
  { id: 'R04', attack: 'a launcher that was made set-user-ID', triedBy: ['test/os/launcher-privileged.test.ts'] },
  { id: 'R05', attack: 'a kernel that lacks calls', triedBy: ['test/os/launcher-lesser-kernel.test.ts'] },
  {
    id: 'R06',
    attack: 'a host that forbids user namespaces',
    triedBy: ['test/os/probe.test.ts', 'test/unit/host-findings.test.ts'],
  },
  {
    id: 'R08',
    attack: 'other builds of the launcher',
    triedBy: ['test/os/launcher-arm64.test.ts', 'test/os/launcher-sanitized.test.ts'],
  },
  { id: 'R09', attack: 'ending early, late and often', triedBy: ['outstaying', 'test/unit/run-process.test.ts'] },
  {
    id: 'R10',
    attack: 'what an earlier run left',
    triedBy: ['earlier-run'],
    later: { because: 'every sandbox is made afresh', broughtBy: 'warm launchers' },
  },

  { id: 'X01', attack: 'a program in the place of the launcher', triedBy: ['false-launcher'] },
  { id: 'X02', attack: 'root of the host changes its own device nodes from inside', triedBy: ['device-inodes'] },
];
