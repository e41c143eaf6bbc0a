// So many at a time, in order.
import { describe, expect, it } from 'vitest';
import { SandboxError } from '../../src/errors/errors.ts';
import { Admission } from '../../src/run/admission.ts';

const never = new Promise<void>(() => {});

describe('admission', () => {
  it('lets so many in at once, and the others when one leaves, in their order', async () => {
    const admission = new Admission(2, Number.POSITIVE_INFINITY);
    expect([admission.enter(never), admission.enter(never)]).toEqual([undefined, undefined]);
    const order: number[] = [];
    const waiting = [1, 2, 3].map(async (number) => {
      expect(await admission.enter(never)).toBe(true);
      order.push(number);
    });
    await Promise.resolve();
    expect(order).toEqual([]);
    for (let left = 0; left < 3; left++) admission.leave();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    // Two are in, and one who leaves makes room for nobody else.
    admission.leave();
    expect(admission.enter(never)).toBe(undefined);
    expect(admission.enter(never)).toBeInstanceOf(Promise);
  });

  it('whoever is ended while it waits is not in, and takes nobody’s place', async () => {
    const admission = new Admission(1, Number.POSITIVE_INFINITY);
    expect(admission.enter(never)).toBe(undefined);
    let end: () => void = () => {};
    const ordered = new Promise<void>((resolve) => {
      end = resolve;
    });
    const [first, second] = [admission.enter(ordered), admission.enter(never)];
    end();
    expect(await first).toBe(false);
    admission.leave();
    expect(await second).toBe(true);
  });

  it('an end that comes after its turn changes nothing', async () => {
    const admission = new Admission(1, Number.POSITIVE_INFINITY);
    expect(admission.enter(never)).toBe(undefined);
    const turn = admission.enter(Promise.resolve());
    admission.leave();
    expect(await turn).toBe(true);
  });

  it('lets so many wait and no more; who leaves, comes in or is refused makes room as it should', async () => {
    const admission = new Admission(1, 2);
    expect(admission.enter(never)).toBe(undefined);
    let end: () => void = () => {};
    const ordered = new Promise<void>((resolve) => {
      end = resolve;
    });
    const [first, second] = [admission.enter(ordered), admission.enter(never)];
    for (let again = 0; again < 2; again++) expect(() => admission.enter(never)).toThrow(/concurrency 1 .*maxQueue 2/);
    end();
    expect(await first).toBe(false);
    const third = admission.enter(never);
    expect(() => admission.enter(never)).toThrow(SandboxError);
    admission.leave();
    expect(await second).toBe(true);
    expect(admission.enter(never)).toBeInstanceOf(Promise);
    admission.leave();
    expect(await third).toBe(true);
  });

  it('where nobody may wait, who finds no place is refused', () => {
    const admission = new Admission(1, 0);
    expect(admission.enter(never)).toBe(undefined);
    expect(() => admission.enter(never)).toThrow(expect.objectContaining({ code: 'SBX_QUEUE_FULL' }));
    admission.leave();
    expect(admission.enter(never)).toBe(undefined);
  });
});
