// Changes captured by an ordinary user who has ranges of ids, through newuidmap(1) and newgidmap(1) for real: what the command leaves belongs to ids that
// this user is not.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
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
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buildCli } from '../helpers/cli.ts';
import { aci, BUSYBOX, busyboxRoot, ociImage, writeLayout } from '../helpers/images.ts';
import { account, ranges, rangesNeed, scriptWithPrivateEtc } from '../helpers/private-etc.ts';
import { requires, whyMissing } from '../helpers/requires.ts';
import { tar } from '../helpers/tar.ts';

const needs = [...rangesNeed, `file:${BUSYBOX}`] as const;
requires(...needs);

const module = new URL('../../dist/index.js', import.meta.url);

let work: string;
let image: string;

beforeAll(() => {
  if (needs.some((need) => whyMissing(need) !== undefined)) return;
  buildCli();
  work = mkdtempSync(join(tmpdir(), 'changes-ranges-'));
  chmodSync(work, 0o755);
  for (const name of ['cache', 'state', 'project']) own(join(work, name));
  const closed = tar(
    { name: 'closed/', type: '5', mode: 0o700, uid: 77, gid: 78 },
    { name: 'closed/file', content: 'old\n', mode: 0o600, uid: 77, gid: 78 },
    { name: 'closed/gone', content: 'gone\n', mode: 0o600, uid: 77, gid: 78 },
  );
  image = writeLayout(join(work, 'layout'), ociImage([tar(...busyboxRoot()), closed], {}));
});
afterAll(() => {
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
});
/** Nothing of one test is there in the next. */
beforeEach(() => {
  for (const name of captures()) rmSync(join(work, 'state/sandboxlib/changes', name), { recursive: true });
});

function own(path: string): void {
  mkdirSync(path, { mode: 0o700 });
  chownSync(path, account.uid, account.gid);
}

function captures(): string[] {
  const directory = join(work, 'state/sandboxlib/changes');
  return existsSync(directory) ? readdirSync(directory) : [];
}

/** What `script` returns, whose names are those of the library, `image`, `project` and `sh`, as that user. */
function said<T>(script: string, also = ''): T {
  const program = `
process.env.XDG_CACHE_HOME = ${JSON.stringify(join(work, 'cache'))};
process.env.XDG_STATE_HOME = ${JSON.stringify(join(work, 'state'))};
const library = await import(${JSON.stringify(module.href)});
const { run, openChanges, listChanges, discardChanges } = library;
const image = ${JSON.stringify(image)};
const project = ${JSON.stringify(join(work, 'project'))};
const sh = (text, spec) => run(['/bin/sh', '-c', text], spec);
const bytes = async (chunks) => { const all = []; for await (const chunk of chunks) all.push(chunk); return Buffer.concat(all).toString('base64'); };
const answer = await (async () => { ${script} })().catch(({ code, message }) => ({ code, message }));
console.log(JSON.stringify(answer));
`;
  return JSON.parse(scriptWithPrivateEtc({ subuid: ranges, also }, program)) as T;
}

/** Root of the image, over files of others. */
const asRoot = `user: { uid: 0, gid: 0 }, capabilities: ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER']`;
const edit = `
echo new > /closed/file; chown 5:6 /closed/file; rm /closed/gone
mkdir -m 700 /secret; echo mine > /secret/deep; chmod 0 /secret/deep; chown -R 9:9 /secret
echo plain > /plain`;

