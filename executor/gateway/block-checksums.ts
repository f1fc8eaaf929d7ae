/** Checksums of whole blocks, as tables of little-endian words (DESIGN 6: computed once, here). */
import { crc32c } from '../../shared/base/crc32c.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';

/** The table for `data`, a whole number of blocks. */
export function checksumsOf(data: Uint8Array): Uint8Array {
  const count = data.length / BLOCK_BYTES;
  const table = new Uint8Array(count * 4);
  for (let index = 0; index < count; index += 1) {
    const crc = crcOfBlock(data, index, count);
    table[index * 4] = crc & 0xff;
    table[index * 4 + 1] = (crc >>> 8) & 0xff;
    table[index * 4 + 2] = (crc >>> 16) & 0xff;
    table[index * 4 + 3] = crc >>> 24;
  }
  return table;
}

/** Index of the first block from `from` on that does not match its entry; -1 when all do. */
export function findMismatch(data: Uint8Array, table: Uint8Array, from: number): number {
  const count = data.length / BLOCK_BYTES;
  for (let index = from; index < count; index += 1) {
    const at = index * 4;
    const expected =
      ((table[at] as number) |
        ((table[at + 1] as number) << 8) |
        ((table[at + 2] as number) << 16) |
        ((table[at + 3] as number) << 24)) >>>
      0;
    if (crcOfBlock(data, index, count) !== expected) return index;
  }
  return -1;
}

function crcOfBlock(data: Uint8Array, index: number, count: number): number {
  if (count === 1) return crc32c(data);
  return crc32c(data.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES));
}
