// System calls that Linux has on machines of which there is no filter here, and old C libraries' words for parts of socketcall(2). Engines' profiles
// name them for all machines at once, so that none of them is misspelt.
const others =
  'arm_fadvise64_64 arm_sync_file_range breakpoint cachectl cacheflush get_tls multiplexer pciconfig_iobase pciconfig_read pciconfig_write recv ' +
  'riscv_flush_icache riscv_hwprobe rtas s390_guarded_storage s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr s390_sthyi send set_tls ' +
  'spu_create spu_run subpage_prot swapcontext switch_endian sync_file_range2 sys_debug_setcontext syscall sysmips timerfd usr26 usr32';

export function isOfAnotherMachine(name: string): boolean {
  known ??= new Set(others.split(' '));
  return known.has(name);
}

let known: ReadonlySet<string> | undefined;
