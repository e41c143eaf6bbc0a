// Around every test file: it has a temporary directory of its own, and must leave the machine as it found it.
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { endServers } from '../../src/backends/launcher/server.ts';
import { type Inventory, markProcess, takeInventory, waitForNothingLeft } from './leftovers.ts';

const originalTmpdir = process.env['TMPDIR'];
let inventory: Inventory;
let temporary: string;

beforeAll(() => {
  temporary = mkdtempSync(join(tmpdir(), 'sandboxlib-test-'));
  // Tests that drop to an ordinary user need to pass through it.
  chmodSync(temporary, 0o755);
  process.env['TMPDIR'] = temporary;
  process.env['XDG_STATE_HOME'] = join(temporary, 'state');
  process.env['XDG_CACHE_HOME'] = join(temporary, 'cache');
  markProcess();
  inventory = takeInventory();
});

// Hooks after all run in reverse order, and setup files come first: this is the last thing that happens in the file.
afterAll(async () => {
  await endServers();
  if (originalTmpdir === undefined) delete process.env['TMPDIR'];
  else process.env['TMPDIR'] = originalTmpdir;
  // A cache stays on purpose.
  rmSync(join(temporary, 'cache'), { recursive: true, force: true });
  removeEmpty(temporary, ['state', 'sandboxlib', 'changes']);
  const files = readdirSync(temporary).map((name) => `temporary file ${name}`);
  rmSync(temporary, { recursive: true, force: true });
  const left = [...files, ...(await waitForNothingLeft(inventory))];
  if (left.length > 0) throw new Error(`left behind:\n${left.join('\n')}`);
});

/** Captured changes are kept on purpose; a test that leaves some has forgotten them. */
function removeEmpty(parent: string, names: readonly string[]): void {
  const [name, ...deeper] = names;
  if (name === undefined) return;
  const directory = join(parent, name);
  removeEmpty(directory, deeper);
  if (existsSync(directory) && readdirSync(directory).length === 0) rmdirSync(directory);
}
