/** A value, or a promise of it where something has to be loaded first. */
export type Soon<T> = T | Promise<T>;

export function whenReady<T, U>(value: Soon<T>, next: (value: T) => Soon<U>): Soon<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}
