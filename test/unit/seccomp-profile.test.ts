import { describe, expect, test } from 'vitest';
import { compileSeccomp } from '../../src/seccomp/compile.ts';
import { defaultFilter } from '../../src/seccomp/default-filter.ts';
import { defaultProfile } from '../../src/seccomp/profile.ts';
import { type Abi, abis, syscallTable } from '../../src/seccomp/syscalls.ts';
import { audit, decode, runFilter } from '../helpers/bpf.ts';
import { ALLOW, describeCall, errno, evaluate, KILL_PROCESS, probes } from '../helpers/seccomp-reference.ts';

const EPERM = errno(1);
const ENOSYS = errno(38);
const EAFNOSUPPORT = errno(97);

const filters = {
  x64: decode(defaultFilter({ architecture: 'x64' })),
  arm64: decode(defaultFilter({ architecture: 'arm64' })),
};
const served = ['x86_64', 'i386', 'aarch64'] as const;
type Served = (typeof served)[number];

/** The verdict on a call by name; fails where the ABI does not have it. */
function ask(
  abi: Served,
  name: string,
  args: readonly bigint[] = [],
  program = filters[abi === 'aarch64' ? 'arm64' : 'x64'],
): number {
  const nr = syscallTable(abi).get(name);
  if (nr === undefined) throw new Error(`${abi} has no ${name}`);
  return runFilter(program, { arch: audit[abi], nr, args }).verdict;
}
const has = (abi: Abi, name: string): boolean => syscallTable(abi).has(name);

test('the profile has an answer of its own for every system call of every ABI, and names nothing else', () => {
  const named = new Set((defaultProfile().syscalls ?? []).flatMap(({ names }) => names));
  const existing = new Set(abis.flatMap((abi) => [...syscallTable(abi).keys()]));
  expect([...existing].filter((name) => !named.has(name))).toEqual([]);
  expect([...named].filter((name) => !existing.has(name))).toEqual([]);
});

test('no system call is in two groups', () => {
  const unconditional = (defaultProfile().syscalls ?? [])
    .filter(({ args }) => args === undefined)
    .flatMap(({ names }) => names);
  expect(unconditional.filter((name, i) => unconditional.indexOf(name) !== i)).toEqual([]);
});

test.each([{ kept: [] }, { kept: ['CAP_SYS_ADMIN', 'CAP_NET_RAW'] }])(
  'every number of every table gets what the profile says, keeping $kept',
  ({ kept }) => {
    const profile = defaultProfile({ capabilities: kept });
    for (const architecture of ['x64', 'arm64'] as const) {
      const program = decode(compileSeccomp(profile, { architecture }));
      for (const data of probes(profile)) {
        const expected = evaluate(profile, architecture, data);
        if (runFilter(program, data).verdict !== expected)
          expect.fail(`${describeCall(data)} on ${architecture}: not ${expected.toString(16)}`);
      }
    }
  },
);

