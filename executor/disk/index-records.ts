/**
 * Keys and values of the index. Keys are one letter and big-endian numbers, so that they sort by
 * number; values are little endian.
 *
 *     e volume layer extent   pg, slot, epoch, flags, blocks with data, zero blocks: one per extent
 *     t volume layer extent   presence (256 bytes) and checksums (4096 bytes) of that extent
 *     p pg                    epoch
 *     g volume                generation
 *     m                       number of the first journal file that is still needed
 *     i                       incarnation, and the boot on which the store is open (store-life.ts)
 *
 * `e` is apart from `t` so that opening a disk reads 24 bytes per extent and not 4 KiB. LMDB checks
 * no contents: `e` and `t` end in a CRC32C of their own.
 */
import { crc32c } from '../../shared/base/crc32c.ts';
import { BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import { PRESENCE_BYTES } from './presence.ts';
import type { ExtentAddress } from './store-types.ts';

/** Presence, then checksums: what is kept in memory per loaded extent. */
export const TABLE_BYTES = PRESENCE_BYTES + 4 * BLOCKS_PER_EXTENT;
const ENTRY_BYTES = 24;

/** Of extent entries. `stale`: the stored checksums must be computed anew from the data. */
export const ENTRY_FLAG = { dirty: 1, incomplete: 2, stale: 4 } as const;

export interface IndexEntry {
  readonly pg: number;
  readonly slot: number;
  readonly epoch: number;
  readonly flags: number;
  readonly dataBlocks: number;
  readonly zeroBlocks: number;
}

function key(letter: string, ...numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(1 + 4 * numbers.length);
  bytes[0] = letter.charCodeAt(0);
  for (const [index, number] of numbers.entries()) bytes.writeUInt32BE(number, 1 + 4 * index);
  return bytes;
}

export const entryKey = (address: ExtentAddress): Buffer =>
  key('e', address.volume, address.layer, address.extent);
export const tableKey = (address: ExtentAddress): Buffer =>
  key('t', address.volume, address.layer, address.extent);
export const epochKey = (pg: number): Buffer => key('p', pg);
export const generationKey = (volume: number): Buffer => key('g', volume);
export const JOURNAL_KEY: Buffer = key('m');
export const LIFE_KEY: Buffer = key('i');

/** Half-open bounds of all keys with the letter. */
export function keysOf(letter: 'e' | 'p' | 'g'): { readonly from: Buffer; readonly to: Buffer } {
  return { from: key(letter), to: key(String.fromCharCode(letter.charCodeAt(0) + 1)) };
}

/** Null when it is no key of an extent entry. */
export function decodeEntryKey(bytes: Uint8Array): ExtentAddress | null {
  if (bytes.length !== 13 || bytes[0] !== 0x65) return null;
  const view = viewOf(bytes);
  return { volume: view.getUint32(1), layer: view.getUint32(5), extent: view.getUint32(9) };
}

/** The number behind a `p` or `g` key; null when it is none. */
export function decodeNumberKey(bytes: Uint8Array): number | null {
  return bytes.length === 5 ? viewOf(bytes).getUint32(1) : null;
}

export function encodeEntry(entry: IndexEntry): Buffer {
  const bytes = Buffer.alloc(ENTRY_BYTES);
  bytes.writeUInt32LE(entry.pg, 0);
  bytes.writeUInt32LE(entry.slot, 4);
  bytes.writeUInt32LE(entry.epoch, 8);
  bytes.writeUInt32LE(entry.flags, 12);
  bytes.writeUInt16LE(entry.dataBlocks, 16);
  bytes.writeUInt16LE(entry.zeroBlocks, 18);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 20)), 20);
  return bytes;
}

export function decodeEntry(bytes: Uint8Array): IndexEntry | null {
  if (bytes.length !== ENTRY_BYTES) return null;
  const view = viewOf(bytes);
  if (view.getUint32(20, true) !== crc32c(bytes.subarray(0, 20))) return null;
  const dataBlocks = view.getUint16(16, true);
  const zeroBlocks = view.getUint16(18, true);
  const flags = view.getUint32(12, true);
  if (dataBlocks + zeroBlocks > BLOCKS_PER_EXTENT || flags > 7) return null;
  return {
    pg: view.getUint32(0, true),
    slot: view.getUint32(4, true),
    epoch: view.getUint32(8, true),
    flags,
    dataBlocks,
    zeroBlocks,
  };
}

/** `table`: `TABLE_BYTES` long; copied. */
export function encodeTable(table: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(TABLE_BYTES + 4);
  bytes.set(table);
  bytes.writeUInt32LE(crc32c(table), TABLE_BYTES);
  return bytes;
}

/** Copies the table into `target`; false (and `target` untouched) when the value is damaged. */
export function decodeTable(bytes: Uint8Array, target: Uint8Array): boolean {
  if (bytes.length !== TABLE_BYTES + 4) return false;
  const table = bytes.subarray(0, TABLE_BYTES);
  if (viewOf(bytes).getUint32(TABLE_BYTES, true) !== crc32c(table)) return false;
  target.set(table);
  return true;
}

/** Epochs, generations and file numbers. */
export function encodeNumber(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(value, 0);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 4)), 4);
  return bytes;
}

export function decodeNumber(bytes: Uint8Array): number | null {
  if (bytes.length !== 8) return null;
  const view = viewOf(bytes);
  return view.getUint32(4, true) === crc32c(bytes.subarray(0, 4)) ? view.getUint32(0, true) : null;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
