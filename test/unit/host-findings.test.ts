import { describe, expect, test } from 'vitest';
import { features as allFeatures } from '../../src/features/feature.ts';
import { appArmorProfile } from '../../src/host/findings/user-namespaces.ts';
import { diagnose } from '../../src/host/findings.ts';
import { readHost } from '../../src/host/read.ts';
import type { Facility, Finding } from '../../src/host/types.ts';
import { type FakeTree, fakeHost, fakeHosts } from '../helpers/fake-host.ts';

const ann = { uid: 1000, gid: 1000, architecture: 'x64' };
const root = { uid: 0, gid: 0, architecture: 'x64' };
const launcher = '/srv/app/node_modules/sandboxlib/prebuilds/linux-x64/launcher';

function find(tree: FakeTree, facilities: readonly Facility[] = [], caller: typeof ann = ann): Finding[] {
  return diagnose({ host: readHost(fakeHost(tree, caller), caller), facilities, launcher });
}

function ids(findings: readonly Finding[]): string[] {
  return findings.map((finding) => finding.id);
}

function pick(findings: readonly Finding[], id: string): Finding {
  const found = findings.find((finding) => finding.id === id);
  if (found === undefined) throw new Error(`no finding ${id} among ${ids(findings).join(', ')}`);
  return found;
}

function refused(facility: string, errno: string, step: string): Facility {
  return { facility, ok: false, detail: 'refused', errno, step };
}

const works: Facility = { facility: 'namespace.user', ok: true, detail: '' };
const fullCapabilities = { '/proc/self/status': 'CapEff:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n' };

test('a host where nothing is in the way gets no advice', () => {
  expect(find(fakeHosts.plain, [works])).toEqual([]);
});

describe('user namespaces', () => {
  test('Debian 10 gets the exact switch and the file that keeps it', () => {
    const finding = pick(find(fakeHosts.debian10), 'userns-switched-off');
    expect(finding.severity).toBe('error');
    expect(finding.features).toContain('namespace.user');
    expect(finding.remedy).toBe(
      'sudo sysctl -w kernel.unprivileged_userns_clone=1\n' +
        "echo 'kernel.unprivileged_userns_clone = 1' | sudo tee /etc/sysctl.d/60-sandboxlib.conf",
    );
  });

  test('root is not told of a switch that does not bind root', () => {
    expect(ids(find({ ...fakeHosts.debian10, ...fullCapabilities }, [], root))).not.toContain('userns-switched-off');
  });

  test('max_user_namespaces = 0 is an error for an ordinary user and for root', () => {
    expect(pick(find(fakeHosts.noUserNamespaces), 'userns-none-allowed')).toMatchObject({ severity: 'error' });
    const forRoot = pick(find({ ...fakeHosts.noUserNamespaces, ...fullCapabilities }, [], root), 'userns-none-allowed');
    expect(forRoot.severity).toBe('error');
    expect(forRoot.features).toContain('namespace.pid');
  });

  test('root without CAP_SETFCAP is told that it may not map itself, and no security module is blamed', () => {
    const bare = { ...fakeHosts.plain, '/proc/self/status': 'CapEff:\t0000000000000000\nSeccomp:\t0\n' };
    const found = ids(find(bare, [refused('namespace.user', 'EPERM', 'map-ids')], root));
    expect(found).toContain('root-without-setfcap');
    expect(found).not.toContain('userns-without-capabilities');
    expect(ids(find(bare, [refused('namespace.user', 'EPERM', 'map-ids')]))).not.toContain('root-without-setfcap');
  });

  test('a bound that is reached is told from a bound of 0', () => {
    const trial = refused('namespace.user', 'ENOSPC', 'clone');
    expect(ids(find(fakeHosts.plain, [trial]))).toContain('userns-exhausted');
    expect(ids(find(fakeHosts.noUserNamespaces, [trial]))).not.toContain('userns-exhausted');
  });

  test('Ubuntu 24.04 gets a profile for the launcher before the machine-wide switch', () => {
    const trial = refused('namespace.user', 'EPERM', 'capability');
    const { remedy, severity } = pick(find(fakeHosts.ubuntu2404, [trial]), 'userns-apparmor');
    expect(severity).toBe('error');
    expect(remedy).toContain(appArmorProfile(launcher).trimEnd());
    expect(remedy).toContain('sudo apparmor_parser -r /etc/apparmor.d/sandboxlib-launcher');
    expect(remedy.indexOf('apparmor_parser')).toBeLessThan(
      remedy.indexOf('sysctl -w kernel.apparmor_restrict_unprivileged_userns=0'),
    );
  });

  test('the profile names the launcher and grants userns and nothing else', () => {
    expect(appArmorProfile('/opt/a b/[x]/launcher')).toBe(`abi <abi/4.0>,
include <tunables/global>

profile sandboxlib-launcher "/opt/a b/\\[x\\]/launcher" flags=(unconfined) {
  userns,
  include if exists <local/sandboxlib-launcher>
}
`);
  });

  test('Ubuntu 24.04 with the profile in place needs no advice', () => {
    expect(ids(find(fakeHosts.ubuntu2404, [works]))).not.toContain('userns-apparmor');
  });

  test('a namespace without capabilities where AppArmor is not to blame names the log to look in', () => {
    const finding = pick(
      find(fakeHosts.plain, [refused('namespace.user', 'EPERM', 'capability')]),
      'userns-without-capabilities',
    );
    expect(finding.remedy).toContain('journalctl');
  });

  test('a kernel without user namespaces is not taken for a container', () => {
    expect(ids(find(fakeHosts.plain, [refused('namespace.user', 'EINVAL', 'clone')]))).toEqual([
      'kernel-without-userns',
    ]);
  });
});