describe.each(served)('on %s', (abi) => {
  const forbidden =
    `mount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr
    setns chroot bpf perf_event_open userfaultfd keyctl add_key request_key kexec_load init_module finit_module delete_module
    reboot swapon swapoff acct quotactl quotactl_fd syslog settimeofday clock_settime clock_adjtime adjtimex
    clock_settime64 clock_adjtime64 stime open_by_handle_at lookup_dcookie sethostname setdomainname fanotify_init vhangup
    iopl ioperm migrate_pages move_pages umount`.split(/\s+/);
  test.each(forbidden.filter((name) => has(abi, name)))('%s is forbidden', (name) => {
    expect(ask(abi, name)).toBe(EPERM);
  });

  const needed =
    `read write openat openat2 statx execve execveat futex mmap brk exit_group wait4 pipe2 dup3 epoll_pwait2 memfd_create
    ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd kcmp prctl seccomp landlock_create_ruleset landlock_restrict_self
    memfd_secret name_to_handle_at fchmodat2 faccessat2 close_range mseal listmount statmount shmget mq_open connect sendmsg
    sched_setaffinity setgroups mknodat rseq clock_nanosleep`.split(/\s+/);
  test.each(needed)('%s is allowed', (name) => {
    expect(ask(abi, name)).toBe(ALLOW);
  });

  test.each(['io_uring_setup', 'io_uring_enter', 'io_uring_register', 'clone3'])('%s looks absent', (name) => {
    expect(ask(abi, name)).toBe(ENOSYS);
  });

  test.each([470, 548, 600, 9999, 0x3fffffff, 0x7fffffff, 0xffffffff])('the unknown number %i looks absent', (nr) => {
    const isX32 = abi === 'x86_64' && nr === 0x7fffffff;
    expect(runFilter(filters[abi === 'aarch64' ? 'arm64' : 'x64'], { arch: audit[abi], nr }).verdict).toBe(
      isX32 ? KILL_PROCESS : ENOSYS,
    );
  });

  const flags = {
    NEWNS: 0x20000n,
    NEWCGROUP: 0x2000000n,
    NEWUTS: 0x4000000n,
    NEWIPC: 0x8000000n,
    NEWUSER: 0x10000000n,
    NEWPID: 0x20000000n,
    NEWNET: 0x40000000n,
  };
  test.each(Object.entries(flags))('clone and unshare make no namespace of kind CLONE_%s', (_name, flag) => {
    for (const noise of [0n, 17n, 0x3d0f00n & ~0x20000n, 1n << 32n, 0xffffffff00000000n]) {
      expect(ask(abi, 'clone', [flag | noise])).toBe(EPERM);
      expect(ask(abi, 'unshare', [flag | noise])).toBe(EPERM);
    }
  });

  test('unshare makes no time namespace', () => {
    expect(ask(abi, 'unshare', [0x80n])).toBe(EPERM);
  });

  test('threads, forks and vforks start', () => {
    for (const threadFlags of [0x3d0f00n, 0x1200011n, 0x4111n, 17n])
      expect(ask(abi, 'clone', [threadFlags])).toBe(ALLOW);
    expect(ask(abi, 'unshare', [0x400n])).toBe(ALLOW);
  });

  test.each([0x5412n, 0x541cn])('ioctl %i is forbidden, whatever its high bits', (request) => {
    for (const high of [0n, 1n << 32n, 1n << 63n, 0xffffffff00000000n])
      expect(ask(abi, 'ioctl', [0n, high | request])).toBe(EPERM);
  });

  test('other ioctls are allowed', () => {
    for (const request of [0x5401n, 0x5411n, 0x5413n, 0x541bn, 0x541dn, 0x5421n, 0x15412n, 0x80045430n]) {
      expect(ask(abi, 'ioctl', [0n, request])).toBe(ALLOW);
    }
    expect(ask(abi, 'ioctl', [0x5412n, 0x5401n, 0x5412n])).toBe(ALLOW);
  });

  test('sockets are of the families unix, inet, inet6 and netlink, and no other', () => {
    for (const call of ['socket', 'socketpair']) {
      for (let family = 0n; family < 64n; family += 1n) {
        const expected = [1n, 2n, 10n, 16n].includes(family) ? ALLOW : EAFNOSUPPORT;
        for (const high of [0n, 1n << 32n, 0xffffffff00000000n]) {
          expect(ask(abi, call, [high | family]), `${call} of family ${family}`).toBe(expected);
        }
      }
    }
  });

  test('personality takes harmless values only', () => {
    for (const value of [0n, 8n, 0x20000n, 0x20008n, 0xffffffffn, 0xffffffffffffffffn])
      expect(ask(abi, 'personality', [value])).toBe(ALLOW);
    for (const value of [0x40000n, 0x400000n, 0x440000n, 4n, 1n << 31n])
      expect(ask(abi, 'personality', [value])).toBe(EPERM);
  });
});

test('i386 makes no socket through socketcall, whose family lies behind a pointer, and does all else through it', () => {
  for (let call = 1n; call <= 20n; call += 1n) {
    expect(ask('i386', 'socketcall', [call, 0xfff0n])).toBe(call === 1n || call === 8n ? ENOSYS : ALLOW);
  }
  expect(ask('i386', 'ipc', [23n])).toBe(ALLOW);
});

