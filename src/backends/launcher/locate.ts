// Finds the launcher in this package, or explains. Nothing is hashed here: this is on the way of every run.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { BackendError } from '../../errors/errors.ts';
import { packageRoot } from '../../host/package-root.ts';

/**
 * Absolute path of the launcher for this machine.
 *
 * The environment variable `SANDBOXLIB_LAUNCHER` overrides it.
 *
 * @throws {BackendError} when there is none for this platform, or its file is gone.
 */
export function launcherPath(): string {
  const override = process.env['SANDBOXLIB_LAUNCHER'];
  if (override !== undefined && override !== '')
    return existing(override, () => 'SANDBOXLIB_LAUNCHER names it', 'unset SANDBOXLIB_LAUNCHER');
  if (process.platform !== 'linux' || !(process.arch === 'x64' || process.arch === 'arm64'))
    throw unsupportedPlatform();
  const prebuilds = `${packageRoot()}prebuilds/`;
  return existing(
    `${prebuilds}linux-${process.arch}/launcher`,
    () => `${prebuilds} holds ${contents(prebuilds)}`,
    'reinstall the package, or in a checkout build it with "npm run build"; SANDBOXLIB_LAUNCHER may name one elsewhere',
  );
}

let lookedAt: { readonly override: string | undefined; readonly path: string } | undefined;

/** The same, looked at only once: for whoever has started one already. */
export function knownLauncherPath(): string {
  const override = process.env['SANDBOXLIB_LAUNCHER'];
  if (lookedAt === undefined || lookedAt.override !== override) lookedAt = { override, path: launcherPath() };
  return lookedAt.path;
}

/** What to do about a launcher that is there and does not work. */
export function remedyForLauncher(launcher: string): string {
  return process.env['SANDBOXLIB_LAUNCHER'] === launcher
    ? 'SANDBOXLIB_LAUNCHER names it: see that it is the launcher of this version, or unset it'
    : 'reinstall the package, so that launcher and library are of one version';
}

/** An empty file would even run: as a shell script that does nothing and succeeds, execvp(3). */
function existing(file: string, found: () => string, remedy: string): string {
  const wrong = whatIsWrong(file);
  if (wrong === undefined) return file;
  throw new BackendError(
    'cannot start a sandbox',
    [{ backend: 'native', because: `the launcher ${file} ${wrong} (${found()})` }],
    wrong === NOT_EXECUTABLE ? `make it executable, or ${remedy}` : remedy,
  );
}

const NOT_EXECUTABLE = 'is not executable';

function whatIsWrong(file: string): string | undefined {
  const status = statSync(file, { throwIfNoEntry: false });
  if (status === undefined) return 'does not exist';
  if (status.isDirectory()) return 'is a directory';
  if (!status.isFile()) return 'is not a file';
  if (status.size === 0) return 'is empty';
  return (status.mode & 0o111) === 0 ? NOT_EXECUTABLE : undefined;
}

function contents(prebuilds: string): string {
  const names = existsSync(prebuilds) ? readdirSync(prebuilds).filter((name) => name.startsWith('linux-')) : [];
  return names.length === 0 ? 'no launcher' : names.sort().join(', ');
}

function unsupportedPlatform(): BackendError {
  const because = `the launcher needs Linux on x64 or arm64, this is ${process.platform} on ${process.arch}`;
  return new BackendError(
    'cannot start a sandbox',
    [{ backend: 'native', because }],
    'run in a Linux virtual machine, or name the backend "none", which isolates nothing',
  );
}
