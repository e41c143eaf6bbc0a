// Programs that no distribution has any more, played by ours (native/test). They are found first on PATH by every test.
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const built = fileURLToPath(new URL('../../build/test/linux-user-chroot', import.meta.url));

/** Set-user-ID, as the real one is, where root runs the tests. Returns what removes it. */
export function installStandIns(): () => void {
  const directory = mkdtempSync(join(tmpdir(), 'stand-ins-'));
  chmodSync(directory, 0o755);
  const program = join(directory, 'linux-user-chroot');
  copyFileSync(built, program);
  chmodSync(program, process.getuid?.() === 0 ? 0o4755 : 0o755);
  process.env['PATH'] = `${directory}:${process.env['PATH'] ?? ''}`;
  return () => rmSync(directory, { recursive: true });
}