describe('containers', () => {
  const trials = [refused('namespace.user', 'EPERM', 'clone'), refused('proc.fresh', 'EPERM', 'clone')];

  test("Docker's defaults get Docker's three options", () => {
    const { remedy, severity } = pick(find(fakeHosts.dockerDefault, trials, root), 'container-refuses-userns');
    expect(severity).toBe('error');
    expect(remedy).toContain(
      '--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined',
    );
    expect(remedy).not.toContain('podman');
  });

  test('rootless Podman gets the option of Podman for its covered /proc', () => {
    const masked = [works, refused('proc.fresh', 'EPERM', 'mount')];
    const finding = pick(find(fakeHosts.rootlessPodman, masked, root), 'container-masks-proc');
    expect(finding.severity).toBe('error');
    expect(finding.features).toContain('mount.proc');
    expect(finding.cause).toContain('/proc/acpi');
    expect(finding.remedy).toContain('--security-opt unmask=ALL');
  });

  test('the same for its covered /sys, which takes nothing but that away', () => {
    const finding = pick(
      find(fakeHosts.rootlessPodman, [works, refused('sysfs', 'EPERM', 'mount')], root),
      'container-masks-sys',
    );
    expect(finding).toMatchObject({ severity: 'warning', features: ['mount.sysfs'] });
    expect(finding.remedy).toContain('--security-opt unmask=ALL');
    expect(ids(find(fakeHosts.rootlessPodman, [works], root))).not.toContain('container-masks-sys');
  });

  test('a Kubernetes pod gets its securityContext', () => {
    const tree = { ...fakeHosts.dockerDefault, '/var/run/secrets/kubernetes.io/token': 'x' };
    expect(pick(find(tree, trials, root), 'container-refuses-userns').remedy).toContain('procMount: Unmasked');
  });

  test('a covered /proc does not matter where a fresh one can be mounted all the same', () => {
    expect(ids(find(fakeHosts.rootlessPodman, [works], root))).not.toContain('container-masks-proc');
  });

  test('uid 0 without CAP_SYS_ADMIN is only worth a remark', () => {
    expect(pick(find(fakeHosts.dockerDefault, [], root), 'root-without-sys-admin').severity).toBe('info');
  });
});

describe('more ids', () => {
  test('a user without a range gets usermod with a range that nobody has', () => {
    expect(pick(find(fakeHosts.missingSubuid), 'no-subordinate-ids')).toEqual({
      id: 'no-subordinate-ids',
      severity: 'warning',
      features: ['idMappings.ranges'],
      cause: 'ann has no range in /etc/subuid and /etc/subgid',
      remedy: 'sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ann',
    });
  });

  test('only the file that lacks a range is named', () => {
    const tree = { ...fakeHosts.plain, '/etc/subgid': '' };
    expect(pick(find(tree), 'no-subordinate-ids').remedy).toBe('sudo usermod --add-subgids 165536-231071 ann');
  });

  test('a uid without a name gets lines for the files: usermod could not help it', () => {
    const finding = pick(find(fakeHosts.plain, [], { ...ann, uid: 4711 }), 'no-subordinate-ids');
    expect(finding.remedy).toContain('echo 4711:165536:65536 | sudo tee -a /etc/subuid');
  });

  test('missing helpers get the package that has them', () => {
    const { '/usr/bin/newuidmap': _, ...tree } = fakeHosts.plain;
    const finding = pick(find(tree), 'newuidmap-missing');
    expect(finding.cause).toBe('newuidmap not installed');
    expect(finding.remedy).toContain('apt-get install uidmap');
  });

  test('a helper without its mode bit is found out by running it', () => {
    const tree = { ...fakeHosts.plain, '/usr/bin/newuidmap': { text: '', mode: 0o755 } };
    expect(ids(find(tree))).toEqual([]);
    const finding = pick(find(tree, [{ ...refused('idmap.ranges', '', 'newuidmap') }]), 'newuidmap-not-setuid');
    expect(finding.remedy).toContain('chmod u+s /usr/bin/newuidmap');
  });

  test('a helper that no_new_privs keeps from its privilege is not called broken', () => {
    const tree = { ...fakeHosts.plain, '/proc/self/status': 'CapEff:\t0\nNoNewPrivs:\t1\nSeccomp:\t0\n' };
    expect(ids(find(tree, [refused('idmap.ranges', '', 'newuidmap')]))).toEqual(['newuidmap-no-new-privileges']);
  });

  test('root, which writes any range itself, is not sent for helpers', () => {
    const found = ids(find({ ...fakeHosts.missingSubuid, ...fullCapabilities }, [works], root));
    expect(found).not.toContain('no-subordinate-ids');
    expect(found).not.toContain('newuidmap-missing');
  });
});

