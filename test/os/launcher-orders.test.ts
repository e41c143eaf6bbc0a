// Orders that arrive while the command ends. Init goes without reading them, and unix(7) then gives the supervisor ECONNRESET first, and only after that
// what init wrote last: the command's status.
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { encodePlan } from '../../src/backends/launcher/encode.ts';
import { parseStatusLine, type StatusLine } from '../../src/backends/launcher/status.ts';
import { type Bench, defaultSteps, makeBench } from '../helpers/native-plan.ts';
import { requires } from '../helpers/requires.ts';

requires('linux', 'userns');

const ROUNDS = 100;
const ORDERS_AT_ONCE = 8;
const STATUS = 7;
const SIGNAL_COMMAND = 4;

let bench: Bench;
let plan: Uint8Array;
beforeAll(() => {
  bench = makeBench();
  // Long enough for orders to come, and no longer.
  plan = encodePlan(defaultSteps(bench, process.getuid?.() ?? 0, ['/bin/sh', '-c', `exit ${STATUS}`]));
});
afterAll(() => bench.remove());

/** SIGURG, which is ignored where nobody asked for it, to the command. */
function orders(): Buffer {
  const order = Buffer.alloc(12);
  order.writeUInt32LE(SIGNAL_COMMAND, 0);
  order.writeUInt32LE(constants.signals.SIGURG, 4);
  return Buffer.concat(Array.from({ length: ORDERS_AT_ONCE }, () => order));
}

interface Ended {
  readonly code: number | null;
  readonly last: StatusLine | undefined;
}

function runUnderOrders(): Promise<Ended> {
  const child: ChildProcess = spawn(bench.launcher, ['run', '--channel-fd', '3'], {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    env: {},
    cwd: '/',
  });
  const channel = child.stdio[3] as Duplex;
  let status = '';
  let over = false;
  const pester = (): void => {
    if (!over) channel.write(orders(), () => setImmediate(pester));
  };
  channel.on('data', (chunk: Buffer) => {
    status += chunk.toString('latin1');
    if (status.includes('"started"')) pester();
  });
  // The last line is followed by the end; writing on after that would keep the launcher.
  channel.on('end', () => {
    over = true;
    channel.end();
  });
  channel.write(plan);
  return new Promise((resolve, reject) => {
    channel.on('error', reject);
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, last: status.trimEnd().split('\n').map(parseStatusLine).at(-1) }));
  });
}

it('a signal that comes while the command ends does not cost its status', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    expect(await runUnderOrders(), `round ${round}`).toMatchObject({
      code: STATUS,
      last: { event: 'ended', cause: 'command', code: STATUS },
    });
  }
});
