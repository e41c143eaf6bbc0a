// How the time to start grows with mounts.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { benchDirectory } from '../lib/bench-directory.mjs';
import { inTurn } from '../lib/harness.mjs';
import { ours } from '../lib/ours.mjs';
import { samePeers } from '../lib/peers.mjs';
import { start } from '../lib/start.mjs';

export async function* measure({ rounds, quick }) {
  const directory = benchDirectory();
  const command = ['/bin/true'];
  for (const count of quick ? [1, 100] : [1, 10, 100, 1000]) {
    const mounts = Array.from({ length: count }, (_, index) => {
      const source = join(directory, `source-${index}`);
      mkdirSync(source, { recursive: true });
      return `${source}:/mnt/${index}`;
    });
    const own = await ours({ mounts }, command);
    const ways = [
      { name: 'plain spawn', once: () => start(command) },
      ...own.ways,
      ...(await samePeers({ mounts }, command, directory, ['bwrap', 'crun', 'runc', 'systemd-nspawn'])),
    ];
    yield await inTurn(`/bin/true, ${count} bind mounts more`, ways, { rounds: rounds ?? (quick ? 3 : 20) });
    await own.dispose();
  }
}
