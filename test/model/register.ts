/**
 * What clients of one block may have seen so far: every way in which one register could have answered
 * them. A way is its value now and the writes that have begun and not taken effect yet. A write takes effect
 * at some moment between its begin and its ack, or never, when it has none.
 */

export interface Way {
  readonly value: number;
  readonly open: readonly number[];
}

export const FRESH: readonly Way[] = [{ value: 0, open: [] }];

export function begin(ways: readonly Way[], value: number): readonly Way[] {
  return settle(ways.map((way) => ({ ...way, open: [...way.open, value].sort() })));
}

/** It has taken effect by now. */
export function acked(ways: readonly Way[], value: number): readonly Way[] {
  return ways.filter(({ open }) => !open.includes(value));
}

/** Nothing is left when no register could have answered so. */
export function seen(ways: readonly Way[], value: number): readonly Way[] {
  return settle(ways.filter((way) => way.value === value));
}

/** Open writes may take effect now, one after the other. */
function settle(ways: readonly Way[]): readonly Way[] {
  const all = new Map<string, Way>();
  const add = (way: Way): void => {
    const key = keyOf(way);
    if (all.has(key)) return;
    all.set(key, way);
    for (const value of way.open) {
      add({ value, open: way.open.filter((other) => other !== value) });
    }
  };
  for (const way of ways) add(way);
  return [...all.values()];
}

export function keyOf({ value, open }: Way): string {
  return `${value}:${open.join('.')}`;
}
