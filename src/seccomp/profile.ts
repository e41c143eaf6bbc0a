// The profile that a command gets unless it asks for another. docs/seccomp.md tells the same story to users.
//
// Three answers, so that programs can do the right thing: a call that a command needs is allowed; one that exists and is none of its business fails
// with EPERM; one that this profile does not know fails with ENOSYS, as on a kernel that does not have it. Programs try a new call first and fall
// back on ENOSYS alone, so EPERM for new calls breaks them one kernel release later.
//
// The filter is one wall of several: it never decides on memory that a pointer leads to, since another thread may change it after the check.
import type { OciSeccompProfile, OciSeccompRule } from './oci.ts';

const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;

/** The system calls of a group, and why they share an answer. Names that an ABI does not have cost nothing there. */
const words = (text: string): readonly string[] => text.trim().split(/\s+/);

const allowed: readonly string[] = [
  // Files: the mounts and the file modes decide what is in reach. mknod makes FIFOs and sockets; devices need CAP_MKNOD.
  ...words(`access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
    fgetxattr file_getattr file_setattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64
    fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat lchown lchown32 lgetxattr link
    linkat listxattr listxattrat llistxattr lremovexattr lseek _llseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat
    newfstatat open openat openat2 readdir readlink readlinkat removexattr removexattrat rename renameat renameat2 rmdir
    setxattr setxattrat stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs truncate
    truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes`),
  // A handle may be made; opening by handle, which passes by every directory, is another matter.
  'name_to_handle_at',
  // What /proc/self/mountinfo shows too, of the command's own mount namespace.
  ...words('listmount statmount'),
  // Reading and writing what is open already.
  ...words(`io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit pipe pipe2 pread64 preadv
    preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice tee vmsplice write writev`),
  // Waiting for things.
  ...words(`epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd
    signalfd4 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64`),
  // Memory of its own. memfd_secret hides a page from the kernel's own mappings: its owner's gain, nobody's loss.
  ...words(`brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
    mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages`),
  // Where its own memory lies: databases and runtimes ask for it. Moving memory of other processes is not here.
  ...words('get_mempolicy mbind set_mempolicy set_mempolicy_home_node'),
  // Processes and threads. clone stands below with its flags.
  ...words(`arch_prctl execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
    get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid getsid gettid modify_ldt pidfd_open prctl
    restart_syscall rseq set_robust_list set_thread_area set_tid_address setpgid setsid vfork wait4 waitid waitpid`),
  // The kernel itself puts these two into a program that somebody traces with uprobes; to refuse them would crash the program.
  ...words('uprobe uretprobe'),
  // Debuggers, and programs that read each other. The pid namespace holds nothing but the sandbox, whose processes share this filter; init, which
  // does not, is out of reach for want of its capabilities. Since Linux 4.8 a tracer's changes are filtered like the call itself.
  ...words('kcmp pidfd_getfd process_madvise process_mrelease process_vm_readv process_vm_writev ptrace'),
  // Signals, within the pid namespace.
  ...words(`alarm kill pause pidfd_send_signal rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sgetmask sigaction sigaltstack signal sigpending
    sigprocmask sigreturn sigsuspend ssetmask tgkill tkill`),
  // Clocks are read, not set.
  ...words(`clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer
    gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
    timer_settime timer_settime64 times`),
  // Scheduling and limits: without capabilities only downwards.
  ...words(`getpriority getrlimit getrusage ioprio_get ioprio_set nice prlimit64 sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setpriority setrlimit ugetrlimit`),
  // Who it is: the kernel checks each change against the user namespace and the capabilities.
  ...words(`capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid
    getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid
    setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32`),
  // System V and POSIX message queues, semaphores and shared memory: private by the ipc namespace. ipc is how i386 calls the former.
  ...words(`ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl
    msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget`),
  // Sockets, once made; socket and socketpair stand below with their families.
  ...words(`accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmmsg_time64 recvmsg sendmmsg
    sendmsg sendto setsockopt shutdown`),
  // A program may confine itself further: browsers do.
  ...words(`landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules
    lsm_set_self_attr seccomp`),
  // About the machine, and random numbers.
  ...words('getrandom sysinfo uname'),
];

