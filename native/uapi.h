// Our own copies of kernel constants that the C libraries we build with may lack, each with the release that brought it. The numbers of
// system calls from 424 on are the same on every architecture.
#ifndef SANDBOXLIB_UAPI_H
#define SANDBOXLIB_UAPI_H

#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428  // 5.2
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429  // 5.2
#endif
#ifndef SYS_fsopen
#define SYS_fsopen 430  // 5.2
#endif
#ifndef SYS_fsconfig
#define SYS_fsconfig 431  // 5.2
#endif
#ifndef SYS_fsmount
#define SYS_fsmount 432  // 5.2
#endif
#ifndef SYS_close_range
#define SYS_close_range 436  // 5.9
#endif
#ifndef SYS_openat2
#define SYS_openat2 437  // 5.6
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424  // 5.1
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434  // 5.3
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444  // 5.13
#endif
#ifndef SYS_landlock_add_rule
#define SYS_landlock_add_rule 445  // 5.13
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446  // 5.13
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442  // 5.12
#endif

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000  // 4.6
#endif

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#endif
#ifndef MOVE_MOUNT_T_EMPTY_PATH
#define MOVE_MOUNT_T_EMPTY_PATH 0x00000040
#endif

// fsopen(2) and friends; glibc has these as enumerators of the same names in newer releases, so ours carry a prefix.
#define SBX_FSOPEN_CLOEXEC 0x00000001
#define SBX_FSMOUNT_CLOEXEC 0x00000001
#define SBX_FSCONFIG_SET_FLAG 0
#define SBX_FSCONFIG_SET_STRING 1
#define SBX_FSCONFIG_CMD_CREATE 6
#define SBX_MOUNT_ATTR_RDONLY 0x00000001
#define SBX_MOUNT_ATTR_NOSUID 0x00000002
#define SBX_MOUNT_ATTR_NODEV 0x00000004
#define SBX_MOUNT_ATTR_NOEXEC 0x00000008

// mount_setattr(2), 5.12
struct sbx_mount_attr {
  uint64_t attr_set;
  uint64_t attr_clr;
  uint64_t propagation;
  uint64_t userns_fd;
};

// openat2(2), 5.6
struct sbx_open_how {
  uint64_t flags;
  uint64_t mode;
  uint64_t resolve;
};
#define SBX_RESOLVE_NO_XDEV 0x01
#define SBX_RESOLVE_NO_MAGICLINKS 0x02
#define SBX_RESOLVE_NO_SYMLINKS 0x04
#define SBX_RESOLVE_BENEATH 0x08
#define SBX_RESOLVE_IN_ROOT 0x10

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)  // 5.11
#endif

// seccomp(2), 3.17
#define SBX_SECCOMP_SET_MODE_FILTER 1
#define SBX_SECCOMP_MODE_FILTER 2
// seccomp_unotify(2), 5.0
#define SBX_SECCOMP_FILTER_FLAG_NEW_LISTENER 8UL
#define SBX_SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV 32UL  // 5.19
#define SBX_SECCOMP_RET_KILL_PROCESS 0x80000000U
#define SBX_SECCOMP_RET_USER_NOTIF 0x7fc00000U
#define SBX_SECCOMP_RET_ACTION_FULL 0xffff0000U
#define SBX_SECCOMP_RET_DATA 0x0000ffffU
#define SBX_SECCOMP_USER_NOTIF_FLAG_CONTINUE 1U         // 5.5
#define SBX_SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1UL      // 6.6
#define SBX_SECCOMP_IOCTL_NOTIF_RECV _IOWR('!', 0, struct sbx_seccomp_notif)
#define SBX_SECCOMP_IOCTL_NOTIF_SEND _IOWR('!', 1, struct sbx_seccomp_notif_resp)
#define SBX_SECCOMP_IOCTL_NOTIF_ID_VALID _IOR('!', 2, uint64_t)   // as kernels before 5.9 have it, and later ones take it too
#define SBX_SECCOMP_IOCTL_NOTIF_SET_FLAGS _IOW('!', 4, uint64_t)  // 6.6; the flags themselves, not where they are
struct sbx_seccomp_data {
  int32_t nr;
  uint32_t arch;
  uint64_t instruction_pointer;
  uint64_t args[6];
};
struct sbx_seccomp_notif {
  uint64_t id;
  uint32_t pid;
  uint32_t flags;
  struct sbx_seccomp_data data;
};
struct sbx_seccomp_notif_resp {
  uint64_t id;
  int64_t val;
  int32_t error;
  uint32_t flags;
};
// bpf_common.h: class, size or operation, mode or source.
#define SBX_BPF_LD_W_ABS 0x20
#define SBX_BPF_JA 0x05
#define SBX_BPF_JEQ_K 0x15
#define SBX_BPF_JGT_K 0x25
#define SBX_BPF_JGE_K 0x35
#define SBX_BPF_JSET_K 0x45
#define SBX_BPF_AND_K 0x54
#define SBX_BPF_XOR_K 0xa4
#define SBX_BPF_OR_X 0x4c
#define SBX_BPF_TAX 0x07
#define SBX_BPF_RET_K 0x06
struct sbx_sock_filter {
  uint16_t code;
  uint8_t jt;
  uint8_t jf;
  uint32_t k;
};
struct sbx_sock_fprog {
  uint16_t len;
  const struct sbx_sock_filter *filter;
};