for (const [name, limits] of [
  ['on the disk', '{}'],
  ['in memory first', "{ diskBytes: '16MB' }"],
] as const) {
  test(`what root of an image did to files of others is listed, shown, exported and thrown away: ${name}`, () => {
    const told = said<{
      entries: { kind: string; path: string }[];
      diff: string;
      again: { path: string }[];
      layer: string;
      left: number;
    }>(`
      const { changes, outcome, stderr } = await sh(${JSON.stringify(edit)}, {
        root: { image, entrypoint: [], changes: 'capture' }, ${asRoot}, limits: ${limits} });
      if (outcome.code !== 0) throw new Error(stderr);
      const again = await openChanges(changes.id);
      const answer = { entries: changes.entries, diff: await again.diff(), again: again.entries, layer: await bytes(again.export('oci-layer')) };
      await again.discard();
      return { ...answer, left: (await listChanges()).length };`);
    expect(told.entries?.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
      'modified /closed/file',
      'deleted /closed/gone',
      'added /plain',
      'added /secret',
      'added /secret/deep',
    ]);
    expect(told.again).toEqual(told.entries);
    for (const line of ['-old', '+new', '-gone', '+mine', '+plain']) expect(told.diff.split('\n')).toContain(line);
    const input = Buffer.from(told.layer, 'base64');
    const listed = execFileSync('tar', ['-tv', '--numeric-owner'], { input, encoding: 'utf8', stdio: 'pipe' });
    const lines = listed
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/\s+/));
    // Without size and time.
    expect(lines.map(([mode, owner, , , , path]) => `${mode} ${owner} ${path}`)).toEqual([
      'drwx------ 77/78 closed/',
      '-rw------- 5/6 closed/file',
      '-rw-r--r-- 0/0 closed/.wh.gone',
      '-rw-r--r-- 0/0 plain',
      'drwx------ 9/9 secret/',
      '---------- 9/9 secret/deep',
    ]);
    const content = execFileSync('tar', ['-xO'], { input, encoding: 'utf8', stdio: 'pipe' });
    expect(content).toBe('new\nplain\nmine\n');
    expect(told.left).toBe(0);
    expect(captures()).toEqual([]);
  });
}

test('what could not be listed is thrown away all the same', () => {
  const told = said<unknown>(`
    const { changes } = await sh(${JSON.stringify(edit)}, { root: { image, entrypoint: [], changes: 'capture' }, ${asRoot} });
    await discardChanges(changes.id);
    return await discardChanges(changes.id);`);
  expect(told).toMatchObject({ code: 'SBX_CHANGES_UNKNOWN' });
  expect(captures()).toEqual([]);
});

test('a run that fails after its command wrote leaves nothing', () => {
  const told = said<unknown>(`
    const { Writable } = await import('node:stream');
    const stdout = new Writable({ write: (chunk, encoding, done) => done(new Error('the reader fails')) });
    return await run(['/bin/sh', '-c', ${JSON.stringify(`${edit}; echo done; sleep 9`)}],
      { root: { image, entrypoint: [], changes: 'capture' }, ${asRoot} }, { stdout });`);
  expect(told).toMatchObject({ message: expect.stringContaining('the reader fails') });
  expect(captures()).toEqual([]);
});

test('changes of a directory of the host are applied as files of the caller', () => {
  const project = join(work, 'project');
  writeFileSync(join(project, 'kept'), 'kept\n');
  writeFileSync(join(project, 'edited'), 'old\n');
  for (const name of ['kept', 'edited']) chownSync(join(project, name), account.uid, account.gid);
  const told = said<{ before: string; report: { applied: number; skipped: { source: string; because: string }[] } }>(`
    const { readFileSync } = await import('node:fs');
    const { changes, outcome, stderr } = await sh(
      'cd /project; echo new > edited; mkdir -m 700 others; echo theirs > others/file; chmod 600 others/file; chown -R 9:9 others', {
      mounts: [{ type: 'overlay', source: project, destination: '/project', changes: 'capture' }],
      uidMappings: 'subordinate', gidMappings: 'subordinate', ${asRoot} });
    if (outcome.code !== 0) throw new Error(stderr);
    return { before: readFileSync(project + '/edited', 'utf8'), report: await changes.apply() };`);
  expect(told).toMatchObject({ before: 'old\n', report: { applied: 3 } });
  expect(told.report.skipped.map(({ source }) => source)).toEqual([
    join(project, 'others'),
    join(project, 'others/file'),
  ]);
  expect(readFileSync(join(project, 'edited'), 'utf8')).toBe('new\n');
  expect(readFileSync(join(project, 'others/file'), 'utf8')).toBe('theirs\n');
  for (const name of ['edited', 'others', 'others/file']) {
    const { uid, gid } = lstatSync(join(project, name));
    expect([name, uid, gid]).toEqual([name, account.uid, account.gid]);
  }
  expect(captures()).toEqual([]);
});

