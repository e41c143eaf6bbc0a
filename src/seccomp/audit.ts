// How a filter and the kernel name an ABI: AUDIT_ARCH_* of linux/audit.h.
export const auditArch = { x86_64: 0xc000003e, i386: 0x40000003, aarch64: 0xc00000b7 } as const;

/** Numbers of x32 have this bit, under the audit architecture of x86-64. */
export const X32_BIT = 0x40000000;
