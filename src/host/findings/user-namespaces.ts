// Why an ordinary user gets no user namespace, or not all the ids of one.
import type { Finding } from '../types.ts';
import {
  type Diagnosable,
  failed,
  isPrivileged,
  lostWithoutUserNamespace,
  type Rule,
  setSysctl,
  userNamespacesWork,
} from './rule.ts';

export const userNamespaceRules: readonly Rule[] = [
  switchedOff,
  noneAllowed,
  allInUse,
  restrictedByAppArmor,
  rootMayNotMapItself,
  withoutCapabilities,
  noSubordinateIds,
  helpersMissing,
  helpersPowerless,
];

function switchedOff({ host }: Diagnosable): Finding[] {
  const name = 'kernel.unprivileged_userns_clone';
  if (host.kernel.sysctls[name] !== '0' || isPrivileged(host)) return [];
  return [
    {
      id: 'userns-switched-off',
      ...lostWithoutUserNamespace,
      cause: `${name} is 0: only root may make user namespaces`,
      remedy: setSysctl(name, '1'),
    },
  ];
}

function noneAllowed({ host }: Diagnosable): Finding[] {
  const name = 'user.max_user_namespaces';
  if (host.kernel.sysctls[name] !== '0') return [];
  const own = host.user.mapsEveryId
    ? ''
    : ' in the user namespace that this process is in; whoever made it has to change that';
  return [
    {
      id: 'userns-none-allowed',
      ...lostWithoutUserNamespace,
      cause: `${name} is 0${own}`,
      remedy: setSysctl(name, '15000'),
    },
  ];
}

function allInUse(input: Diagnosable): Finding[] {
  const trial = failed(input, 'namespace.user');
  if (trial?.errno !== 'ENOSPC' || input.host.kernel.sysctls['user.max_user_namespaces'] === '0') return [];
  return [
    {
      id: 'userns-exhausted',
      ...lostWithoutUserNamespace,
      cause: 'no more user namespaces are allowed: user.max_user_namespaces is reached, or 32 levels of nesting',
      remedy: setSysctl('user.max_user_namespaces', '100000'),
    },
  ];
}

// Ubuntu 23.10 and later. A profile for our one program is the way its makers recommend; the machine-wide switch is the other.
function restrictedByAppArmor(input: Diagnosable): Finding[] {
  const { host, launcher } = input;
  if (!host.lsm.apparmor.restrictsUserNamespaces || isPrivileged(host) || userNamespacesWork(input)) return [];
  const off = setSysctl('kernel.apparmor_restrict_unprivileged_userns', '0');
  return [
    {
      id: 'userns-apparmor',
      ...lostWithoutUserNamespace,
      cause: 'AppArmor denies capabilities in user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)',
      remedy: [
        'allow them to the launcher alone, with a profile for it:',
        ...installProfile(launcher ?? '/path/to/launcher'),
        'or to every program of this machine:',
        off,
      ].join('\n'),
    },
  ];
}

function installProfile(launcher: string): string[] {
  return [
    "sudo tee /etc/apparmor.d/sandboxlib-launcher <<'EOF'",
    appArmorProfile(launcher).trimEnd(),
    'EOF',
    'sudo apparmor_parser -r /etc/apparmor.d/sandboxlib-launcher',
  ];
}

/** `flags=(unconfined)`: the profile changes nothing but the one permission that it names (apparmor.d(5)). */
export function appArmorProfile(launcher: string): string {
  return `abi <abi/4.0>,
include <tunables/global>

profile sandboxlib-launcher "${quoteGlob(launcher)}" flags=(unconfined) {
  userns,
  include if exists <local/sandboxlib-launcher>
}
`;
}

