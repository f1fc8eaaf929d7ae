/** Median and range of a few figures. */
import { assert } from '../shared/base/assert.ts';

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** At least one value. Of an even number of values the median is the mean of the middle two. */
export function spreadOf(values: readonly number[]): Spread {
  assert(values.length > 0, 'a spread is of something');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  const lower = sorted.length % 2 === 0 ? (sorted[middle - 1] ?? 0) : upper;
  return { median: (lower + upper) / 2, min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0 };
}
