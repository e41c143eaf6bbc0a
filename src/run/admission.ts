// So many at a time, and the others in the order in which they came.

export class Admission {
  readonly #most: number;
  readonly #waiting = new Set<() => void>();
  #inside = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /**
   * `undefined`: in at once. Otherwise what resolves when its turn has come, to true, or when `ordered` resolves before that, to false: it is not in then.
   */
  enter(ordered: Promise<void>): Promise<boolean> | undefined {
    if (this.#inside < this.#most) {
      this.#inside++;
      return undefined;
    }
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
