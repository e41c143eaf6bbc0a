// Whether this process is in a container already, and what that container withholds from it.

import { type MountLine, parseMountinfo } from '../spec/mountinfo.ts';
import type { HostFiles } from './files.ts';
import type { ContainerFacts } from './types.ts';

const CAP_SYS_ADMIN = 21n; // capabilities(7)
const CAP_SETFCAP = 31n;

export function readContainer(files: HostFiles): ContainerFacts {
  const mounts = parseMountinfo(files.readFile('/proc/self/mountinfo'));
  const status = parseStatus(files.readFile('/proc/self/status'));
  const maskedProc = findMaskedProc(mounts);
  const marks = findMarks(files);
  const traces = findTraces(files, mounts, maskedProc);
  const evidence = [...marks, ...traces];
  const inside = evidence.some((item) => item.sure) || (marks.length > 0 && traces.length > 0);
  return {
    inside,
    kind: inside ? (marks[0]?.kind ?? 'other') : undefined,
    evidence: evidence.map((item) => item.evidence),
    maskedProc,
    sysAdmin: hasCapability(status, CAP_SYS_ADMIN),
    setfcap: hasCapability(status, CAP_SETFCAP),
    seccomp: seccompModes[status.get('Seccomp') ?? ''],
    noNewPrivileges: status.get('NoNewPrivs') === '1',
  };
}

function hasCapability(status: ReadonlyMap<string, string>, bit: bigint): boolean {
  return ((parseHex(status.get('CapEff')) >> bit) & 1n) === 1n;
}

const seccompModes: Readonly<Record<string, ContainerFacts['seccomp']>> = { 0: 'disabled', 1: 'strict', 2: 'filter' };

interface Trace {
  readonly evidence: string;
  /** Whether it can come from nothing but a container. Marker files kept in an image cannot: images are booted as machines too. */
  readonly sure: boolean;
}

interface Mark extends Trace {
  readonly kind: NonNullable<ContainerFacts['kind']>;
}

function findMarks(files: HostFiles): Mark[] {
  const marks: Mark[] = [];
  if (files.stat('/var/run/secrets/kubernetes.io') !== undefined)
    marks.push({ kind: 'kubernetes', evidence: '/var/run/secrets/kubernetes.io exists', sure: true });
  // Written by systemd or its nspawn for the one that runs now.
  const named = files.readFile('/run/systemd/container')?.trim();
  if (named !== undefined)
    marks.push({ kind: kindOf(named), evidence: `/run/systemd/container says ${named}`, sure: true });
  if (files.stat('/run/.containerenv') !== undefined)
    marks.push({ kind: 'podman', evidence: '/run/.containerenv exists', sure: true });
  if (files.stat('/.dockerenv') !== undefined)
    marks.push({ kind: 'docker', evidence: '/.dockerenv exists', sure: false });
  return marks;
}

function kindOf(name: string): Mark['kind'] {
  if (name === 'docker' || name === 'podman' || name === 'lxc' || name === 'systemd-nspawn') return name;
  return name === 'lxc-libvirt' ? 'lxc' : 'other';
}

/** What a container engine does to a process, whatever its files say. */
function findTraces(files: HostFiles, mounts: readonly MountLine[], maskedProc: readonly string[]): Trace[] {
  const traces: Trace[] = [];
  if (maskedProc.length > 0) traces.push({ evidence: `covered in /proc: ${maskedProc.join(', ')}`, sure: true });
  const engine = /\/(docker|kubepods|libpod|lxc|machine\.slice)\b/.exec(files.readFile('/proc/self/cgroup') ?? '');
  if (engine?.[1] !== undefined) traces.push({ evidence: `the cgroup is below ${engine[1]}`, sure: true });
  // Live systems have it too.
  if (mounts.some((mount) => mount.mountPoint === '/' && mount.type === 'overlay'))
    traces.push({ evidence: '/ is an overlay', sure: false });
  // So does "ip netns exec".
  const given = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'].filter((path) =>
    mounts.some((mount) => mount.mountPoint === path),
  );
  if (given.length > 0) traces.push({ evidence: `mounted from outside: ${given.join(', ')}`, sure: false });
  return traces;
}

/** Mount points that are empty by nature; the kernel does not count them as covering anything. */
const emptyByNature = new Set(['/proc/sys/fs/binfmt_misc', '/proc/fs/nfsd', '/proc/openprom', '/proc/xen']);

function findMaskedProc(mounts: readonly MountLine[]): string[] {
  const covered = mounts.map((mount) => mount.mountPoint).filter((path) => path.startsWith('/proc/'));
  return [...new Set(covered)].filter((path) => !emptyByNature.has(path)).sort();
}

function parseStatus(text: string | undefined): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of (text ?? '').split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return fields;
}

function parseHex(text: string | undefined): bigint {
  return text !== undefined && /^[0-9a-f]+$/.test(text) ? BigInt(`0x${text}`) : 0n;
}
