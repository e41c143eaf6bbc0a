#include "filter.h"

#include <string.h>

bool filter_is_runnable(const struct sbx_sock_filter *filter, size_t count) {
  if (count == 0 || filter[count - 1].code != SBX_BPF_RET_K) return false;
  for (size_t i = 0; i < count; i++) {
    const struct sbx_sock_filter *at = &filter[i];
    size_t left = count - i - 1;  // instructions after this one
    switch (at->code) {
      case SBX_BPF_LD_W_ABS:
        if (at->k % 4 != 0 || at->k >= sizeof(struct sbx_seccomp_data)) return false;
        break;
      case SBX_BPF_JA:
        if (at->k >= left) return false;
        break;
      case SBX_BPF_JEQ_K:
      case SBX_BPF_JGT_K:
      case SBX_BPF_JGE_K:
      case SBX_BPF_JSET_K:
        if (at->jt >= left || at->jf >= left) return false;
        break;
      case SBX_BPF_AND_K:
      case SBX_BPF_XOR_K:
      case SBX_BPF_OR_X:
      case SBX_BPF_TAX:
      case SBX_BPF_RET_K: break;
      default: return false;
    }
  }
  return true;
}

static bool holds(const struct sbx_sock_filter *at, uint32_t accumulator) {
  switch (at->code) {
    case SBX_BPF_JEQ_K: return accumulator == at->k;
    case SBX_BPF_JGT_K: return accumulator > at->k;
    case SBX_BPF_JGE_K: return accumulator >= at->k;
    default: return (accumulator & at->k) != 0;  // JSET
  }
}

uint32_t filter_run(const struct sbx_sock_filter *filter, const struct sbx_seccomp_data *call) {
  uint32_t accumulator = 0, index = 0;
  for (const struct sbx_sock_filter *at = filter;; at++) {
    switch (at->code) {
      case SBX_BPF_LD_W_ABS: memcpy(&accumulator, (const uint8_t *)call + at->k, sizeof accumulator); break;
      case SBX_BPF_JA: at += at->k; break;
      case SBX_BPF_AND_K: accumulator &= at->k; break;
      case SBX_BPF_XOR_K: accumulator ^= at->k; break;
      case SBX_BPF_OR_X: accumulator |= index; break;
      case SBX_BPF_TAX: index = accumulator; break;
      case SBX_BPF_RET_K: return at->k;
      default: at += holds(at, accumulator) ? at->jt : at->jf; break;
    }
  }
}
