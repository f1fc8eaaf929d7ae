/** What commit N of index-writer.ts changes, and what an index holds after it. */
import type { IndexChange } from '../../../shared/ports.ts';

/** Enough that a commit spans many pages. */
export const KEYS = 40;
const VALUE_BYTES_MAX = 6000;

export function keyOf(key: number): Buffer {
  return Buffer.from(`key${String(key).padStart(3, '0')}`);
}

/** Null: the key is absent after commit `number`. Sizes vary, so that pages are freed and used again. */
export function valueAfter(key: number, number: number): Buffer | null {
  if ((key + number) % 7 === 0) return null;
  const value = Buffer.alloc(8 + ((key * 997 + number * 131) % VALUE_BYTES_MAX), number & 0xff);
  value.writeUInt32LE(number, 0);
  value.writeUInt32LE(key, 4);
  return value;
}

export function changesOf(number: number): readonly IndexChange[] {
  return Array.from({ length: KEYS }, (_, key) => ({
    key: keyOf(key),
    value: valueAfter(key, number),
  }));
}
