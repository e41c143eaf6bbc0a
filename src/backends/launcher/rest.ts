// Output that had not all been read when the end was told: the launcher lives on to pass it on. That it was cut off shows as the end of a stream too, so that
// this end counts only with the launcher's word for it.

type Output = 1 | 2;

interface Awaited {
  readonly promise: Promise<void>;
  resolve(): void;
  reject(error: Error): void;
}

export class Rest {
  readonly #awaited: ReadonlyMap<Output, Awaited>;
  readonly #undelivered: Set<Output>;

  constructor(outputs: readonly Output[]) {
    this.#awaited = new Map(outputs.map((output) => [output, awaited()]));
    this.#undelivered = new Set(outputs);
  }

  /** `undefined` where nothing was left. Resolves when all of it is with its reader; rejects when some is lost. */
  of(output: Output): Promise<void> | undefined {
    return this.#awaited.get(output)?.promise;
  }

  /** False when nothing is left. */
  deliver(output: Output): boolean {
    this.#undelivered.delete(output);
    this.#awaited.get(output)?.resolve();
    return this.#undelivered.size > 0;
  }

  /** What is not delivered yet will not be. */
  lose(error: Error): void {
    for (const { reject } of this.#awaited.values()) reject(error);
  }
}

function awaited(): Awaited {
  let resolve: () => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<void>((onDelivered, onLost) => {
    resolve = onDelivered;
    reject = onLost;
  });
  // Whoever has read to the end asks; who has not does not have to.
  promise.catch(() => {});
  return { promise, resolve, reject };
}
