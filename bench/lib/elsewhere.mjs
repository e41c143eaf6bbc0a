// Measuring in a process of its own: as another user, or with a heap that this process must not have.
import { fork } from 'node:child_process';

/** An id that no account of the machine has. */
const ordinary = { uid: 12345, gid: 12345 };

/**
 * What the export `worker` of a module resolves to, with `parameters`, in a process of its own.
 *
 * @param {string} module URL
 * @param {object} parameters
 * @param {'root' | 'ordinary user'} user
 */
export function elsewhere(module, parameters, user) {
  const isOther = user === 'ordinary user' && process.getuid() === 0;
  return new Promise((resolve, reject) => {
    const child = fork(new URL('./worker.mjs', import.meta.url), [module, JSON.stringify(parameters)], {
      ...(isOther ? ordinary : {}),
      env: { ...process.env, ...(isOther ? { HOME: '/', XDG_RUNTIME_DIR: '' } : {}) },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    let result;
    child.on('message', (message) => {
      result = message;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (result === undefined) reject(new Error(`the process that measures ended with ${code}`));
      else resolve(result);
    });
  });
}

/** Those that can be measured here. */
export function users() {
  return process.getuid() === 0 ? ['root', 'ordinary user'] : ['ordinary user'];
}
