// How long /bin/true takes from Node, by the memory that Node holds, and by who starts it.

import { benchDirectory } from '../lib/bench-directory.mjs';
import { elsewhere, users } from '../lib/elsewhere.mjs';
import { inTurn } from '../lib/harness.mjs';
import { compiledWay, ours } from '../lib/ours.mjs';
import { samePeers, sandboxRuntimeWay, shortPeers } from '../lib/peers.mjs';
import { start } from '../lib/start.mjs';

const MiB = 1024 * 1024;

export async function* measure({ rounds, quick }) {
  for (const user of users()) {
    for (const heapMiB of quick ? [0, 256] : [0, 256, 1024]) {
      yield elsewhere(import.meta.url, { rounds: rounds ?? (quick ? 5 : 60), heapMiB, user }, user);
    }
  }
}

export async function worker({ rounds, heapMiB, user }) {
  // Touched, so that the kernel has pages to copy the tables of.
  const held = Array.from({ length: heapMiB / 64 }, () => Buffer.alloc(64 * MiB, 1));
  const command = ['/bin/true'];
  const directory = benchDirectory();
  const own = await ours({}, command);
  const runtime = await sandboxRuntimeWay(command);
  const ways = [
    { name: 'plain spawn', once: () => start(command) },
    ...own.ways,
    compiledWay([], command, directory),
    ...shortPeers(command),
    ...(await samePeers({}, command, directory)),
    ...runtime.ways,
  ];
  const table = await inTurn(`/bin/true as ${user}, Node holding ${heapMiB} MiB`, ways, { rounds });
  await own.dispose();
  await runtime.dispose();
  return held.length === -1 ? undefined : table;
}