test('a conflict is told as it is elsewhere', () => {
  const told = said<unknown>(`
    const { writeFileSync } = await import('node:fs');
    writeFileSync(project + '/contested', 'old');
    const { changes } = await sh('echo new > /project/contested; chown 9:9 /project/contested', {
      mounts: [{ type: 'overlay', source: project, destination: '/project', changes: 'capture' }],
      uidMappings: 'subordinate', gidMappings: 'subordinate', ${asRoot} });
    writeFileSync(project + '/contested', 'of somebody else');
    return await changes.apply();`);
  expect(told).toMatchObject({
    code: 'SBX_CHANGES_CONFLICT',
    message: expect.stringMatching(/contested was changed; look at both with diff.*discard the rest$/),
  });
});

test('one that is killed in the middle says so, and is done again', () => {
  const told = said<{ first: object; left: number; again: { applied: number }; names: string[] }>(`
    const { readdirSync, readFileSync } = await import('node:fs');
    const { changes, outcome, stderr } = await sh('cd /project; mkdir many; cd many; i=0; while [ $i -lt 3000 ]; do echo $i > $i; i=$((i + 1)); done', {
      mounts: [{ type: 'overlay', source: project, destination: '/project', changes: 'capture' }],
      uidMappings: 'subordinate', gidMappings: 'subordinate', ${asRoot} });
    if (outcome.code !== 0) throw new Error(stderr);
    const inMany = () => { try { return readdirSync(project + '/many'); } catch { return []; } };
    const isWorker = (pid) => { try { return readFileSync('/proc/' + pid + '/cmdline', 'utf8').split('\\0')[1].endsWith('/image/worker.js'); } catch { return false; } };
    const applying = changes.apply().catch((error) => error);
    while (inMany().length < 100) await new Promise((resolve) => setTimeout(resolve, 1));
    for (const pid of readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).filter(isWorker)) process.kill(Number(pid), 'SIGKILL');
    const { code, message } = await applying;
    const again = await (await openChanges(changes.id)).apply();
    return { first: { code, message }, again, names: inMany(), left: (await listChanges()).length };`);
  expect(told.first).toEqual({ code: 'SBX_CHANGES_UNREADABLE', message: expect.stringContaining('SIGKILL') });
  expect(told.again.applied).toBeLessThan(3001);
  expect(told.names.sort()).toEqual(Array.from({ length: 3000 }, (_, index) => String(index)).sort());
  expect(told.left).toBe(0);
});

test('what is hostile is looked at, and leads nowhere', () => {
  const project = join(work, 'project');
  const outside = join(work, 'outside');
  own(outside);
  writeFileSync(join(outside, 'secret'), 'hidden\n');
  chmodSync(join(outside, 'secret'), 0o644);
  const script = `cd /project; ln -s ${outside}/secret leads; ln -s ${outside} through; mkfifo waits; printf x > "$(printf 'a\\nb\\033[2J')"
    mkdir -m 700 theirs; ln -s ${outside}/secret theirs/leads; mkfifo theirs/waits; chown -hR 9:9 theirs
    i=0; d=deep; while [ $i -lt 300 ]; do mkdir $d && cd $d || exit 1; d=d; i=$((i + 1)); done`;
  const told = said<{ diff: string; tar: string; skipped: { source: string }[]; left: string[] }>(`
    const { changes, outcome, stderr } = await sh(${JSON.stringify(script)}, {
      mounts: [{ type: 'overlay', source: project, destination: '/project', changes: 'capture' }],
      uidMappings: 'subordinate', gidMappings: 'subordinate', ${asRoot} });
    if (outcome.code !== 0) throw new Error(stderr);
    const [diff, tar] = [await changes.diff(), await bytes(changes.export('tar'))];
    const { skipped } = await changes.apply();
    const { readdirSync, readlinkSync } = await import('node:fs');
    return { diff, tar, skipped, left: [...readdirSync(project), readlinkSync(project + '/leads'), readlinkSync(project + '/theirs/leads')] };`);
  expect(told.diff).not.toContain('hidden');
  expect(Buffer.from(told.tar, 'base64').includes('hidden')).toBe(false);
  expect(told.skipped.map(({ source }) => source)).toEqual(
    expect.arrayContaining([join(project, 'waits'), join(project, 'theirs/waits')]),
  );
  expect(told.left).toEqual(expect.arrayContaining(['leads', 'through', 'theirs', 'deep', `${outside}/secret`]));
  expect(told.left).not.toContain('waits');
  expect(readdirSync(outside)).toEqual(['secret']);
  expect(captures()).toEqual([]);
});

