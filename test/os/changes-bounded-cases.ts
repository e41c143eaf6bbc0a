// Captured changes under limits.diskBytes: whatever the command does, no more of it comes to the disk, and all of what there was does, or an error.
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Changes, listChanges, openChanges, run } from '../../src/index.ts';
import { requires } from '../helpers/requires.ts';

const MiB = 1024 * 1024;
const library = new URL('../../dist/index.js', import.meta.url).href;

export function boundedChangesCases(): void {
  requires('linux', 'userns');
  let work: string;
  let project: string;
  let kept: Changes[] = [];

  beforeEach(() => {
    work = mkdtempSync(join(tmpdir(), 'bounded-'));
    chmodSync(work, 0o755);
    project = join(work, 'project');
    mkdirSync(join(project, 'src'), { recursive: true });
    writeFileSync(join(project, 'src/old'), 'old\n');
    writeFileSync(join(project, 'a'), 'a\n');
  });
  afterEach(async () => {
    for (const changes of kept) await changes.discard();
    kept = [];
    expect(await listChanges()).toEqual([]);
    rmSync(work, { recursive: true, force: true });
  });

  const spec = (diskBytes = 4 * MiB) =>
    ({ workspace: { path: project, access: 'overlay', changes: 'capture' }, limits: { diskBytes } }) as const;

  async function capture(script: string, interpreter: readonly string[] = ['sh', '-c']): Promise<Changes> {
    const { changes, enforcement } = await run([...interpreter, script], spec());
    if (changes === undefined) throw new Error('nothing was captured');
    kept.push(changes);
    expect(enforcement.applied).toContainEqual({
      feature: 'changes.capture',
      mechanism: 'the layer above in the tmpfs of limits.diskBytes, copied to a directory of the host at the end',
    });
    return changes;
  }

  test('take no more than that, in one file or in many', async () => {
    const script =
      'head -c 100M /dev/zero > big; rm -f a; i=0; while [ $i -lt 8000 ] && mkdir d$i 2>/dev/null; do i=$((i+1)); done; exit 0';
    expect(bytesOn(await capture(script))).toBeLessThan(10 * MiB);
    expect(bytesOn(await capture('head -c 100M /dev/zero > src/old || exit 0'))).toBeLessThan(6 * MiB);
  });

  test('count what has no name any more while it is open', async () => {
    requires('command:python3');
    const changes = await capture(
      'import os\nf = open("f", "wb")\nos.unlink("f")\ntry:\n while True: f.write(b"x" * 65536); f.flush()\nexcept OSError as e: open("/proc/self/fd/1", "w").write(str(e.errno))\nf.close()\nopen("done", "w")',
      ['python3', '-c'],
    );
    expect(changes.entries.map(({ path }) => path.slice(project.length))).toEqual(['/done']);
  });

  test('are not multiplied: a file with many names stays one, and holes stay holes', async () => {
    const changes = await capture(
      'head -c 1M /dev/zero > f; i=0; while [ $i -lt 50 ]; do ln f l$i; i=$((i+1)); done; truncate -s 500G sparse; echo x >> sparse',
    );
    expect(changes.entries).toHaveLength(52);
    expect(bytesOn(changes)).toBeLessThan(2 * MiB);
    const upper = join(changes.directory, '0/upper');
    expect([lstatSync(join(upper, 'f')).nlink, lstatSync(join(upper, 'l7')).ino]).toEqual([
      51,
      lstatSync(join(upper, 'f')).ino,
    ]);
    expect(lstatSync(join(upper, 'sparse')).size).toBe(500 * 1024 * MiB + 2);
  });

  test('are what they were: content, modes and times', async () => {
    const text = 'x'.repeat(100_000);
    const changes = await capture(
      `printf ${text} > src/old; echo y > n; chmod 6751 n; touch -d @1000000000.5 n; ln -s n s; touch -hd @1000000001 s; mkdir -m 1770 d; touch -d @1000000002 d; mkfifo -m 620 p`,
    );
    const upper = join(changes.directory, '0/upper');
    const of = (name: string): [string, number] => {
      const { mode, mtimeMs } = lstatSync(join(upper, name));
      return [(mode & 0o7777).toString(8), mtimeMs];
    };
    expect(readFileSync(join(upper, 'src/old'), 'utf8')).toBe(text);
    expect([of('n'), of('s')[1], of('d')]).toEqual([['6751', 1000000000500], 1000000001000, ['1770', 1000000002000]]);
    expect([lstatSync(join(upper, 'p')).isFIFO(), of('p')[0]]).toEqual([true, '620']);
    expect(readdirSync(join(changes.directory, '0')).sort()).toEqual(['upper', 'work']);
  });

  test('that the disk does not take are an error, which says so, and nothing is left', async () => {
    requires('command:prlimit');
    // The bound of the caller on files stands in for a full disk: the command raises its own, and the launcher has it still.
    const script = `
        const { run } = await import(${JSON.stringify(library)});
        const error = await run(['sh', '-c', 'ulimit -S -f unlimited; head -c 2M /dev/zero > big'], ${JSON.stringify(spec())}).catch((error) => error);
        console.log(JSON.stringify({ code: error.code, message: error.message, step: error.step, errno: error.errno, remedy: error.remedy }));`;
    const { stdout, stderr } = spawnSync(
      'prlimit',
      [`--fsize=${MiB}:unlimited`, process.execPath, '--input-type=module', '-e', script],
      { encoding: 'utf8' },
    );
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'SBX_LAUNCH_FAILED',
      step: 'capture',
      errno: 'EFBIG',
      message: expect.stringMatching(
        /^cannot keep any of the changes, because of big: EFBIG from sendfile\(2\), step capture/,
      ),
      remedy: expect.stringContaining('XDG_STATE_HOME'),
    });
    expect(await listChanges()).toEqual([]);
  });

  test('outlast a caller that was killed', async () => {
    const script = `
        const { run } = await import(${JSON.stringify(library)});
        await run(['sh', '-c', 'echo 1 > a; rm -r src; echo ready; sleep 600'], ${JSON.stringify(spec())}, { stdout: 'inherit' });`;
    const caller = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => caller.stdout.once('data', resolve));
    caller.kill('SIGKILL');
    // The launcher finds out, ends the command, and keeps what it changed.
    await expect
      .poll(
        async () => {
          const [summary] = await listChanges();
          const changes = summary === undefined ? undefined : await openChanges(summary.id).catch(() => undefined);
          return changes?.entries.map(({ kind, path }) => `${kind} ${path.slice(project.length)}`);
        },
        { timeout: 30_000 },
      )
      .toEqual(['modified /a', 'deleted /src']);
    const [{ id } = { id: '' }] = await listChanges();
    kept.push(await openChanges(id));
  });
}

/** That captured changes take, in blocks, each inode once. */
function bytesOn({ directory }: Changes): number {
  const seen = new Set<number>();
  const sum = (path: string): number => {
    const { ino, blocks } = lstatSync(path);
    const own = seen.has(ino) ? 0 : blocks * 512;
    seen.add(ino);
    return lstatSync(path).isDirectory()
      ? readdirSync(path).reduce((total, name) => total + sum(join(path, name)), own)
      : own;
  };
  return sum(directory);
}
