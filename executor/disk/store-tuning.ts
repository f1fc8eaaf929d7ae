/** The numbers of the extent store, each with its reason. Tests make some of them small. */
import { GiB, KiB, MiB } from '../../shared/base/units.ts';
import type { StoreTuning } from './store-types.ts';

export const DEFAULT_TUNING: StoreTuning = {
  // 350,000 records: replayed in well under a second, and a checkpoint every few minutes at most.
  journalCheckpointBytes: 16 * MiB,
  // A checkpoint that cannot finish (index full) leaves this much room before allocations are refused.
  journalBytesMax: 64 * MiB,
  // 70 MiB of tables: the checksums of 64 GiB of data in use.
  tableCacheCount: 16 * KiB,
  // Half of the cache may wait for a checkpoint; the other half goes on serving reads.
  pinnedTablesMax: 8 * KiB,
  // Longer writes stall everybody's p99 when write-back is throttled; shorter ones cost ten times as
  // much through the pool.
  syncWriteBytesMax: 64 * KiB,
  // A sync in the background starts at this much un-synced data per slab: keeps the kernel from
  // throttling writers, and is about 10 ms of an SSD's work.
  backgroundSyncBytes: 16 * MiB,
};

/** Reads up to this long are tried on the loop first: 20 microseconds when cached. */
export const CACHED_READ_BYTES_MAX = 128 * KiB;

/**
 * After this much newly allocated data the store settles by itself (syncs slabs and says so in the
 * journal): recovery looks at every block allocated since, so this bounds it to a second or so.
 */
export const SETTLE_BYTES = 256 * MiB;

/** Extents per slot, at most: extents without data (trimmed, all zero) need no slot but a row. */
export const EXTENTS_PER_SLOT_MAX = 4;
/** Even a tiny disk may remember this many extents. */
export const EXTENTS_MIN = 64 * KiB;

/** Capacity bound of one store: slot numbers stay far below `NO_SLOT`, columns below 2 GiB. */
export const CAPACITY_BYTES_MAX = 64 * 1024 * GiB;