test('x32 programs are killed', () => {
  for (const nr of [0, 59, 165, 512, 514])
    expect(runFilter(filters.x64, { arch: audit.x86_64, nr: 0x40000000 + nr }).verdict).toBe(KILL_PROCESS);
});

test('the numbers that x32 has for itself are nobody’s without its bit', () => {
  for (let nr = 512; nr <= 547; nr += 1)
    expect(runFilter(filters.x64, { arch: audit.x86_64, nr }).verdict).toBe(ENOSYS);
});

test('programs of any other architecture are killed', () => {
  expect(runFilter(filters.x64, { arch: audit.aarch64, nr: 63 }).verdict).toBe(KILL_PROCESS);
  expect(runFilter(filters.arm64, { arch: audit.arm, nr: 3 }).verdict).toBe(KILL_PROCESS);
  expect(runFilter(filters.arm64, { arch: audit.x86_64, nr: 0 }).verdict).toBe(KILL_PROCESS);
});

const opened: readonly (readonly [string, string])[] = [
  [
    'CAP_SYS_ADMIN',
    `mount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr setns unshare clone clone3
     sethostname setdomainname quotactl quotactl_fd swapon swapoff lookup_dcookie fanotify_init fanotify_mark bpf perf_event_open`,
  ],
  ['CAP_SYS_CHROOT', 'chroot'],
  ['CAP_SYS_TIME', 'settimeofday clock_settime clock_adjtime adjtimex'],
  ['CAP_SYSLOG', 'syslog'],
  ['CAP_SYS_BOOT', 'reboot kexec_load kexec_file_load'],
  ['CAP_SYS_MODULE', 'init_module finit_module delete_module'],
  ['CAP_SYS_PACCT', 'acct'],
  ['CAP_SYS_TTY_CONFIG', 'vhangup'],
  ['CAP_SYS_NICE', 'move_pages migrate_pages'],
  ['CAP_DAC_READ_SEARCH', 'open_by_handle_at'],
  ['CAP_BPF', 'bpf'],
  ['CAP_PERFMON', 'perf_event_open'],
];
test.each(opened)('keeping %s opens %s, and nothing else', (capability, names) => {
  const calls = names.split(/\s+/);
  for (const architecture of ['x64', 'arm64'] as const) {
    const abi = architecture === 'x64' ? 'x86_64' : 'aarch64';
    const kept = decode(defaultFilter({ architecture, capabilities: [capability] }));
    for (const name of calls) expect(ask(abi, name, [0x10000000n], kept), name).toBe(ALLOW);
    for (const name of syscallTable(abi).keys()) {
      const without = ask(abi, name);
      const expected = calls.includes(name) ? ALLOW : without;
      expect(ask(abi, name, [], kept), name).toBe(expected);
    }
  }
});

test('keeping CAP_NET_RAW opens packet sockets', () => {
  const kept = decode(defaultFilter({ architecture: 'x64', capabilities: ['CAP_NET_RAW'] }));
  expect(ask('x86_64', 'socket', [17n], kept)).toBe(ALLOW);
  expect(ask('x86_64', 'socket', [40n], kept)).toBe(EAFNOSUPPORT);
});

const every =
  `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
  NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE
  SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
  PERFMON BPF CHECKPOINT_RESTORE`.split(/\s+/);
test('no capability opens terminal injection, io_uring, keyrings, userfaultfd, vsock or x32', () => {
  const kept = decode(defaultFilter({ architecture: 'x64', capabilities: every.map((name) => `CAP_${name}`) }));
  expect(ask('x86_64', 'ioctl', [0n, 0x5412n], kept)).toBe(EPERM);
  expect(ask('x86_64', 'io_uring_setup', [], kept)).toBe(ENOSYS);
  expect(ask('x86_64', 'keyctl', [], kept)).toBe(EPERM);
  expect(ask('x86_64', 'userfaultfd', [], kept)).toBe(EPERM);
  expect(ask('x86_64', 'socket', [40n], kept)).toBe(EAFNOSUPPORT);
  expect(runFilter(kept, { arch: audit.x86_64, nr: 0x40000000 }).verdict).toBe(KILL_PROCESS);
});