// landlock(7), 5.13. What a kernel does not know of a ruleset must be 0.
#define SBX_LANDLOCK_CREATE_RULESET_VERSION 1U
#define SBX_LANDLOCK_RULE_PATH_BENEATH 1
#define SBX_LANDLOCK_RULE_NET_PORT 2
struct sbx_landlock_ruleset {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;  // ABI 4
  uint64_t scoped;              // ABI 6
};
struct sbx_landlock_path_beneath {
  uint64_t allowed_access;
  int32_t parent;
} __attribute__((packed));
struct sbx_landlock_net_port {
  uint64_t allowed_access;
  uint64_t port;
};
#define SBX_LANDLOCK_FS_EXECUTE (UINT64_C(1) << 0)
#define SBX_LANDLOCK_FS_WRITE_FILE (UINT64_C(1) << 1)
#define SBX_LANDLOCK_FS_READ_FILE (UINT64_C(1) << 2)
#define SBX_LANDLOCK_FS_REFER (UINT64_C(1) << 13)     // ABI 2
#define SBX_LANDLOCK_FS_TRUNCATE (UINT64_C(1) << 14)   // ABI 3
#define SBX_LANDLOCK_FS_IOCTL_DEV (UINT64_C(1) << 15)  // ABI 5
#define SBX_LANDLOCK_NET_BIND_TCP (UINT64_C(1) << 0)   // ABI 4
#define SBX_LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (UINT64_C(1) << 0)  // ABI 6
#define SBX_LANDLOCK_SCOPE_SIGNAL (UINT64_C(1) << 1)                // ABI 6

// getdents64(2): a record is these fields, the name with a NUL, and padding.
struct sbx_dirent {
  uint64_t inode;
  int64_t next;  // for lseek(2): where the record after this one is
  uint16_t length;
  uint8_t type;
} __attribute__((packed));

// prlimit(2): 64 bits on every architecture; all ones is RLIM_INFINITY.
struct sbx_rlimit {
  uint64_t soft;
  uint64_t hard;
};

// capabilities(7); version 3 of the header is for 64 capabilities.
#define SBX_CAPABILITY_VERSION_3 0x20080522
struct sbx_cap_header {
  uint32_t version;
  int pid;
};
struct sbx_cap_data {
  uint32_t effective;
  uint32_t permitted;
  uint32_t inheritable;
};
#define SBX_CAP_KILL 5
#define SBX_CAP_SETPCAP 8

// PR_SET_SECUREBITS, capabilities(7): each flag's lock is the next bit.
#define SBX_SECBIT_NOROOT (1U << 0)
#define SBX_SECBIT_NO_SETUID_FIXUP (1U << 2)
#define SBX_SECBIT_KEEP_CAPS (1U << 4)
#define SBX_SECBIT_NO_CAP_AMBIENT_RAISE (1U << 6)
#define SBX_SECBIT_LOCKS ((1U << 1) | (1U << 3) | (1U << 5) | (1U << 7))

#define SBX_PROC_MAGIC 0x9fa0      // statfs(2)
#define SBX_TMPFS_MAGIC 0x01021994
#define SBX_CGROUP_SUPER_MAGIC 0x27e0eb
#define SBX_CGROUP2_SUPER_MAGIC 0x63677270
#define SBX_MFD_CLOEXEC 1U        // memfd_create(2), 3.17
#define SBX_MFD_ALLOW_SEALING 2U
#define SBX_KEYCTL_JOIN_SESSION_KEYRING 1  // keyctl(2)

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441  // ioctl_tty(2), 4.13
#endif

// ioprio_set(2): classes above the best-effort one need privilege; a sandbox gets the default.
#define SBX_IOPRIO_WHO_PROCESS 1
#define SBX_IOPRIO_CLASS_RT 1
#define SBX_IOPRIO_CLASS_SHIFT 13

#endif
