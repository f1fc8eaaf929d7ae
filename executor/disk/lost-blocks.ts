/**
 * Blocks of which no replica had a good copy when this one was made. Such a block is stored like any other, with
 * the checksum that it should have, but with a text in place of its contents that can never fit that checksum:
 * so whoever reads it gets an error, as on the disks it was to be copied from, until it is written anew.
 *
 * The text names disk and block and repeats the checksum. After a crash, when checksums are computed anew from
 * what lies on the disk, a lost block is known by it and keeps its checksum: it never becomes data.
 */
import { crc32c } from '../../shared/base/crc32c.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import type { ExtentAddress } from './store-types.ts';

/** Where the text belongs: bytes that came from another disk or block are not taken for it. */
export interface LostPlace extends ExtentAddress {
  /** Of the store. */
  readonly uuid: string;
  readonly block: number;
}

const OPENING = Buffer.from('cistern: no replica had a good copy of this block. ');
const CHECKSUM_AT = OPENING.length;

/** One block of 4096 bytes whose CRC32C is not `checksum`. */
export function lostBlock(place: LostPlace, checksum: number): Buffer {
  const { uuid, volume, layer, extent, block } = place;
  const bytes = Buffer.alloc(BLOCK_BYTES, `${uuid} ${volume}/${layer}/${extent}/${block} `);
  OPENING.copy(bytes);
  bytes.writeUInt32LE(checksum, CHECKSUM_AT);
  // Changes in one byte always change the CRC: one of two texts does not fit.
  if (crc32c(bytes) === checksum) bytes[BLOCK_BYTES - 1] = 0;
  return bytes;
}

/** The checksum that a lost block keeps; null for all other bytes. */
export function lostChecksumOf(place: LostPlace, bytes: Uint8Array): number | null {
  if (!looksLost(bytes)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const checksum = view.getUint32(CHECKSUM_AT, true);
  return lostBlock(place, checksum).equals(bytes) ? checksum : null;
}

/** Whether a block that fails its checksum is a lost one, and no new fault of the disk. */
export function looksLost(bytes: Uint8Array): boolean {
  return OPENING.equals(bytes.subarray(0, OPENING.length));
}
