/**
 * CRC32C (Castagnoli), the checksum of blocks, headers and records. The library computes it with the
 * processor's own instruction; it is pure, so the lowest layer may use it.
 */
import { crc32c as crc32cOf } from '@node-rs/crc32';
import { BLOCK_BYTES } from './units.ts';

/** Unsigned 32 bits. `crc32c("123456789")` is 0xe3069283. */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  return crc32cOf(bytes, seed) >>> 0;
}

/** The checksum of a block of zeros: what an absent block has. */
export const ZERO_BLOCK_CRC = crc32c(new Uint8Array(BLOCK_BYTES));
