/**
 * Two bits per block (PRESENCE in data-protocol.ts), little endian: block i lies in bits 2·(i % 4) of
 * byte i / 4. Everything here works on such a map of one extent, 256 bytes.
 */
import { BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import { PRESENCE } from '../../shared/wire/data-protocol.ts';

/** Blocks of one extent. */
export interface BlockRange {
  readonly block: number;
  readonly count: number;
}

export const PRESENCE_BYTES = BLOCKS_PER_EXTENT / 4;

export function presenceAt(map: Uint8Array, block: number): number {
  return ((map[block >> 2] ?? 0) >> ((block & 3) * 2)) & 3;
}

export function setPresence(map: Uint8Array, block: number, count: number, value: number): void {
  const whole = value * 0x55;
  const end = block + count;
  let at = block;
  while (at < end) {
    if ((at & 3) === 0 && at + 4 <= end) {
      map[at >> 2] = whole;
      at += 4;
      continue;
    }
    const shift = (at & 3) * 2;
    map[at >> 2] = ((map[at >> 2] ?? 0) & ~(3 << shift)) | (value << shift);
    at += 1;
  }
}

/** End of the run of equal presence that starts at `block`, at most `end`. */
export function runEnd(map: Uint8Array, block: number, end: number): number {
  const value = presenceAt(map, block);
  const whole = value * 0x55;
  let at = block + 1;
  while (at < end) {
    if ((at & 3) === 0 && at + 4 <= end && map[at >> 2] === whole) at += 4;
    else if (presenceAt(map, at) === value) at += 1;
    else break;
  }
  return at;
}

/** Whether all blocks of the range hold data. */
export function isAllData(map: Uint8Array, block: number, count: number): boolean {
  if (count === 1) return presenceAt(map, block) === PRESENCE.data;
  return (
    presenceAt(map, block) === PRESENCE.data && runEnd(map, block, block + count) === block + count
  );
}

export function countPresence(
  map: Uint8Array,
  block: number,
  count: number,
  value: number,
): number {
  const end = block + count;
  let total = 0;
  for (let at = block; at < end; ) {
    const next = runEnd(map, at, end);
    if (presenceAt(map, at) === value) total += next - at;
    at = next;
  }
  return total;
}

/** Copies a range to the start of `target`; bits behind it in the last byte become 0. */
export function copyPresence(
  map: Uint8Array,
  block: number,
  count: number,
  target: Uint8Array,
): void {
  target.fill(0, 0, Math.ceil(count / 4));
  for (let index = 0; index < count; index += 1) {
    const value = presenceAt(map, block + index);
    target[index >> 2] = (target[index >> 2] ?? 0) | (value << ((index & 3) * 2));
  }
}
