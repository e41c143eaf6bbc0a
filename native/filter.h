// Seccomp filters (classic BPF) as data: init answers questions that one asked, and so must know where the program ended up that asked.
#ifndef SANDBOXLIB_FILTER_H
#define SANDBOXLIB_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uapi.h"

// Whether filter_run takes it: of the kernel's instructions (bpf_common.h) those that our compiler emits, with every jump inside and a return at the end,
// so that it always ends.
bool filter_is_runnable(const struct sbx_sock_filter *filter, size_t count);

// What the kernel would answer, SECCOMP_RET_* with its data. Only what filter_is_runnable took.
uint32_t filter_run(const struct sbx_sock_filter *filter, const struct sbx_seccomp_data *call);

#endif