/** A path in a profile is a pattern. */
function quoteGlob(path: string): string {
  return path.replace(/[\\"*?[\]{}^@]/g, '\\$&');
}

function rootMayNotMapItself(input: Diagnosable): Finding[] {
  if (!cannotMapItself(input)) return [];
  return [
    {
      id: 'root-without-setfcap',
      ...lostWithoutUserNamespace,
      cause: 'this process is uid 0 without CAP_SETFCAP, and may not map itself into a new user namespace (Linux 5.12)',
      remedy: 'run it as another uid than 0, or give it that capability: docker run --cap-add SETFCAP ...',
    },
  ];
}

function cannotMapItself({ host, facilities }: Diagnosable): boolean {
  const trial = facilities.find(({ facility }) => facility === 'namespace.user');
  return host.user.uid === 0 && !host.container.setfcap && trial?.ok === false && trial.step === 'map-ids';
}

function withoutCapabilities(input: Diagnosable): Finding[] {
  const trial = failed(input, 'namespace.user');
  if ((trial?.step !== 'capability' && trial?.step !== 'map-ids') || cannotMapItself(input)) return [];
  if (input.host.lsm.apparmor.restrictsUserNamespaces) return [];
  return [
    {
      id: 'userns-without-capabilities',
      ...lostWithoutUserNamespace,
      cause: `a user namespace can be made and is of no use: ${trial.detail}`,
      remedy:
        'look for what was denied in the log of the security module: sudo journalctl -k | grep -iE "apparmor|avc"',
    },
  ];
}

/** Preconditions: no other rule has an error to tell. */
export function refusedForNoKnownReason(input: Diagnosable): Finding[] {
  const trial = failed(input, 'namespace.user');
  if (trial === undefined) return [];
  const filtered = input.host.container.seccomp === 'filter';
  return [
    {
      id: 'userns-refused',
      ...lostWithoutUserNamespace,
      cause: `something refuses user namespaces${trial.errno === undefined ? '' : ` with ${trial.errno}`}, and no switch of this host says so${filtered ? '; this process runs under a seccomp filter' : ''}`,
      remedy: [
        'start this process without the seccomp filter or profile that its surroundings put on it: grep Seccomp /proc/self/status',
        'or look for what a security module denied: sudo journalctl -k | grep -iE "apparmor|avc|selinux"',
      ].join('\n'),
    },
  ];
}

function noSubordinateIds({ host }: Diagnosable): Finding[] {
  const { user } = host;
  if (isPrivileged(host) || (user.subuid.length > 0 && user.subgid.length > 0)) return [];
  const files = [user.subuid.length > 0 ? [] : ['/etc/subuid'], user.subgid.length > 0 ? [] : ['/etc/subgid']].flat();
  const start = user.freeSubordinateStart;
  const range = `${start}-${start + 65535}`;
  const options = files.map((file) => `--add-${file.slice('/etc/'.length)}s ${range}`).join(' ');
  return [
    {
      id: 'no-subordinate-ids',
      severity: 'warning',
      features: ['idMappings.ranges'],
      cause: `${user.name ?? `uid ${user.uid}`} has no range in ${files.join(' and ')}`,
      remedy:
        user.name === undefined
          ? files.map((file) => `echo ${user.uid}:${start}:65536 | sudo tee -a ${file}`).join('\n')
          : `sudo usermod ${options} ${user.name}`,
    },
  ];
}

function helpersMissing({ host }: Diagnosable): Finding[] {
  const { newuidmap, newgidmap } = host.user;
  if (isPrivileged(host) || (newuidmap !== undefined && newgidmap !== undefined)) return [];
  const missing = [newuidmap === undefined ? ['newuidmap'] : [], newgidmap === undefined ? ['newgidmap'] : []].flat();
  return [
    {
      id: 'newuidmap-missing',
      severity: 'warning',
      features: ['idMappings.ranges'],
      cause: `${missing.join(' and ')} not installed`,
      remedy: [
        'sudo apt-get install uidmap        # Debian, Ubuntu',
        'sudo dnf install shadow-utils      # Fedora, RHEL',
        'sudo zypper install shadow         # openSUSE',
        'sudo apk add shadow-uidmap         # Alpine',
      ].join('\n'),
    },
  ];
}

// Some distributions give the helpers file capabilities in place of the mode bit, which only a trial shows.
function helpersPowerless(input: Diagnosable): Finding[] {
  const trial = failed(input, 'idmap.ranges');
  const helper = trial?.step === 'newuidmap' || trial?.step === 'newgidmap' ? input.host.user[trial.step] : undefined;
  if (trial === undefined || helper === undefined || isPrivileged(input.host)) return [];
  const common = { severity: 'warning', features: ['idMappings.ranges'] } as const;
  if (input.host.container.noNewPrivileges) {
    return [
      {
        id: 'newuidmap-no-new-privileges',
        ...common,
        cause: `${helper.path} cannot get its privilege: this process was started with no_new_privs`,
        remedy: 'start without it: not "--security-opt no-new-privileges", not NoNewPrivileges=yes of a systemd unit',
      },
    ];
  }
  if (helper.setuidRoot) return [];
  return [
    {
      id: 'newuidmap-not-setuid',
      ...common,
      cause: `${helper.path} has no privilege: ${trial.detail}`,
      remedy: `sudo chown root ${helper.path} && sudo chmod u+s ${helper.path}`,
    },
  ];
}
