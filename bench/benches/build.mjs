// A real build: the kind of configure that tries forty programs, and make with a compiler, plain and in a sandbox.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSandbox } from '../../dist/index.js';
import { benchDirectory } from '../lib/bench-directory.mjs';
import { inTurn } from '../lib/harness.mjs';
import { compiledWay } from '../lib/ours.mjs';
import { bubblewrap, isInstalled } from '../lib/peers.mjs';
import { start } from '../lib/start.mjs';

export async function* measure({ rounds, quick }) {
  if (!isInstalled('make') || !isInstalled('gcc')) {
    yield { title: 'a build of C', unit: 'ms', rows: [{ name: 'plain', absent: 'make or gcc is not installed' }] };
    return;
  }
  const directory = benchDirectory();
  const project = join(directory, 'project');
  writeProject(project, quick ? 5 : 40);
  const command = ['sh', '-c', './configure && make -s && ./program'];
  const clean = () => rmSync(join(project, 'out'), { recursive: true, force: true });
  const sandbox = await createSandbox({ workspace: project });
  const bwrap = [...bubblewrap, '--tmpfs', '/tmp'];
  const ways = [
    { name: 'plain', once: () => start(command, { cwd: project }) },
    { name: 'sandboxlib, run() of a sandbox', once: async () => void (await sandbox.run(command)).assertSuccess() },
    compiledWay([`-w=${project}`], command, directory),
    isInstalled('bwrap')
      ? {
          name: 'bwrap',
          once: () => start([...bwrap, '--bind', project, project, '--chdir', project, '--', ...command]),
        }
      : { name: 'bwrap', absent: 'not installed' },
  ].map((way) => after(clean, way));
  yield await inTurn('configure and make of a C program, all of it in one sandbox', ways, {
    rounds: rounds ?? (quick ? 1 : 5),
  });

  // Each recipe in a sandbox of its own.
  const { file } = compiledWay([`-w=${project}`], ['sh'], directory);
  const each = [
    { name: 'make', once: () => start(['make', '-s', 'all'], { cwd: project }) },
    {
      name: 'make SHELL=a compiled plan',
      once: () => start(['make', '-s', `SHELL=${file}`, 'all'], { cwd: project }),
    },
  ].map((way) =>
    after(() => {
      clean();
      mkdirSync(join(project, 'out'));
    }, way),
  );
  yield await inTurn('make, each recipe in a sandbox of its own', each, { rounds: rounds ?? (quick ? 1 : 5) });
  await sandbox.dispose();
}

/** What is done before does not count. */
function after(before, way) {
  if (way.once === undefined) return way;
  const once = async () => {
    before();
    const begin = performance.now();
    await way.once();
    return performance.now() - begin;
  };
  return { ...way, once };
}

function writeProject(project, files) {
  mkdirSync(project, { recursive: true });
  const headers = ['stdio', 'stdlib', 'string', 'unistd', 'errno', 'fcntl', 'signal', 'time', 'sys/stat', 'no/such'];
  const names = Array.from({ length: files }, (_, index) => `part${index}`);
  writeFileSync(
    join(project, 'configure'),
    `#!/bin/sh
set -e
mkdir -p out
for header in ${headers.join(' ')} ${headers.join(' ')}; do
  echo "#include <$header.h>" > out/conftest.c
  echo 'int main(void) { return 0; }' >> out/conftest.c
  if gcc -c -o out/conftest.o out/conftest.c 2> /dev/null; then
    echo "#define HAVE_$(echo "$header" | tr a-z/ A-Z_)_H 1" >> out/config.h
  fi
done
`,
    { mode: 0o755 },
  );
  const objects = names.map((name) => `out/${name}.o`).join(' ');
  writeFileSync(
    join(project, 'Makefile'),
    `all: program\nprogram: out/main.o ${objects}\n\tgcc -o $@ $^\nout/%.o: %.c\n\tgcc -O2 -c -o $@ $<\n`,
  );
  for (const [index, name] of names.entries()) {
    const body = Array.from({ length: 20 }, (_, line) => `  for (int i = 0; i < x; i++) x ^= i * ${line + index + 1};`);
    writeFileSync(
      join(project, `${name}.c`),
      `#include <stdio.h>\nint ${name}(int x) {\n${body.join('\n')}\n  return x;\n}\n`,
    );
  }
  const calls = names.map((name) => `  x = ${name}(x);`).join('\n');
  const declarations = names.map((name) => `int ${name}(int x);`).join('\n');
  writeFileSync(
    join(project, 'main.c'),
    `${declarations}\nint main(void) {\n  int x = 7;\n${calls}\n  return x == 0;\n}\n`,
  );
}
