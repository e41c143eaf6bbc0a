// A compiled plan against bubblewrap in a shell loop, where nobody pays for Node.
import { benchDirectory } from '../lib/bench-directory.mjs';
import { inTurn } from '../lib/harness.mjs';
import { compiledWay } from '../lib/ours.mjs';
import { isInstalled } from '../lib/peers.mjs';
import { start } from '../lib/start.mjs';

export async function* measure({ rounds, quick }) {
  const directory = benchDirectory();
  const command = ['/bin/true'];
  const times = quick ? 10 : 100;
  const { file } = compiledWay([], command, directory);
  const loop = (name, script, ...words) => ({
    name,
    once: async () => {
      const begin = performance.now();
      await start([
        'sh',
        '-c',
        `i=0; while [ $i -lt ${times} ]; do ${script} || exit 1; i=$((i + 1)); done`,
        'sh',
        ...words,
      ]);
      return (performance.now() - begin) / times;
    },
  });
  const short = ['bwrap', '--unshare-all', '--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev', '--', ...command];
  yield inTurn(
    `/bin/true in a loop of sh, each of ${times}`,
    [
      loop('plain', '"$@"', ...command),
      loop('sandboxlib, a compiled plan', '"$@"', file),
      isInstalled('bwrap')
        ? loop('bwrap --unshare-all, one bind of /', '"$@"', ...short)
        : { name: 'bwrap --unshare-all, one bind of /', absent: 'not installed' },
    ],
    { rounds: rounds ?? (quick ? 2 : 10) },
  );
}
