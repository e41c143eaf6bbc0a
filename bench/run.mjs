// One command for all figures: a table of each to stdout, and all samples as JSON.
// Usage: npm run bench [-- --only NAME]... [--rounds N] [--quick] [--json FILE]
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { printTable } from './lib/harness.mjs';

const benches = ['latency', 'mounts', 'concurrency', 'streaming', 'memory', 'cli', 'compiled', 'build', 'images'];

const { values, rounds } = argumentsOrUsage();

const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  processors: availableParallelism(),
  memoryBytes: totalmem(),
  kernel: release(),
  node: process.version,
  uid: process.getuid(),
  load: loadavg(),
  quick: values.quick,
};
console.log(
  `${machine.processors} x ${machine.cpu}, Linux ${machine.kernel}, Node ${machine.node}, load ${machine.load[0].toFixed(2)}`,
);
if (values.quick) console.log('--quick: to see that it works; the numbers mean little');
if (machine.load[0] > 1)
  console.log('the machine is busy: of these numbers only the ratios mean anything, and they little');

const tables = [];
for (const name of values.only ?? benches) {
  const { measure } = await import(`./benches/${name}.mjs`);
  for await (const table of measure({ rounds, quick: values.quick })) {
    tables.push({ bench: name, ...table });
    printTable(table);
  }
}
mkdirSync(dirname(values.json), { recursive: true });
writeFileSync(values.json, `${JSON.stringify({ machine, tables }, undefined, 2)}\n`);
console.log(`\nevery sample: ${values.json}`);

function argumentsOrUsage() {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: 'string', multiple: true },
        rounds: { type: 'string' },
        quick: { type: 'boolean', default: false },
        json: { type: 'string', default: 'build/bench.json' },
      },
    });
    const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
    const problems = (values.only ?? [])
      .filter((name) => !benches.includes(name))
      .map((name) => `there is no bench '${name}'`);
    if (rounds !== undefined && !(rounds >= 1)) problems.push(`--rounds must be at least 1, not '${values.rounds}'`);
    if (problems.length > 0) throw new TypeError(problems.join('\n'));
    return { values, rounds };
  } catch (error) {
    // parseArgs throws for wrong arguments too.
    if (!(error instanceof TypeError)) throw error;
    console.error(`${error.message}
usage: npm run bench -- [--only NAME]... [--rounds N] [--quick] [--json FILE]; NAME: ${benches.join(', ')}`);
    process.exit(2);
  }
}