/** Known, and none of a command's business: EPERM, unless it keeps one of the capabilities that the kernel asks for. */
const denied: readonly { readonly unless: readonly string[]; readonly names: readonly string[] }[] = [
  // What is mounted where is the sandbox's own frame.
  {
    unless: ['CAP_SYS_ADMIN'],
    names: words(
      `fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr pivot_root umount umount2`,
    ),
  },
  // Into other namespaces. (New ones: clone, clone3 and unshare, below.)
  { unless: ['CAP_SYS_ADMIN'], names: ['setns'] },
  { unless: ['CAP_SYS_CHROOT'], names: ['chroot'] },
  // Of the whole machine: its swap, quotas, profiles, names, and events of whole file systems.
  {
    unless: ['CAP_SYS_ADMIN'],
    names: words(
      `fanotify_init fanotify_mark lookup_dcookie quotactl quotactl_fd setdomainname sethostname swapoff swapon`,
    ),
  },
  // Clocks belong to all. Reading through adjtimex hides behind a pointer, so it goes with them.
  {
    unless: ['CAP_SYS_TIME'],
    names: words('adjtimex clock_adjtime clock_adjtime64 clock_settime clock_settime64 settimeofday stime'),
  },
  { unless: ['CAP_SYSLOG'], names: ['syslog'] },
  { unless: ['CAP_SYS_BOOT'], names: words('kexec_file_load kexec_load reboot') },
  { unless: ['CAP_SYS_MODULE'], names: words('delete_module finit_module init_module') },
  { unless: ['CAP_SYS_PACCT'], names: ['acct'] },
  { unless: ['CAP_SYS_RAWIO'], names: words('ioperm iopl') },
  { unless: ['CAP_SYS_TTY_CONFIG'], names: ['vhangup'] },
  { unless: ['CAP_SYS_NICE'], names: words('migrate_pages move_pages') },
  // A handle names a file by its inode, whatever directories are in between: the way out of more than one container.
  { unless: ['CAP_DAC_READ_SEARCH'], names: ['open_by_handle_at'] },
  // Large, privileged parts of the kernel with a long record of holes.
  { unless: ['CAP_BPF', 'CAP_SYS_ADMIN'], names: ['bpf'] },
  { unless: ['CAP_PERFMON', 'CAP_SYS_ADMIN'], names: ['perf_event_open'] },
  // Stops the kernel in the middle of a copy from user memory: what exploits of races are made of.
  { unless: [], names: ['userfaultfd'] },
  // Keyrings are no part of a namespace: one user's sandboxes would share theirs.
  { unless: [], names: words('add_key keyctl request_key') },
];

/** As on a kernel without them. */
const absent: readonly string[] = [
  // Whatever a ring is told to do passes by this filter: openat, connect, socket. Runtimes fall back to plain calls.
  ...words('io_uring_enter io_uring_register io_uring_setup'),
  // Gone from the kernel, never there, or left over from its first years.
  ...words(`_sysctl afs_syscall bdflush break create_module epoll_ctl_old epoll_wait_old ftime get_kernel_syms getpmsg gtty idle lock
    mpx nfsservctl oldfstat oldlstat oldolduname oldstat olduname prof profil putpmsg query_module security stty sysfs
    tuxcall ulimit uselib ustat vm86 vm86old vserver`),
];

// linux/sched.h. A namespace of its own would give a command every capability in it, and with them the parts of the kernel that need one.
const CLONE_NEWTIME = 0x00000080;
const CLONE_NEW_ANY = 0x7e020000; // NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET

