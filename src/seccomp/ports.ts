// Where Landlock is to keep a command from TCP ports: the ways to a TCP connection that it does not see, tried on Linux 6.18. A filter of its own, kept
// whatever filter the spec asks for, and where it asks for none: everything else stays as it is.
import { compileSeccomp } from './compile.ts';
import type { OciSeccompProfile } from './oci.ts';

// socket(2), tcp(7), sendmsg(2), and include/linux/socket.h
const AF_RDS = 21;
const AF_SMC = 43;
const IPPROTO_TCP = 6;
const IPPROTO_MPTCP = 262;
const TCP_ULP = 31;
const MSG_FASTOPEN = 0x2000_0000;
const [ENOENT, ENOSYS, EPROTONOSUPPORT, EOPNOTSUPP, EAFNOSUPPORT] = [2, 38, 93, 95, 97];
/** The kernel takes an int, whatever is in the rest of the register. */
const LOW_32_BITS = 0xffff_ffff;

const is = (index: number, valueTwo: number) => ({ index, value: LOW_32_BITS, valueTwo, op: 'SCMP_CMP_MASKED_EQ' });
const has = (index: number, bit: number) => ({ index, value: bit, valueTwo: bit, op: 'SCMP_CMP_MASKED_EQ' });
const refuse = (errnoRet: number, names: string[], ...args: ReturnType<typeof is>[]) => ({
  names,
  action: 'SCMP_ACT_ERRNO',
  errnoRet,
  ...(args.length === 0 ? {} : { args }),
});

export const portsProfile: OciSeccompProfile = {
  defaultAction: 'SCMP_ACT_ALLOW',
  architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_AARCH64'],
  syscalls: [
    // They fall back to TCP with a peer that has nothing else, and no program depends on them.
    refuse(EPROTONOSUPPORT, ['socket'], is(2, IPPROTO_MPTCP)),
    refuse(EAFNOSUPPORT, ['socket'], is(0, AF_SMC)),
    refuse(EAFNOSUPPORT, ['socket'], is(0, AF_RDS)),
    // Makes SMC of a TCP socket. That there is no such protocol is what a program that asks for TLS in the kernel is prepared for.
    refuse(ENOENT, ['setsockopt'], is(1, IPPROTO_TCP), is(2, TCP_ULP)),
    // TCP Fast Open: data and connection in one, without a connect(2).
    refuse(EOPNOTSUPP, ['sendto', 'sendmmsg'], has(3, MSG_FASTOPEN)),
    refuse(EOPNOTSUPP, ['sendmsg'], has(2, MSG_FASTOPEN)),
    // What is asked for in memory no filter sees: rings, and the one call for all sockets of i386, without which C libraries take the others.
    refuse(ENOSYS, ['io_uring_setup', 'io_uring_enter', 'io_uring_register', 'socketcall']),
  ],
};

const compiled = new Map<string, string>();

/** In base64, as a step holds it. */
export function portsFilter(architecture: 'x64' | 'arm64'): string {
  let filter = compiled.get(architecture);
  if (filter === undefined) {
    filter = Buffer.from(compileSeccomp(portsProfile, { architecture })).toString('base64');
    compiled.set(architecture, filter);
  }
  return filter;
}
