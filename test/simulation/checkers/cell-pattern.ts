/**
 * What clients write: every cell of a volume is filled with the number of the write and its own place,
 * so that whatever comes back tells which write it is of, and whether it is whole and in its place.
 */
import { crc32c } from '../../../shared/base/crc32c.ts';

const WORD_BYTES = 4;

export interface CellPlace {
  readonly volume: number;
  readonly cellBytes: number;
}

/** The bytes of write number `write` for whole cells from `offset` on. */
export function writePattern(
  place: CellPlace,
  offset: number,
  length: number,
  write: number,
): Buffer {
  const { cellBytes } = place;
  const words = new Uint32Array(length / WORD_BYTES);
  const cellWords = cellBytes / WORD_BYTES;
  for (let at = 0; at < words.length; at += cellWords) {
    const mark = markOf(place, offset / cellBytes + at / cellWords);
    for (let word = at; word < at + cellWords; word += 2) {
      words[word] = write;
      words[word + 1] = mark;
    }
  }
  return Buffer.from(words.buffer);
}

/**
 * Number of the write by cell, 0 for zeros; where a cell is torn, foreign or out of place, a number below
 * -1 that its bytes determine.
 */
export function readPattern(place: CellPlace, offset: number, data: Buffer): Map<number, number> {
  const { cellBytes } = place;
  const found = new Map<number, number>();
  for (let at = 0; at < data.length; at += cellBytes) {
    const cell = (offset + at) / cellBytes;
    const write = readCell(data, at, cellBytes, markOf(place, cell));
    found.set(cell, write ?? -2 - crc32c(data.subarray(at, at + cellBytes)));
  }
  return found;
}

function readCell(data: Buffer, from: number, cellBytes: number, mark: number): number | null {
  const write = data.readUInt32LE(from);
  const expectedMark = write === 0 ? 0 : mark;
  // The first two words are right, and each later byte repeats the one two words before it: so is all.
  if (data.readUInt32LE(from + WORD_BYTES) !== expectedMark) return null;
  const end = from + cellBytes;
  const period = 2 * WORD_BYTES;
  const isPeriodic = data.compare(data, from, end - period, from + period, end) === 0;
  return isPeriodic ? write : null;
}

function markOf({ volume }: CellPlace, cell: number): number {
  return (volume * 0x0100_0000 + cell) >>> 0;
}
