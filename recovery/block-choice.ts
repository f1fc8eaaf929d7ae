/**
 * Which copy of a block counts, when nobody can be asked any more: pure, block by block. Copies are
 * ranked by what is known of their disks (in sync or not, complete or not, epoch); within that order
 * the first one whose bytes match their checksum gives the block.
 */

import { presenceAt } from '../executor/disk/presence.ts';
import { crc32c, ZERO_BLOCK_CRC } from '../shared/base/crc32c.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../shared/base/units.ts';
import { PRESENCE } from '../shared/wire/data-protocol.ts';

/**
 * good: an in-sync copy, and no other one says otherwise. older: from a copy that may lack later writes.
 * conflicting: copies that should be equal differ (writes under way at the end, never confirmed, or
 * worse). lost: no copy that can be read.
 */
export type Verdict = 'good' | 'older' | 'conflicting' | 'lost';

/** The lower, the better. */
export const STANDING = { inSync: 0, complete: 1, incomplete: 2, outdated: 3 } as const;

export interface ExtentCopy {
  readonly disk: number;
  readonly standing: number;
  readonly epoch: number;
  readonly presence: Uint8Array;
  readonly checksums: Uint8Array;
}

export interface Choice {
  readonly verdict: Verdict;
  /** Index of the copy that gives the block; -1: zeros. */
  readonly from: number;
}

/** Best first: standing, then the later epoch, then the number of the disk. */
export function rankCopies<T extends ExtentCopy>(copies: readonly T[]): readonly T[] {
  return copies.toSorted((a, b) => a.standing - b.standing || b.epoch - a.epoch || a.disk - b.disk);
}

/** Whether the first copy is whole and nobody of its standing says otherwise: no block needs a choice. */
export function isPlain(ranked: readonly ExtentCopy[], firstBytes: Uint8Array): boolean {
  const [first] = ranked;
  if (first === undefined || first.standing !== STANDING.inSync) return false;
  for (let block = 0; block < BLOCKS_PER_EXTENT; block += 1) {
    if (!isReadable(first, firstBytes, block)) return false;
    const content = contentOf(first, block);
    for (const other of ranked) {
      if (other.standing === first.standing && contentOf(other, block) !== content) return false;
    }
  }
  return true;
}

/** `ranked` by `rankCopies`; `bytes`: of each copy, a whole extent. */
export function chooseBlock(
  ranked: readonly ExtentCopy[],
  bytes: readonly Uint8Array[],
  block: number,
): Choice {
  const from = ranked.findIndex((copy, index) => isReadable(copy, bytes[index], block));
  const chosen = ranked[from];
  const first = ranked[0];
  if (chosen === undefined || first === undefined) return { verdict: 'lost', from: -1 };
  const content = contentOf(chosen, block);
  const source = isData(chosen, block) ? from : -1;
  // A rotten copy gives nothing, but its checksum tells what the block was.
  if (from > 0 && isPeer(first, chosen) && contentOf(first, block) !== content) {
    return { verdict: 'conflicting', from: source };
  }
  const isDisputed = ranked.some(
    (other, index) =>
      isPeer(chosen, other) &&
      contentOf(other, block) !== content &&
      isReadable(other, bytes[index], block),
  );
  if (isDisputed) return { verdict: 'conflicting', from: source };
  const isProven =
    chosen.standing === STANDING.inSync ||
    (first.standing === STANDING.inSync && contentOf(first, block) === content);
  return { verdict: isProven ? 'good' : 'older', from: source };
}

/** Copies that should be equal: all that are in sync; of the others, those of one epoch. */
function isPeer(a: ExtentCopy, b: ExtentCopy): boolean {
  return a.standing === b.standing && (a.standing === STANDING.inSync || a.epoch === b.epoch);
}

function isData(copy: ExtentCopy, block: number): boolean {
  return presenceAt(copy.presence, block) === PRESENCE.data;
}

/** The stored checksum; absent and zero blocks read as zeros. */
function contentOf(copy: ExtentCopy, block: number): number {
  if (!isData(copy, block)) return ZERO_BLOCK_CRC;
  const at = 4 * block;
  const { checksums } = copy;
  return (
    ((checksums[at] ?? 0) |
      ((checksums[at + 1] ?? 0) << 8) |
      ((checksums[at + 2] ?? 0) << 16) |
      ((checksums[at + 3] ?? 0) << 24)) >>>
    0
  );
}

function isReadable(copy: ExtentCopy, bytes: Uint8Array | undefined, block: number): boolean {
  if (!isData(copy, block)) return true;
  if (bytes === undefined) return false;
  const at = block * BLOCK_BYTES;
  const data = bytes.subarray(at, at + BLOCK_BYTES);
  return crc32c(data) === contentOf(copy, block) && !isUnreadable(data);
}

const UNREADABLE_TEXT = 'cistern: this block cannot be read. ';
/** What an unreadable block looks like in memory: nobody writes it (read-only-file.ts). */
export const UNREADABLE_BLOCK: Buffer = Buffer.alloc(BLOCK_BYTES, UNREADABLE_TEXT);

function isUnreadable(data: Uint8Array): boolean {
  return UNREADABLE_BLOCK.equals(data);
}
