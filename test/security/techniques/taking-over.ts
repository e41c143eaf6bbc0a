import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'vitest';
import { requires } from '../../helpers/requires.ts';
import { inPython, pythonCommand } from '../in-python.ts';
import type { Technique } from '../technique.ts';

/** proc_pid_mem(5): who may write there may make that process do anything, without the filter and the limits of the writer. */
const takeOver = `
def write(pid):
    memory = os.open('/proc/%d/mem' % pid, os.O_RDWR)
    with open('/proc/%d/maps' % pid) as maps: start = int(next(maps).split('-')[0], 16)
    os.pwrite(memory, os.pread(memory, 16, start), start)
def all():
    return [int(name) for name in os.listdir('/proc') if name.isdigit() and int(name) != os.getpid()]
`;

export const technique: Technique = {
  name: 'taking-over',
  attacks: ['seccomp.default', 'namespace.pid'],
  cases: {
    'no process that has less of a filter can be written to': async (bench) => {
      const answers = await inPython(bench, `${takeOver}\nfor pid in all(): print(attempt(lambda: write(pid)))`);
      expect(answers.length).toBeGreaterThan(0);
      expect(answers.filter((answer) => !['EACCES', 'EPERM'].includes(answer))).toEqual([]);
    },
    'the same way leads to a process of the same user elsewhere': async () => {
      requires('file:/usr/bin/python3');
      const [file = '', ...args] = pythonCommand(`
${takeOver}
child = os.fork()
if child == 0:
    while True: os.read(0, 1) or os._exit(0)
print(attempt(lambda: write(child)))`);
      const outside = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      const [answer] = await once(outside.stdout, 'data');
      outside.stdin.end();
      await once(outside, 'close');
      expect(String(answer)).toBe('ok\n');
    },
  },
};
