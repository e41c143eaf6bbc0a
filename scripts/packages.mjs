// Debian packages that set-up installs when it runs as root, each with what needs it. Nothing else of the machine is changed.

/** For the launcher; without them an ordinary user's gcc with the static glibc does. */
export const compilerPackages = {
  gcc: 'compiles the launcher',
  'libc6-dev': 'headers and static libc for gcc; the demonstration links with it',
  'musl-tools': 'musl-gcc: a launcher of a tenth of the size, which starts in a third of the time',
};

/** For `npm test`. A test without its package is skipped with the reason, and in CI that is a failure. */
export const testPackages = {
  ...compilerPackages,
  make: 'builds the demonstration and runs the checks of native/',
  bubblewrap: 'the peer that measurements and escape tests are compared with',
  firejail: 'a set-user-ID sandbox that the library can start',
  proot: 'a view of another root by ptrace that the library can start',
  crun: 'an OCI runtime, for the backend oci',
  runc: 'another, with another idea of user namespaces and control groups',
  'systemd-container':
    'systemd-nspawn, a container that the library can start as root; also runs what `explain --as nspawn` prints',
  podman: 'a container engine that the library can start; also runs what `explain --as podman` prints',
  'docker-registry': 'a registry, for its client',
  skopeo: 'puts images into registries and files, as others do',
  umoci: 'makes images, whose layers it compares by itself',
  'squashfs-tools-ng': 'makes images of squashfs, and reads them for the library',
  'erofs-utils': 'does the same with those of erofs',
  buildah: 'makes images as container engines do',
  git: 'applies the differences that the library shows',
  'xz-utils': 'writes archives that the library reads, as bzip2, zstd and bsdtar do',
  bzip2: 'another compressor',
  zstd: 'another compressor',
  'libarchive-tools': 'bsdtar, which has a tar of its own',
  gpgv: 'checks signatures of images',
  gpg: 'makes keys and signatures for that',
  'gpg-agent': 'holds those keys; gpg only recommends it',
  gpgconf: 'ends that agent',
  strace: 'injects faults into system calls of the launcher',
  'libseccomp-dev': 'another compiler of filters, which ours is compared with',
  'golang-github-containers-common': 'the profile that container engines use by default, in their own words',
  'busybox-static': 'a root file system of one file',
  debootstrap: 'a whole Debian as root file system',
  uidmap: 'newuidmap and newgidmap: ranges of subordinate ids',
  clang: 'sanitizers and the fuzzer for native/',
  'libclang-rt-14-dev': 'the run-time part of those',
  'clang-tidy': 'analyses native/',
  cppcheck: 'analyses native/, with another idea of what is wrong',
  // Not gcc-multilib, which cannot be installed beside a cross compiler.
  'gcc-12-multilib': '32-bit programs, which must not pass by the seccomp filter',
  'gcc-aarch64-linux-gnu': 'the launcher for arm64',
  'libc6-dev-arm64-cross': 'the libc of that',
  'groff-base': 'formats the manual page, and says what is wrong with it',
  'qemu-system-arm': 'a machine of 64-bit Arm for the launcher of that architecture',
  // Registers nothing by itself where binfmt-support is not installed, which it only recommends.
  'qemu-user-static': 'programs of other architectures in the sandbox',
  iproute2: 'tests look at interfaces and routes from inside',
  procps: 'tests look at processes and sysctls from inside',
  python3: 'a larger program that must run inside, and a language with its own idea of ioctl and sockets',
  'ca-certificates': 'fetching packages over https',
};