test('programs around a command pass on what belongs to others', () => {
  const path = join(work, 'handled.aci');
  const eventHandlers = [
    { name: 'pre-start', exec: ['/bin/sh', '-c', 'mkdir -m 700 /srv/closed && echo made > /srv/closed/file'] },
    { name: 'post-stop', exec: ['/bin/cat', '/srv/closed/file'] },
  ];
  writeFileSync(path, aci(busyboxRoot(), { user: 'app', group: 'app', eventHandlers }));
  const told = said<{ stdout: string; after: string }>(`
    const { stdout, handlers } = await sh('cat /srv/closed/file', { root: { image: ${JSON.stringify(path)}, entrypoint: [] } });
    return { stdout, after: handlers.postStop.stdout };`);
  expect(told).toEqual({ stdout: 'made\n', after: 'made\n' });
});

test('where no overlay can be had the copy is of files of the caller', () => {
  requires('command:proot');
  const told = said<{ stdout: string; root: string }>(`
    const { stdout, stderr, enforcement } = await run(['/bin/sh', '-c', 'cat /closed/file; echo x >> /closed/file && cat /closed/file'],
      { root: { image, entrypoint: [] } }, { backend: 'proot', optional: 'all' });
    return { stdout: stdout + stderr, root: enforcement.image.root };`);
  expect(told).toEqual({ stdout: 'old\nold\nx\n', root: 'copy' });
  const [store = ''] = readdirSync(join(work, 'cache/sandboxlib/images'));
  expect(readdirSync(join(work, 'cache/sandboxlib/images', store, 'work'))).toEqual([]);
});

describe('where the place for changes is on an overlay, as in a container', () => {
  // The upper is in the memory of the set-up's own mount namespace.
  const onOverlay = (): string => `
mkdir "$private/above" "$private/aside"
chown ${account.uid}:${account.gid} "$private/above"
mount -t overlay none -o "lowerdir=${join(work, 'state')},upperdir=$private/above,workdir=$private/aside" ${join(work, 'state')}`;
  const options = "mounts: [{ type: 'overlay', source: project, destination: '/project', changes: 'capture' }]";

  test('what is bounded is captured, and what was deleted too', () => {
    const project = join(work, 'project');
    writeFileSync(join(project, 'doomed'), 'x');
    const forged =
      'import os; open("/project/empty", "w"); os.setxattr("/project/empty", "user.overlay.whiteout", b"y")';
    const told = said<{ entries: { kind: string; path: string }[]; forged: number; applied: number }>(
      `
      const { changes, stderr } = await run(['/bin/sh', '-c', 'rm /project/doomed; echo y > /project/added; mkdir /project/d'], { ${options}, limits: { diskBytes: '16MB' } });
      const { applied } = await changes.apply();
      const second = await run(['python3', '-c', ${JSON.stringify(forged)}], { ${options}, limits: { diskBytes: '16MB' } });
      const [only] = second.changes.entries;
      await second.changes.discard();
      return { entries: changes.entries, applied, forged: only };`,
      onOverlay(),
    );
    expect(told.entries?.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
      'added /project/added',
      'added /project/d',
      'deleted /project/doomed',
    ]);
    expect(told.applied).toBe(3);
    expect(existsSync(join(project, 'doomed'))).toBe(false);
    expect(told.forged).toMatchObject({ kind: 'added', path: '/project/empty', type: 'file' });
  });

  test('what has no bound is refused, with what to do', () => {
    const told = said<unknown>(`return await run(['true'], { ${options} });`, onOverlay());
    expect(told).toMatchObject({
      code: 'SBX_LAUNCH_FAILED',
      message: expect.stringContaining('with limits.diskBytes (--disk) it may be'),
    });
  });
});
