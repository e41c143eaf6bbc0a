// The one table of options. Parsing, `--help`, docs/cli.md, the manual page and the shell's completion all come from it.
// Words are those of the spec. Texts are sentences for users: what, then what happens at the edge.
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { buildCompressions } from '../archive/compressions.ts';
import { backendNames } from '../backends/backend.ts';
import { features } from '../features/feature.ts';
import { toolNames } from '../run/as/tools.ts';
import { architectures } from '../spec/architectures.ts';
import { capabilityNames, checkCapability } from '../spec/capabilities.ts';
import { landlockScopes } from '../spec/landlock.ts';
import { nearest } from '../spec/nearest.ts';
import type { Limits, MountSpec } from '../spec/types.ts';
import { checkBytes, checkMilliseconds } from '../spec/units.ts';
import type { Draft, Option } from './option.ts';
import * as read from './values.ts';

export const options: readonly Option[] = [
  {
    name: 'workspace',
    short: 'w',
    value: 'PATH[:ro|:rw|:overlay]',
    valueOptional: true,
    group: 'Files',
    sets: 'workspace',
    help: 'show this directory at its own path and start in it; by default the current one, read-write',
    details:
      'The value is attached: -w, -w=PATH, -w=:ro, --workspace=PATH:ro. What the command changes there stays; with :overlay it changes a view of it, see --changes.',
    completes: 'directory',
    apply: (draft, value) =>
      read.attempt(
        () => read.readWorkspace(value, process.cwd()),
        (workspace) => {
          draft.workspace = workspace;
        },
      ),
  },
  {
    name: 'root',
    value: 'DIR|host',
    group: 'Files',
    sets: 'root',
    help: 'what the command sees as /: a directory, or the system directories of this host (the default)',
    details: 'The same as a directory as first operand. Images are not served yet.',
    completes: 'directory',
    apply: (draft, value) =>
      read.attempt(
        () => read.readRoot(value),
        (root) => Object.assign(draft.root, root),
      ),
  },
  {
    name: 'readonly',
    key: 'root.readonly',
    group: 'Files',
    sets: 'root.readonly',
    help: 'mount the root read-only (the default); mounts keep their own setting',
    apply: (draft) => use(() => (draft.root.readonly = true)),
  },
  {
    name: 'no-readonly',
    key: 'root.readonly',
    group: 'Files',
    sets: 'root.readonly',
    help: 'let the command write to the root directory itself; changes stay',
    apply: (draft) => use(() => (draft.root.readonly = false)),
  },
  {
    name: 'changes',
    value: 'keep|discard',
    group: 'Files',
    sets: 'root.changes',
    help: 'what becomes of changes in overlays, and lets the command change a view of the root: keep for run-sandbox changes, or discard (the default)',
    details:
      'It counts for -w=:overlay, for mounts of type overlay that do not say otherwise, and for a root directory unless --readonly, --no-readonly or --writable is given. ' +
      'What is discarded is in memory; what is kept is below $XDG_STATE_HOME/sandboxlib.',
    completes: ['keep', 'discard'],
    apply: (draft, value) =>
      read.attempt(
        () => read.readChanges(value),
        (changes) => (draft.changes = changes),
      ),
  },
  {
    name: 'writable',
    value: 'PATH',
    repeatable: true,
    group: 'Files',
    sets: 'root.writablePaths',
    help: 'an absolute path inside a read-only root that stays writable',
    apply: (draft, value) => {
      const { root } = draft;
      if (typeof root.writablePaths === 'string') return 'excludes a list of paths after all or none';
      if (value !== 'all' && value !== 'none') root.writablePaths = [...(root.writablePaths ?? []), value];
      else if (root.writablePaths === undefined) root.writablePaths = value;
      else return `${value} excludes a list of paths`;
      return undefined;
    },
    details: 'Also all, or none.',
  },
  {
    name: 'bind',
    value: 'SRC:DST[:ro|:rw]',
    repeatable: true,
    group: 'Files',
    sets: 'mounts',
    help: 'show a file or directory of this host at DST, read-only unless :rw; SRC alone: at its own path',
    details: 'A colon of a path is written \\:.',
    completes: 'file',
    apply: (draft, value) => addMount(draft, `--bind ${value}`, () => read.readBind(value)),
  },
  {
    name: 'tmpfs',
    value: 'DST[:SIZE]',
    repeatable: true,
    group: 'Files',
    sets: 'mounts',
    help: 'an empty directory in memory at DST, gone afterwards; 64MiB unless SIZE says more',
    apply: (draft, value) => addMount(draft, `--tmpfs ${value}`, () => read.readTmpfs(value)),
  },
  {
    name: 'mount',
    value: 'KEY=VALUE,...',
    repeatable: true,
    group: 'Files',
    sets: 'mounts',
    help: 'one mount in full: type=, source=, destination=, readonly, size=, mode=, optional, changes=',
    details:
      'type is bind (the default), tmpfs, overlay, proc, dev or sysfs, or image, whose source is an image as of --image. changes of an overlay is discard or keep. readonly=false makes a bind writable. optional: ' +
      'skipped when the source does not exist, or for sysfs where the kernel gives none. A comma of a path is written \\,. SRC:DST[:ro|:rw] is taken too. ' +
      'Mounts of --bind, --tmpfs and --mount are made in the order given.',
    apply: (draft, value) => addMount(draft, `--mount ${value}`, () => read.readMount(value)),
  },

  {
    name: 'cwd',
    value: 'DIR',
    group: 'Process',
    sets: 'cwd',
    help: 'absolute directory inside in which the command starts; by default the workspace, else $HOME',
    apply: (draft, value) => use(() => (draft.rest.cwd = value)),
  },
  {
    name: 'env',
    value: 'NAME[=VALUE]',
    repeatable: true,
    group: 'Process',
    sets: 'env',
    help: 'a variable of the command; NAME alone: as it is here',
    details:
      'The command gets a small clean environment (PATH, HOME, USER, LOGNAME, LANG, TMPDIR, and TERM on a terminal) and what is named.',
    apply: (draft, value) => {
      const equals = value.indexOf('=');
      if (equals === 0 || value === '') return `'${value}' has no name before the =`;
      if (equals === -1) draft.env.inherit.push(value);
      else draft.env.set[value.slice(0, equals)] = value.slice(equals + 1);
      return undefined;
    },
  },
  {
    name: 'env-inherit',
    value: 'NAME[,NAME...]',
    repeatable: true,
    group: 'Process',
    sets: 'env.inherit',
    help: 'variables that the command gets as they are here; LC_* takes all that begin so, * takes all',
    apply: (draft, value) => {
      const names = value.split(',');
      if (names.includes('')) return `'${value}' has an empty name in it`;
      draft.env.inherit.push(...names);
      return undefined;
    },
  },
  {
    name: 'tty',
    short: 't',
    group: 'Process',
    sets: 'terminal',
    help: 'run on a terminal of its own: for shells, editors, and whatever asks questions',
    details:
      'Stdin, stdout and stderr of the command are then that one terminal. The size of this terminal is passed on.',
    apply: (draft) => use(() => (draft.rest.terminal = true)),
  },
  {
    name: 'architecture',
    value: architectures.join('|'),
    group: 'Process',
    sets: 'architecture',
    help: 'what the programs of the root are made for; by default what this host is',
    details:
      'Programs of another architecture run in a static QEMU of this host (Debian: qemu-user-static), on Linux 6.7 or later; ia32 on x64 without one in the kernel itself. ' +
      'A dynamic one finds its loader and libraries in the root.',
    completes: architectures,
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, architectures, 'architecture'),
        (architecture) => (draft.rest.architecture = architecture),
      ),
  },
  {
    name: 'umask',
    value: 'OCTAL',
    group: 'Process',
    sets: 'umask',
    help: 'file mode creation mask; 022 by default',
    apply: (draft, value) =>
      read.attempt(
        () => read.readOctal(value),
        (umask) => (draft.rest.umask = umask),
      ),
  },
  {
    name: 'kill-signal',
    value: 'SIGNAL',
    group: 'Process',
    modes: ['run', 'explain', 'compile', 'pod'],
    help: "first signal of an orderly end; the image's StopSignal or SIGTERM by default",
    completes: Object.keys(constants.signals),
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, Object.keys(constants.signals) as NodeJS.Signals[], 'signal'),
        (signal) => (draft.settings.killSignal = signal),
      ),
  },
  {
    name: 'grace',
    value: 'TIME',
    group: 'Process',
    modes: ['run', 'explain', 'compile', 'pod'],
    help: 'how long after it SIGKILL follows; 2s by default',
    apply: (draft, value) => checkMilliseconds(value) ?? use(() => (draft.settings.gracePeriodMs = value)),
  },

  {
    name: 'user',
    value: 'NAME|UID[:GROUP|GID]',
    group: 'Identity',
    sets: 'user',
    help: 'who the command is inside; by default the caller. Names are looked up inside the root',
    apply: (draft, value) => use(() => (draft.rest.user = value)),
  },
  mapping('uid-map', 'uidMappings', 'uids'),
  mapping('gid-map', 'gidMappings', 'gids'),
  {
    name: 'hostname',
    value: 'NAME',
    group: 'Identity',
    sets: 'hostname',
    help: "the host name inside; 'sandbox' by default",
    apply: (draft, value) => use(() => (draft.rest.hostname = value)),
  },

  {
    name: 'network',
    value: 'none|host',
    group: 'Network',
    sets: 'network',
    help: 'none: only a loopback of its own (the default); host: all of this host’s network',
    completes: ['none', 'host'],
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, ['none', 'host'], 'network'),
        (network) => (draft.network = network),
      ),
  },
  {
    name: 'allow',
    value: 'HOST:PORT',
    repeatable: true,
    group: 'Network',
    sets: 'network.allow',
    help: 'a name and port that the command may reach (not served yet: refused)',
    apply: (draft, value) => use(() => draft.allow.push(value)),
  },
  {
    name: 'publish',
    value: '[ADDRESS:]PORT',
    repeatable: true,
    group: 'Network',
    sets: 'network.publish',
    help: 'a port of the sandbox to be reached from here (not served yet: refused)',
    apply: (draft, value) => use(() => draft.publish.push(value)),
  },

  time('wall', 'wallMs', 'wall-clock time; then everything in the sandbox is ended'),
  time('cpu', 'cpuMs', 'processor time of the whole sandbox; then SIGXCPU, then SIGKILL'),
  time('process-cpu', 'processCpuMs', 'processor time of each process, in whole seconds; then SIGXCPU, then SIGKILL'),
  size('output', 'outputBytes', 'bytes to stdout and stderr together; then everything in the sandbox is killed'),
  count('open-files', 'openFiles', 0, 'open descriptors of each process; then EMFILE'),
  size('file-size', 'fileBytes', 'size of any file that is written; then SIGXFSZ'),
  size('stack', 'stackBytes', 'stack of a process; then SIGSEGV'),
  size('core', 'coreBytes', 'size of a core file; 0B by default'),
  size('memory', 'memoryBytes', 'memory of the whole sandbox, its tmpfs mounts included; then it is killed'),
  count('pids', 'pids', 1, 'processes and threads of the command at one time; then it is killed'),
  size(
    'disk',
    'diskBytes',
    "bytes in all of the sandbox's own directories together, /tmp and $HOME among them; then ENOSPC",
  ),
  {
    name: 'cpus',
    value: 'NUMBER',
    group: 'Limits',
    sets: 'limits.cpus',
    help: "processors' worth of time, such as 1.5; beyond it processes wait",
    apply: (draft, value) =>
      read.attempt(
        () => read.readProcessors(value),
        (cpus) => (draft.limits.cpus = cpus),
      ),
  },

  {
    name: 'seccomp',
    value: 'default|strict|unconfined|FILE',
    group: 'Isolation',
    sets: 'seccomp',
    help: 'which system calls the command may make',
    details:
      "FILE holds a profile in JSON: the linux.seccomp object of an OCI config, a whole config.json, or a container engine's profile, as Docker's and podman's seccomp=FILE take it. A file in this directory is written ./FILE. strict leaves read, write and exit, so that no dynamic program starts.",
    completes: 'file',
    apply: (draft, value) =>
      read.attempt(
        () =>
          value.includes('/')
            ? read.readSeccompFile(value)
            : read.readWord(value, ['default', 'strict', 'unconfined'], 'seccomp profile, and no path with a slash'),
        (seccomp) => (draft.rest.seccomp = seccomp),
      ),
  },
  {
    name: 'seccomp-unknown-syscalls',
    value: 'error|ignore',
    group: 'Isolation',
    sets: 'seccompUnknownSyscalls',
    help: 'what names in a seccomp profile are that no machine has: an error by default',
    completes: ['error', 'ignore'],
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, ['error', 'ignore'], 'answer to unknown names'),
        (answer) => (draft.rest.seccompUnknownSyscalls = answer),
      ),
  },
  {
    name: 'on-syscall',
    value: 'ACTION:NAME[,NAME...]',
    repeatable: true,
    group: 'Isolation',
    sets: 'onSyscall',
    help: 'what becomes of single calls beyond the profile, the first that fits: log, errno[=NAME], kill, allow',
    details:
      'log: it goes on, and a line on stderr tells of it (with --json or --status-fd it is told there); errno: it fails with EPERM, or with the error of that name: ' +
      '--on-syscall errno=EACCES:connect,bind; kill: its process is ended; allow: it goes on untold, an exception to what follows. Arguments can be looked at in a profile of your own (--profile).',
    apply: (draft, value) =>
      read.attempt(
        () => read.readSyscallRule(value),
        (rule) => void draft.onSyscall.push(rule),
      ),
  },
  {
    name: 'cap-keep',
    value: 'CAP_NAME',
    repeatable: true,
    group: 'Isolation',
    sets: 'capabilities',
    help: 'a capability that the command keeps, within its own user namespace; none by default',
    completes: capabilityNames,
    apply: (draft, value) => checkCapability(value, nearest) ?? use(() => draft.capabilities.push(value)),
  },
  {
    name: 'landlock',
    value: 'PATH:ro|rox|rw|rwx',
    repeatable: true,
    group: 'Isolation',
    sets: 'landlock.paths',
    help: 'by Landlock: what the command may do below this path inside, and below no other that is not named',
    details:
      'ro: read; rox: execute too; rw: write, create, remove, rename; rwx: all of it. The command itself, its loader and its libraries are denied too unless a path covers them: ' +
      '--landlock /usr:rox --landlock /dev:rw.',
    apply: (draft, value) =>
      read.attempt(
        () => read.readLandlockPath(value),
        ({ path, access }) => {
          draft.landlock.paths = { ...draft.landlock.paths, [path]: access };
        },
      ),
  },
  ports('landlock-bind', 'bindTcp', 'bind'),
  ports('landlock-connect', 'connectTcp', 'connect to'),
  {
    name: 'landlock-scope',
    value: landlockScopes.join('|'),
    repeatable: true,
    group: 'Isolation',
    sets: 'landlock.scopes',
    help: 'by Landlock: what of others the command does not reach',
    completes: landlockScopes,
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, landlockScopes, 'scope of Landlock'),
        (scope) => {
          draft.landlock.scopes = [...(draft.landlock.scopes ?? []), scope];
        },
      ),
  },
  {
    name: 'backend',
    value: 'NAME',
    group: 'Isolation',
    help: 'this backend and no other; by default $SANDBOXLIB_BACKEND, else the first that can do it',
    completes: backendNames,
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, backendNames, 'backend'),
        (backend) => (draft.settings.backend = backend),
      ),
  },
  {
    name: 'optional',
    value: 'FEATURE|all',
    repeatable: true,
    group: 'Isolation',
    modes: ['run', 'explain', 'compile', 'pod'],
    help: 'go on without this feature where this host does not have it; a line says what was skipped',
    completes: [...features, 'all'],
    apply: (draft, value) => {
      const { settings } = draft;
      if (value === 'all') settings.optional = 'all';
      if (value === 'all' || settings.optional === 'all') return undefined;
      const { optional } = settings;
      return read.attempt(
        () => read.readWord(value, features, 'feature'),
        (feature) => optional.push(feature),
      );
    },
  },

  {
    name: 'profile',
    value: 'FILE',
    group: 'This run',
    help: 'a spec in JSON, as schema/sandbox-spec.schema.json has it; options go before it or add to it',
    details:
      'An option with one value replaces that of the file. Mounts, variables, writable paths, capabilities and allowed hosts are added to those of the file. ' +
      'Relative paths in the file start at the current directory.',
    completes: 'file',
    apply: (draft, value) => use(() => (draft.profile = value)),
  },
  {
    name: 'status-fd',
    value: 'N',
    group: 'This run',
    modes: ['run', 'explain'],
    help: 'write what happens as JSON lines to descriptor N: planned, started, and result or error',
    apply: (draft, value) =>
      read.attempt(
        () => read.readInteger(value, 1),
        (fd) => (draft.settings.statusFd = fd),
      ),
  },
  {
    name: 'image',
    value: 'REFERENCE',
    group: 'Images',
    sets: 'root.image',
    help: 'run in an image: a file, oci:DIR[:NAME], or a name at a registry; COMMAND is what follows its entry point',
    details:
      'A path begins with a slash or a dot. oci-archive:FILE[:NAME] and docker-archive:FILE[:NAME] name one of several images in an archive. What an image says about its command, ' +
      'environment, user and directory holds unless options say otherwise. It is unpacked once, below $XDG_CACHE_HOME/sandboxlib; every run starts from a clean view of it, and what it writes is discarded.',
    completes: 'file',
    apply: (draft, value) =>
      read.attempt(
        () => read.readImage(value),
        (image) => (draft.root.image = image),
      ),
  },
  {
    name: 'entrypoint',
    value: 'WORD',
    repeatable: true,
    group: 'Images',
    sets: 'root.entrypoint',
    help: 'a word of the entry point, in place of the one of the image; an empty one: COMMAND is all of it',
    apply: (draft, value) =>
      use(() => (draft.root.entrypoint = [...(draft.root.entrypoint ?? []), ...(value === '' ? [] : [value])])),
  },
  {
    name: 'pull',
    value: 'always|missing|never',
    group: 'Images',
    modes: ['run', 'explain'],
    help: 'whether the registry is asked for an image: where the store does not have it (missing, the default)',
    completes: ['always', 'missing', 'never'],
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, ['always', 'missing', 'never'], 'way to pull'),
        (word) => (draft.settings.image.pull = word),
      ),
  },
  {
    name: 'platform',
    value: 'OS/ARCH[/VARIANT]',
    group: 'Images',
    modes: ['run', 'explain', 'image'],
    help: 'which of the images of an index, such as linux/arm64; by default one for this host',
    apply: (draft, value) => use(() => (draft.settings.image.platform = value)),
  },
  {
    name: 'volume',
    value: 'NAME=PATH[:ro]',
    repeatable: true,
    group: 'Images',
    modes: ['pod'],
    help: 'a directory or file of this host as the volume NAME, in place of what the pod says it is',
    completes: 'file',
    apply: (draft, value) => {
      const match = /^([a-z0-9-]+)=(.+?)(:ro|:rw)?$/s.exec(value);
      if (match === null) return `must be NAME=PATH[:ro], such as data=./data, not '${value}'`;
      const [, name = '', path = '', mode] = match;
      if (Object.hasOwn(draft.volumes, name)) return `volume ${name} is given twice`;
      draft.volumes[name] = { source: resolve(path), readOnly: mode === ':ro' };
      return undefined;
    },
  },
  {
    name: 'dependency',
    value: 'FILE',
    repeatable: true,
    group: 'Images',
    modes: ['run', 'pod', 'explain', 'image'],
    help: 'an App Container image that the image may depend on; those in the store need not be named',
    completes: 'file',
    apply: (draft, value) =>
      use(() => (draft.settings.image.dependencies = [...(draft.settings.image.dependencies ?? []), value])),
  },
  {
    name: 'plain-http',
    value: 'HOST[:PORT]',
    repeatable: true,
    group: 'Images',
    modes: ['run', 'explain', 'changes', 'image'],
    help: 'a registry that is spoken to without TLS; those of this machine are',
    apply: (draft, value) =>
      use(() => (draft.settings.image.plainHttp = [...(draft.settings.image.plainHttp ?? []), value])),
  },
  {
    name: 'out',
    short: 'o',
    value: 'FILE',
    group: 'Output',
    modes: ['image', 'compile'],
    help: 'image build: the image to make, whose name ends in .aci; compile: the program',
    details: 'It gets its name when it is whole; where that fails, or a signal ends it, nothing of it is left.',
    completes: 'file',
    apply: (draft, value) => use(() => (draft.image.out = value)),
  },
  {
    name: 'compress',
    value: buildCompressions.join('|'),
    group: 'Images',
    modes: ['image'],
    help: 'build: how the image is compressed; gzip by default',
    details:
      'bzip2 and xz by the programs of those names. The image ID is of what is not compressed, and the same for all of them; the compressed bytes are the same for one version of the compressor.',
    completes: buildCompressions,
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, buildCompressions, 'compression'),
        (word) => (draft.image.compress = word),
      ),
  },
  {
    name: 'owner',
    value: 'UID:GID',
    group: 'Images',
    modes: ['image'],
    help: 'build: the owner of every file in the image; by default each has its own',
    apply: (draft, value) =>
      read.attempt(
        () => read.readOwner(value),
        (owner) => (draft.image.owner = owner),
      ),
  },
  {
    name: 'force',
    group: 'Output',
    modes: ['image', 'compile'],
    help: 'replace FILE where it exists, which is an error by default; compile replaces its own',
    apply: (draft) => use(() => (draft.image.force = true)),
  },
  {
    name: 'keyring',
    value: 'FILE',
    group: 'Images',
    modes: ['run', 'pod', 'explain', 'image'],
    help: 'an App Container image, and each that it depends on, must be signed by a key in this file',
    details:
      'FILE is as gpg --export writes it. The signature is FILE.aci.asc beside FILE.aci, and is checked by gpgv (Debian: gpgv) in a sandbox, each time. One that is missing or bad, or by a key that is unknown, expired or revoked, is an error; so is an image of any other kind. Of image: validate and pull.',
    completes: 'file',
    apply: (draft, value) =>
      use(() => {
        draft.image.keyring = value;
        draft.settings.image.keyring = value;
      }),
  },
  {
    name: 'archive-limit',
    value: 'NAME=NUMBER',
    repeatable: true,
    group: 'Images',
    modes: ['image'],
    help: `how much of an archive is believed: ${read.archiveLimitNames.join(', ')}`,
    details:
      'bytes: of all files together, holes too, as a SIZE (64GiB). entries: their number (1000000). ratio: bytes that one compressed byte may expand to (200), once ratioFloorBytes ' +
      '(256MiB) have come. nameBytes: of a path or a target (4095). depth: of directories (512). xattrBytes: of the extended attributes of one entry (128KiB). headerBytes: of its other headers (1MiB).',
    apply: (draft, value) =>
      read.attempt(
        () => read.readArchiveLimit(value),
        (limit) => Object.assign(draft.image.limits, limit),
      ),
  },
  {
    name: 'whiteouts',
    value: 'keep|apply|overlay',
    group: 'Images',
    modes: ['image'],
    help: 'what files called .wh.NAME are: files; removals from the archives before; or the marks of overlayfs',
    details: 'The default is keep for one archive, and apply for several, which are the layers of one tree.',
    completes: ['keep', 'apply', 'overlay'],
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, ['keep', 'apply', 'overlay'], 'way with whiteouts'),
        (word) => (draft.image.whiteouts = word),
      ),
  },
  {
    name: 'setid',
    value: 'keep|drop',
    group: 'Images',
    modes: ['image'],
    help: 'whether files keep their set-user-ID and set-group-ID bits (the default)',
    details:
      'Whoever reaches the directory can run such a program as its owner. The bits are dropped in any case where that owner cannot be kept.',
    completes: ['keep', 'drop'],
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, ['keep', 'drop'], 'way with set-user-ID bits'),
        (word) => (draft.image.setid = word),
      ),
  },
  {
    name: 'duplicates',
    value: 'refuse|last',
    group: 'Images',
    modes: ['image'],
    help: 'what of a name that an archive has twice: it is refused, or the last counts (the default)',
    completes: ['refuse', 'last'],
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, ['refuse', 'last'], 'way with duplicates'),
        (word) => (draft.image.duplicates = word),
      ),
  },
  {
    name: 'json',
    group: 'Output',
    modes: ['run', 'pod', 'explain', 'changes', 'doctor', 'backends', 'image'],
    help: 'for a run: the result as one JSON line, the last on stderr, unless --status-fd gets it; else: JSON instead of text',
    apply: (draft) => use(() => (draft.settings.json = true)),
  },
  {
    name: 'as',
    value: toolNames.join('|'),
    group: 'Output',
    modes: ['explain'],
    help: 'explain: the same sandbox as that tool has it, ready to paste; on stderr what it leaves out',
    details:
      'For bwrap, nspawn (systemd-nspawn), podman, docker, firejail and linux-user-chroot a command line; for oci (crun) and runc a config.json, and on stderr the ' +
      'command that runs it.',
    completes: toolNames,
    apply: (draft, value) =>
      read.attempt(
        () => read.readWord(value, toolNames, 'tool'),
        (tool) => (draft.settings.as = tool),
      ),
  },
  {
    name: 'verbose',
    short: 'v',
    group: 'Output',
    modes: ['run', 'doctor'],
    help: 'after a run: what was enforced, and by what; doctor: everything that was tried',
    apply: (draft) => use(() => (draft.settings.verbose = true)),
  },
  {
    name: 'quiet',
    short: 'q',
    group: 'Output',
    modes: ['run', 'pod', 'compile', 'image'],
    help: 'no hints, and no word of what was skipped; errors are still said',
    apply: (draft) => use(() => (draft.settings.quiet = true)),
  },
  {
    name: 'help',
    short: 'h',
    group: 'Output',
    modes: ['run', 'pod', 'explain', 'compile', 'changes', 'doctor', 'backends', 'image', 'completion', 'help'],
    help: 'print this and exit',
    apply: (draft) => use(() => (draft.settings.help = true)),
  },
  {
    name: 'version',
    group: 'Output',
    modes: ['run'],
    help: 'print the version and exit',
    apply: (draft) => use(() => (draft.settings.version = true)),
  },
];

