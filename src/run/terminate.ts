// Who brought the end of a run about, from our side. The first cause wins: what comes later only repeats the order.
import type { LaunchedProcess } from '../backends/backend.ts';

export type EndOrder =
  /** An AbortSignal, `terminate()` or `kill()`. */
  | { readonly kind: 'cancelled'; readonly reason: unknown }
  /** More output than is kept for a run without `limits.outputBytes`. */
  | { readonly kind: 'overflow' }
  /** A stream of the caller broke, or its `onEvent` threw: the run rejects with `error`. */
  | { readonly kind: 'failed'; readonly error: unknown };

export class Termination {
  #launched: LaunchedProcess | undefined;
  #over = false;
  #order: EndOrder | undefined;
  #atOnce = false;
  #tellOrdered: () => void = () => {};
  /** Resolves with the first order. */
  readonly ordered: Promise<void> = new Promise((resolve) => {
    this.#tellOrdered = resolve;
  });

  /** The first order, if there was one. */
  get order(): EndOrder | undefined {
    return this.#order;
  }

  /** Ends the run, as soon as there is something to end. Does nothing once the run is over. */
  end(order: EndOrder, atOnce = false): void {
    if (this.#over) return;
    this.#order ??= order;
    this.#tellOrdered();
    this.#atOnce ||= atOnce;
    this.#perform();
  }

  /** Preconditions: called once. An order that came earlier is carried out now. */
  attach(launched: LaunchedProcess): void {
    this.#launched = launched;
    if (this.#order !== undefined) this.#perform();
  }

  /** From now on every order is too late. */
  over(): void {
    this.#over = true;
  }

  #perform(): void {
    if (this.#atOnce) this.#launched?.kill();
    // By the signal that it was launched with, which may be the image's.
    else this.#launched?.terminate();
  }
}
