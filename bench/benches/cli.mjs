// What a shell pays: the command line against Node alone, and against a compiled plan.
import { benchDirectory } from '../lib/bench-directory.mjs';
import { inTurn } from '../lib/harness.mjs';
import { cli, compiledWay } from '../lib/ours.mjs';
import { start } from '../lib/start.mjs';

export async function* measure({ rounds, quick }) {
  const ways = [
    { name: 'node -e 0', once: () => start([process.execPath, '-e', '0']) },
    { name: 'run-sandbox --version', once: () => start([process.execPath, cli, '--version']) },
    { name: 'run-sandbox -- true', once: () => start([process.execPath, cli, '--', 'true']) },
    compiledWay([], ['true'], benchDirectory()),
  ];
  yield inTurn('the command line', ways, { rounds: rounds ?? (quick ? 3 : 30) });
}