describe('cgroups', () => {
  test('without delegation the way to get one from systemd is named', () => {
    const finding = pick(find(fakeHosts.notDelegated), 'cgroup-not-delegated');
    expect(finding.features).toEqual(['limits.memoryBytes', 'limits.pids', 'limits.cpus', 'limits.cpuMs']);
    expect(finding.remedy).toContain('systemd-run --user --scope -p Delegate=yes');
    expect(finding.remedy).toContain('loginctl enable-linger ann');
  });

  test('a hybrid host is told that its controllers are in v1 trees', () => {
    expect(ids(find(fakeHosts.hybrid))).toEqual(['cgroup-not-delegated', 'cgroup-not-v2']);
  });
});

describe('kernels', () => {
  const noMountSetattr = refused('mount_setattr', 'ENOSYS', 'mount_setattr');

  test('an old kernel is told from a filter that plays one', () => {
    const old = pick(
      find({ ...fakeHosts.plain, '/proc/sys/kernel/osrelease': '5.10.0-8-amd64\n' }, [noMountSetattr]),
      'kernel-without-mount_setattr',
    );
    expect(old.cause).toContain('Linux 5.10.0-8-amd64 is too old for mount_setattr (5.12)');
    const filtered = pick(find(fakeHosts.dockerDefault, [noMountSetattr], root), 'kernel-without-mount_setattr');
    expect(filtered.cause).toContain('a seccomp filter around this process hides mount_setattr');
  });

  test('an overlay that a kernel before 5.11 refuses to user namespaces costs only images and missing mount points', () => {
    const tree = { ...fakeHosts.plain, '/proc/sys/kernel/osrelease': '5.10.0\n' };
    const finding = pick(
      find(tree, [refused('overlay.readonly', 'EPERM', 'mount')]),
      'kernel-without-overlay.readonly',
    );
    expect(finding.features).toEqual(['root.image', 'mount.image', 'root.missingMountPoints']);
  });

  test('no filter at all is an error', () => {
    const finding = pick(
      find(fakeHosts.plain, [refused('seccomp.filter', 'ENOSYS', 'seccomp')]),
      'kernel-without-seccomp.filter',
    );
    expect(finding).toMatchObject({
      severity: 'error',
      features: ['seccomp.default', 'seccomp.strict', 'seccomp.custom'],
    });
  });

  test('a terminal that can be typed into is a remark', () => {
    const tree = { ...fakeHosts.plain, '/proc/sys/dev/tty/legacy_tiocsti': '1\n' };
    expect(find(tree)).toMatchObject([{ id: 'tiocsti-allowed', severity: 'info' }]);
  });
});

test('user namespaces that are refused for no reason to be seen are an error too, and only then', () => {
  const trial = refused('namespace.user', 'EPERM', 'clone');
  expect(find(fakeHosts.plain, [trial])).toMatchObject([
    { id: 'userns-refused', severity: 'error', cause: expect.stringContaining('with EPERM') },
  ]);
  expect(ids(find(fakeHosts.plain, [works]))).toEqual([]);
  expect(ids(find(fakeHosts.debian10, [trial]))).not.toContain('userns-refused');
});

test('the worst comes first', () => {
  const order = ['error', 'warning', 'info'];
  for (const tree of Object.values(fakeHosts)) {
    const severities = find(tree, [refused('namespace.user', 'EPERM', 'clone')]).map((f) => order.indexOf(f.severity));
    expect(severities).toEqual([...severities].sort());
  }
});

test('every finding on every host names a cause, a remedy and only features that exist', () => {
  for (const tree of Object.values(fakeHosts)) {
    for (const caller of [ann, root]) {
      for (const finding of find(tree, [refused('namespace.user', 'EPERM', 'clone'), noAnswer], caller)) {
        expect(finding.cause).not.toBe('');
        expect(finding.remedy).not.toBe('');
        expect(allFeatures).toEqual(expect.arrayContaining([...finding.features]));
      }
    }
  }
});

const noAnswer: Facility = { facility: 'landlock', ok: false, detail: 'no answer', step: 'timeout' };
