// Roots out of images: what layers cost at a start, what it takes to unpack, and what a command changed.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSandbox } from '../../dist/index.js';
import { benchDirectory } from '../lib/bench-directory.mjs';
import { inTurn } from '../lib/harness.mjs';
import { writeLayout, writeRoot } from '../lib/layout.mjs';
import { cli } from '../lib/ours.mjs';
import { isInstalled } from '../lib/peers.mjs';
import { start } from '../lib/start.mjs';

const busybox = '/bin/busybox';

export async function* measure({ rounds, quick }) {
  const directory = benchDirectory();
  // Nothing of it is to come from, or to go to, the caller's store.
  process.env.XDG_CACHE_HOME = join(directory, 'cache');
  process.env.XDG_STATE_HOME = join(directory, 'state');
  yield await starts(directory, { rounds, quick });
  yield await unpacking(directory, { rounds, quick });
  yield await changes(directory, { rounds, quick });
}

async function starts(directory, { rounds, quick }) {
  const title = '/bin/true in a root of layers that are in the store';
  if (!existsSync(busybox)) {
    const absent = `${busybox}, of Debian's busybox-static, is not installed`;
    return { title, unit: 'ms', rows: [{ name: 'a directory', absent }] };
  }
  const plain = join(directory, 'root');
  writeRoot(plain, busybox);
  const sandboxes = [];
  const way = async (name, root) => {
    const sandbox = await createSandbox({ root });
    sandboxes.push(sandbox);
    return { name, once: async () => void (await sandbox.run(['/bin/true'], { stdin: 'ignore' })).assertSuccess() };
  };
  const ways = [await way('a directory', { path: plain })];
  for (const layers of quick ? [1, 10] : [1, 10, 100]) {
    const layout = join(directory, `layout-${layers}`);
    writeLayout(layout, layers, busybox);
    ways.push(await way(layers === 1 ? '1 layer' : `${layers} layers`, { image: layout }));
  }
  const table = await inTurn(title, ways, { rounds: rounds ?? (quick ? 3 : 30) });
  await Promise.all(sandboxes.map((sandbox) => sandbox.dispose()));
  return table;
}

async function unpacking(directory, { rounds, quick }) {
  const bytes = (quick ? 8 : 200) * 1024 * 1024;
  const files = join(directory, 'files');
  const archive = join(directory, 'files.tar');
  writeFiles(files, bytes, quick ? 500 : 8000);
  execFileSync('tar', ['-C', files, '-cf', archive, '.']);
  rmSync(files, { recursive: true });
  const into = join(directory, 'into');
  const fresh = (name, argv) => ({
    name,
    once: async () => {
      rmSync(into, { recursive: true, force: true });
      mkdirSync(into);
      const begin = performance.now();
      await start(argv);
      return performance.now() - begin;
    },
  });
  const ways = [
    fresh('tar -x', ['tar', '-C', into, '-xf', archive]),
    fresh('run-sandbox image unpack', [process.execPath, cli, 'image', 'unpack', archive, into]),
    umoci(directory, archive, into),
  ];
  return inTurn(`unpacking ${bytes / 1024 / 1024} MiB in ${quick ? 500 : 8000} files`, ways, {
    rounds: rounds ?? (quick ? 1 : 5),
  });
}

function umoci(directory, archive, into) {
  const name = 'umoci unpack';
  if (!isInstalled('umoci')) return { name, absent: 'not installed' };
  const layout = join(directory, 'umoci');
  execFileSync('umoci', ['init', '--layout', layout]);
  execFileSync('umoci', ['new', '--image', `${layout}:a`]);
  execFileSync('umoci', ['raw', 'add-layer', '--image', `${layout}:a`, archive]);
  const owner = process.getuid() === 0 ? [] : ['--rootless'];
  return {
    name,
    note: 'of a layer that is compressed by gzip, as it makes them',
    once: async () => {
      rmSync(into, { recursive: true, force: true });
      const begin = performance.now();
      await start(['umoci', 'unpack', ...owner, '--image', `${layout}:a`, into]);
      return performance.now() - begin;
    },
  };
}

/** An agent's run over a copy of a project: five files edited, one deleted, and the difference shown. */
async function changes(directory, { rounds, quick }) {
  const count = quick ? 1000 : 20_000;
  const project = join(directory, 'project');
  writeFiles(project, count * 400, count);
  const [first] = readdirSync(project);
  const names = readdirSync(join(project, first)).slice(0, 6);
  const edits = names
    .slice(1)
    .map((name) => `echo edited >> ${first}/${name}`)
    .join('; ');
  const script = `${edits}; rm ${first}/${names[0]}`;
  const view = { type: 'overlay', source: project, destination: '/project', changes: 'capture' };
  const sandbox = await createSandbox({ mounts: [view], cwd: '/project' });
  const edit = async () => (await sandbox.run(['sh', '-c', script])).assertSuccess();
  const timed = async (act) => {
    const begin = performance.now();
    await act();
    return performance.now() - begin;
  };
  const ways = [
    { name: 'the run', once: async () => void (await (await edit()).changes.discard()) },
    {
      name: 'then its changes as a diff',
      once: async () => {
        const { changes: seen } = await edit();
        const time = await timed(async () => {
          const text = await seen.diff();
          if ((text.match(/^\+.*edited$/gm) ?? []).length !== 5) throw new Error('the diff is not what was edited');
        });
        await seen.discard();
        return time;
      },
    },
    {
      name: 'cp -a of the project, and diff -r',
      once: () => {
        const copy = join(directory, 'copy');
        rmSync(copy, { recursive: true, force: true });
        return timed(async () => {
          await start(['cp', '-a', project, copy]);
          unlinkSync(join(copy, first, names[0]));
          await start(['sh', '-c', 'diff -r "$0" "$1"; [ $? = 1 ]', project, copy]);
        });
      },
    },
  ];
  const table = await inTurn(`five of ${count} files edited, one deleted, by a run over a view of them`, ways, {
    rounds: rounds ?? (quick ? 1 : 5),
  });
  await sandbox.dispose();
  return table;
}

/** Files of one size, a hundred to a directory. */
function writeFiles(root, bytes, count) {
  const size = Math.floor(bytes / count);
  for (let number = 0; number < count; number++) {
    const directory = join(root, String(Math.floor(number / 100)));
    if (number % 100 === 0) mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, String(number)), Buffer.alloc(size, `${number}\n`));
  }
}
