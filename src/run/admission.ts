// So many at a time, and the others in the order in which they came, as far as there is room for them to wait.
import { SandboxError } from '../errors/errors.ts';

export class Admission {
  readonly #concurrency: number;
  readonly #maxQueue: number;
  readonly #waiting = new Set<() => void>();
  #inside = 0;

  constructor(concurrency: number, maxQueue: number) {
    this.#concurrency = concurrency;
    this.#maxQueue = maxQueue;
  }

  /**
   * `undefined`: in at once. Otherwise what resolves when its turn has come, to true, or when `ordered` resolves before that, to false: it is not in then.
   *
   * @throws {SandboxError} `SBX_QUEUE_FULL` where nobody more may wait.
   */
  enter(ordered: Promise<void>): Promise<boolean> | undefined {
    if (this.#inside < this.#concurrency) {
      this.#inside++;
      return undefined;
    }
    if (this.#waiting.size >= this.#maxQueue) throw queueFull(this.#concurrency, this.#maxQueue);
    return new Promise((resolve) => {
      const admit = (): void => resolve(true);
      this.#waiting.add(admit);
      const leave = (): void => {
        if (this.#waiting.delete(admit)) resolve(false);
      };
      ordered.then(leave, leave);
    });
  }

  /** Preconditions: was in. */
  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#inside--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}

function queueFull(concurrency: number, maxQueue: number): SandboxError {
  return new SandboxError(
    'SBX_QUEUE_FULL',
    `cannot take one more run: concurrency ${concurrency} is in use, and the queue is full (maxQueue ${maxQueue})`,
    { remedy: 'try again when one has ended, or raise maxQueue' },
  );
}