// int and unsigned int arguments: the kernel looks at the low 32 bits alone, so must we, or set high bits would pass by (CVE-2019-10063).
const LOW_32_BITS = 0xffffffff;
const low32 = (index: number, value: number): NonNullable<OciSeccompRule['args']> => [
  { index, value: LOW_32_BITS, valueTwo: value, op: 'SCMP_CMP_MASKED_EQ' },
];
const noBits = (index: number, mask: number): NonNullable<OciSeccompRule['args']> => [
  { index, value: mask, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' },
];

const sockets = ['socket', 'socketpair'];
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const AF_PACKET = 17;

// asm-generic/ioctls.h: put characters into a terminal's input, as if somebody had typed them.
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;

/** PER_LINUX, PER_LINUX32, each also with UNAME26, and the question which one it is. Others weaken a program's own defences. */
const harmlessPersonalities = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

// linux/net.h: calls of i386's socketcall whose family lies behind a pointer.
const SYS_SOCKET = 1;
const SYS_SOCKETPAIR = 8;

const allow = 'SCMP_ACT_ALLOW';
const fail = (names: readonly string[], errnoRet: number): OciSeccompRule => ({
  names,
  action: 'SCMP_ACT_ERRNO',
  errnoRet,
});

/** A question whose answer depends on what the command keeps: allowed with one of the capabilities `unless`, else it fails with `errno`. */
export interface CapabilityQuestion {
  readonly unless: readonly string[];
  readonly errno: number;
}
type Answer = Pick<OciSeccompRule, 'action' | 'errnoRet'>;

/**
 * The default profile as the `linux.seccomp` object of an OCI config, for a command that keeps `capabilities`.
 *
 * Rules are in order, and the first that fits decides (see `oci.ts`).
 */
export function defaultProfile(options: { readonly capabilities?: readonly string[] } = {}): OciSeccompProfile {
  const kept = new Set(options.capabilities);
  return profileWith(({ unless, errno }) =>
    unless.some((capability) => kept.has(capability))
      ? { action: allow }
      : { action: 'SCMP_ACT_ERRNO', errnoRet: errno },
  );
}

/** The default profile with every question of capabilities answered by `answer`. */
export function profileWith(answer: (question: CapabilityQuestion) => Answer): OciSeccompProfile {
  const mayMakeNamespaces = { unless: ['CAP_SYS_ADMIN'], errno: EPERM };
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: ENOSYS,
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_AARCH64'],
    syscalls: [
      { names: allowed, action: allow },
      ...denied.map(({ unless, names }) => ({ names, ...answer({ unless, errno: EPERM }) })),
      fail(absent, ENOSYS),
      // The low byte of clone's flags is a signal, and CLONE_NEWTIME is none of its flags.
      { names: ['clone'], action: allow, args: noBits(0, CLONE_NEW_ANY) },
      // Without those flags a thread only stops sharing its own descriptors or working directory.
      { names: ['unshare'], action: allow, args: noBits(0, CLONE_NEW_ANY + CLONE_NEWTIME) },
      { names: ['clone', 'unshare'], ...answer(mayMakeNamespaces) },
      // Its flags lie behind a pointer. C libraries start threads with clone when clone3 is not there, and only then.
      { names: ['clone3'], ...answer({ ...mayMakeNamespaces, errno: ENOSYS }) },
      // AF_VSOCK reaches the hypervisor's services from any network namespace, AF_ALG and others are rarely used parts of the kernel.
      ...[AF_UNIX, AF_INET, AF_INET6, AF_NETLINK].map((family) => ({
        names: sockets,
        action: allow,
        args: low32(0, family),
      })),
      { names: sockets, ...answer({ unless: ['CAP_NET_RAW'], errno: EAFNOSUPPORT }), args: low32(0, AF_PACKET) },
      fail(sockets, EAFNOSUPPORT),
      // socketcall hides the family behind a pointer. A C library may fall back to socket on ENOSYS; one that does not has no sockets here.
      { ...fail(['socketcall'], ENOSYS), args: low32(0, SYS_SOCKET) },
      { ...fail(['socketcall'], ENOSYS), args: low32(0, SYS_SOCKETPAIR) },
      { names: ['socketcall'], action: allow },
      { ...fail(['ioctl'], EPERM), args: low32(1, TIOCSTI) },
      { ...fail(['ioctl'], EPERM), args: low32(1, TIOCLINUX) },
      { names: ['ioctl'], action: allow },
      ...harmlessPersonalities.map((value) => ({ names: ['personality'], action: allow, args: low32(0, value) })),
      fail(['personality'], EPERM),
    ],
  };
}
