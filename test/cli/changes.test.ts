// `--changes` and `run-sandbox changes`, as a person uses them.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { buildCli, runCli } from '../helpers/cli.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns');
beforeAll(buildCli);

let work: string;
let project: string;

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'cli-changes-'));
  project = join(work, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'file'), 'one\n');
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

/** Its id, as the last line of ours names it. */
function keep(script: string): string {
  const { stderr } = runCli([`-w=${project}:overlay`, '--changes', 'keep', '--', 'sh', '-c', script]);
  const id = /run-sandbox changes show\|diff\|apply\|discard ([0-9a-f]+)\n$/.exec(stderr)?.[1];
  if (id === undefined) throw new Error(stderr);
  return id;
}

test('by default nothing is kept', () => {
  const script = 'echo two >> file; cat file';
  const result = runCli([`-w=${project}:overlay`, '--', 'sh', '-c', script]);
  expect(result).toMatchObject({ status: 0, stdout: 'one\ntwo\n', stderr: '' });
  expect(readFileSync(join(project, 'file'), 'utf8')).toBe('one\n');
  expect(runCli(['changes'])).toMatchObject({ status: 0, stdout: '', stderr: '' });
});

test('what is kept can be listed, shown, compared and applied', () => {
  const id = keep('echo two >> file; mkdir new');
  expect(runCli(['changes']).stdout).toMatch(new RegExp(`^${id}  \\S+ \\S+  ${project}  sh -c .*\n$`));
  expect(runCli(['changes', 'show', id]).stdout).toBe(
    `modified  ${project}/file  4B -> 8B\nadded     ${project}/new  directory\n`,
  );
  expect(runCli(['changes', 'diff', id]).stdout).toBe(
    'diff --git a/file b/file\n--- a/file\n+++ b/file\n@@ -1 +1,2 @@\n one\n+two\n',
  );
  expect(runCli(['changes', 'apply', id])).toMatchObject({ status: 0, stderr: 'run-sandbox: 2 changes applied\n' });
  expect(readdirSync(project).sort()).toEqual(['file', 'new']);
  expect(runCli(['changes', 'show', id])).toMatchObject({
    status: 125,
    stderr: expect.stringContaining(`there are no changes called "${id}"`),
  });
});

test('with --json it is for programs', () => {
  const { stderr } = runCli([`-w=${project}:overlay`, '--changes=keep', '--json', '-q', '--', 'touch', 'new']);
  const { changes } = JSON.parse(stderr) as { changes: { id: string; directory: string; number: number } };
  expect(changes).toMatchObject({ number: 1, directory: expect.stringContaining(changes.id) });
  expect(JSON.parse(runCli(['changes', '--json']).stdout)).toMatchObject([
    { id: changes.id, command: ['touch', 'new'] },
  ]);
  expect(JSON.parse(runCli(['changes', '--json', 'show', changes.id]).stdout)).toMatchObject({
    entries: [{ kind: 'added', type: 'file', path: `${project}/new`, sizeBytes: 0 }],
  });
  expect(runCli(['changes', 'discard', changes.id])).toMatchObject({ status: 0, stdout: '', stderr: '' });
  expect(existsSync(changes.directory)).toBe(false);
});

test('a conflict changes nothing, and is said', () => {
  const id = keep('echo two >> file');
  writeFileSync(join(project, 'file'), 'mine\n');
  expect(runCli(['changes', 'apply', id])).toMatchObject({
    status: 125,
    stderr: expect.stringMatching(/nothing was applied, because .*project\/file was changed/),
  });
  expect(readFileSync(join(project, 'file'), 'utf8')).toBe('mine\n');
  runCli(['changes', 'discard', id]);
});

test('where nothing changed nothing is kept', () => {
  const result = runCli([`-w=${project}:overlay`, '--changes', 'keep', 'true']);
  expect(result).toMatchObject({ status: 0, stderr: 'run-sandbox: nothing was changed\n' });
  expect(runCli(['changes']).stdout).toBe('');
});

test('a root may be written to, and is the same again', () => {
  requires('command:busybox');
  const root = join(work, 'root');
  mkdirSync(join(root, 'bin'), { recursive: true });
  writeFileSync(join(root, 'bin/sh'), readFileSync('/bin/busybox'), { mode: 0o755 });
  for (let round = 0; round < 2; round++) {
    const { stdout, stderr } = runCli(['--changes', 'discard', `${root}/`, 'sh', '-c', 'cd /; echo *; echo x > new']);
    expect({ stdout, stderr }).toEqual({ stdout: expect.not.stringContaining('new'), stderr: '' });
  }
  expect(readdirSync(root)).toEqual(['bin']);
});

test.each([
  [['--changes', 'keep', 'true'], /--changes: there is nothing here/],
  [['--changes', 'some', 'true'], /'some' is no choice: known are keep and discard/],
  [['changes', 'frob'], /changes frob is nothing: known are show, diff, export, push, apply, discard/],
  [['changes', 'show'], /changes show needs an id/],
  [['changes', 'show', '../x'], /there are no changes called/],
  [['changes', 'show', 'a', 'b'], /takes one id/],
])('%j is refused', (args, message) => {
  expect(runCli(args)).toMatchObject({ status: 125, stderr: expect.stringMatching(message) });
});