type TimeKey = 'wallMs' | 'cpuMs' | 'processCpuMs';

type KeysOf<Value> = {
  [Key in keyof Limits]-?: Exclude<Limits[Key], undefined> extends Value ? Key : never;
}[keyof Limits];

function size(name: string, key: Exclude<KeysOf<number | string>, TimeKey>, help: string): Option {
  return {
    name,
    value: 'SIZE',
    group: 'Limits',
    sets: `limits.${key}`,
    help,
    apply: (draft, value) => checkBytes(value) ?? use(() => Object.assign(draft.limits, { [key]: value })),
  };
}

function time(name: string, key: TimeKey, help: string): Option {
  return {
    name,
    value: 'TIME',
    group: 'Limits',
    sets: `limits.${key}`,
    help,
    apply: (draft, value) => checkMilliseconds(value) ?? use(() => Object.assign(draft.limits, { [key]: value })),
  };
}

function count(name: string, key: KeysOf<number>, minimum: number, help: string): Option {
  return {
    name,
    value: 'NUMBER',
    group: 'Limits',
    sets: `limits.${key}`,
    help,
    apply: (draft, value) =>
      read.attempt(
        () => read.readInteger(value, minimum),
        (number) => (draft.limits[key] = number),
      ),
  };
}

function mapping(name: string, key: 'uidMappings' | 'gidMappings', ids: string): Option {
  return {
    name,
    value: 'INSIDE:OUTSIDE:COUNT',
    repeatable: true,
    group: 'Identity',
    sets: key,
    help: `which ${ids} inside stand for which outside; 'subordinate': the caller's ranges of /etc/sub${ids.slice(0, 3)}`,
    apply: (draft, value) => {
      const known = draft[key];
      if (known === 'subordinate' || (value === 'subordinate' && known !== undefined))
        return "'subordinate' excludes other mappings";
      if (value === 'subordinate') return use(() => (draft[key] = value));
      return read.attempt(
        () => read.readIdMapping(value),
        (range) => (draft[key] = [...(known ?? []), range]),
      );
    },
  };
}

function ports(name: string, key: 'bindTcp' | 'connectTcp', what: string): Option {
  return {
    name,
    value: 'PORT[,PORT...]|none',
    repeatable: true,
    group: 'Isolation',
    sets: `landlock.${key}`,
    help: `by Landlock: the TCP ports that the command may ${what}, and no others`,
    apply: (draft, value) =>
      read.attempt(
        () => read.readPorts(value),
        (list) => (draft.landlock[key] = [...(draft.landlock[key] ?? []), ...list]),
      ),
  };
}

function addMount(draft: Draft, origin: string, parse: () => MountSpec): string | undefined {
  return read.attempt(parse, (mount) => draft.mounts.push({ mount, origin }));
}

/** For what cannot be wrong. */
function use(write: () => unknown): undefined {
  write();
  return undefined;
}
