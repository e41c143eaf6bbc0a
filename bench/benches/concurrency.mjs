// How many runs of /bin/true a second, so many at a time.
import { benchDirectory } from '../lib/bench-directory.mjs';
import { inTurn } from '../lib/harness.mjs';
import { compiledWay, ours } from '../lib/ours.mjs';
import { samePeers, shortPeers } from '../lib/peers.mjs';
import { start } from '../lib/start.mjs';

export async function* measure({ rounds, quick }) {
  const directory = benchDirectory();
  const command = ['/bin/true'];
  const own = await ours({}, command);
  const ways = [
    { name: 'plain spawn', once: () => start(command) },
    ...own.ways,
    compiledWay([], command, directory),
    ...shortPeers(command),
    ...(await samePeers({}, command, directory, ['bwrap', 'crun', 'runc'])),
  ];
  for (const atOnce of quick ? [1, 16] : [1, 2, 4, 16, 64, 1000]) {
    const total = quick ? 32 : Math.max(200, atOnce);
    const batches = ways.map(({ once, ...way }) =>
      once === undefined ? way : { ...way, once: () => perSecond(once, atOnce, total) },
    );
    yield await inTurn(`/bin/true, ${total} runs, ${atOnce} at once`, batches, {
      rounds: rounds ?? (quick ? 1 : 5),
      unit: 'runs/s',
      warm: false,
    });
  }
  await own.dispose();
}

async function perSecond(once, atOnce, total) {
  let left = total;
  const begin = performance.now();
  const lane = async () => {
    while (left-- > 0) await once();
  };
  // All of them to their end, also where one fails: what goes on would be measured with the next way.
  const lanes = await Promise.allSettled(Array.from({ length: atOnce }, lane));
  const failed = lanes.find(({ status }) => status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return (1000 * total) / (performance.now() - begin);
}
