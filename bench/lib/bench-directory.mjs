// A directory for what a bench makes, gone with the process.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** @returns {string} */
export function benchDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'sandboxlib-bench-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
