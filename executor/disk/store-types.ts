/**
 * The vocabulary of the extent store (DESIGN 6): what its callers, the replica server and resync,
 * hand in and get back. No behaviour here.
 *
 * Callbacks instead of promises, because this is the hot path. A `done` is called exactly once, and
 * MAY be called before the method returns (a write onto a hot extent is a few microseconds of
 * synchronous work). Numbers are plain: identifiers are unsigned 32-bit, as on the wire.
 */
import type { Clock, Disk, Log } from '../../shared/ports.ts';
import type { Status } from '../../shared/wire/data-protocol.ts';

export interface StoreOptions {
  readonly clusterId: string;
  readonly diskId: number;
  readonly uuid: string;
  /** Upper bound of what the store may use; rounded down to whole slots of 4 MiB. */
  readonly capacityBytes: number;
  /** An empty directory becomes a new store; without it, that is an error. */
  readonly create: boolean;
  /**
   * Differs with every boot of the machine; empty when it cannot be told, which counts as another boot
   * each time. Absent: one boot for ever, for callers that lose no power.
   */
  readonly bootId?: string;
  readonly tuning?: Partial<StoreTuning>;
}

/** Every number has its reason beside its default in store-tuning.ts. */
export interface StoreTuning {
  readonly journalCheckpointBytes: number;
  readonly journalBytesMax: number;
  readonly tableCacheCount: number;
  readonly pinnedTablesMax: number;
  readonly syncWriteBytesMax: number;
  readonly backgroundSyncBytes: number;
}

export interface StoreModules {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ExtentAddress {
  readonly volume: number;
  readonly layer: number;
  readonly extent: number;
}

/** `ok`, `noSpace`, `diskFailed`, `checksum`, `incomplete` or `badRequest`. */
export type Done = (status: Status) => void;

/**
 * One write of whole blocks inside one extent. The store owns request and bytes from the call until
 * `done`; it never changes them.
 */
export interface WriteRequest {
  /** The extent is tagged with it when the write creates it. */
  pg: number;
  volume: number;
  layer: number;
  extent: number;
  /** First block, 0 to 1023. */
  block: number;
  /** 1 to 1024 - block. */
  count: number;
  /** Moves the extent's stamp forward, durably before the data lands; a lower one changes nothing. */
  epoch: number;
  /** 4 × count bytes, little endian CRC32C per block. */
  checksums: Uint8Array;
  /** 4096 × count bytes. */
  data: Uint8Array;
  /**
   * Present when checksums and data lie in memory that is used again as soon as `write` returns: a
   * store that still needs them then calls it, in time, and finds copies in these fields. Most writes
   * are in the file by then, and copying them all would be a waste.
   */
  keepBody?: (() => void) | undefined;
  /** FUA: `done` only when everything up to this write is power-safe. */
  durable: boolean;
  /** When this write creates the extent it starts as incomplete (a joining replica's fresh write). */
  incomplete: boolean;
}

/** As a write without bytes. */
export interface ZeroRequest {
  pg: number;
  volume: number;
  layer: number;
  extent: number;
  block: number;
  count: number;
  epoch: number;
  /** True: the blocks become absent (trim). False: they become zero and hide the parent layer. */
  unmap: boolean;
  durable: boolean;
  incomplete: boolean;
}

/**
 * Blocks that resync, repair or reconciliation copies from another replica. Exactly these blocks
 * take the given state; the caller leaves out those that must stay. Never creates an extent: that is
 * `setStamp`'s, so that `incomplete` (or `dirty`) is durable before the first block changes.
 */
export interface PulledBlocks {
  volume: number;
  layer: number;
  extent: number;
  block: number;
  count: number;
  /** Two bits per block of the range, little endian: block i in bits 2·(i % 4) of byte i / 4. */
  presence: Uint8Array;
  /** 4 × count bytes; entries of absent and zero blocks are ignored. */
  checksums: Uint8Array;
  /** 4096 × count bytes; absent and zero blocks take their room and are ignored. */
  data: Uint8Array;
}

/** Good bytes for blocks that should hold them: they fit the checksums, which must be the stored ones. */
export interface HealedBlocks extends ExtentAddress {
  readonly block: number;
  readonly count: number;
  readonly checksums: Uint8Array;
  readonly data: Uint8Array;
}

/**
 * One read inside one extent and one layer, into buffers of the caller. Absent and zero blocks are
 * filled with zeros and the checksum of a zero block, so that the result can be sent as it is.
 */
export interface ReadRequest {
  volume: number;
  layer: number;
  extent: number;
  block: number;
  count: number;
  /** 4096 × count bytes, overwritten. */
  data: Uint8Array;
  /** 4 × count bytes, overwritten: the checksums as stored. */
  checksums: Uint8Array;
  /** Compares data and checksums here; a mismatch ends in `STATUS.checksum`. */
  verify: boolean;
  /** Asks the device, not the system's cache, as far as the system lets us (scrub). */
  isFromDevice?: boolean;
}

/**
 * `dataBlocks`: blocks of the range that hold data; `absentBlocks`: blocks that fall through to the
 * parent layer. Both are 0 unless `status` is `ok`. `badBlock`: first block (inside the extent) that
 * failed its checksum, or -1. A range that the device cannot read ends in `STATUS.checksum` too, with
 * -1 unless it is a single block: what it holds is as lost as if it had rotted, and no more.
 */
export type ReadDone = (
  status: Status,
  dataBlocks: number,
  absentBlocks: number,
  badBlock: number,
) => void;

/** A place on the disk: file, and offset in it. */
export interface SlotPlace {
  readonly name: string;
  readonly offset: number;
}

/** The durable stamp of an extent (DESIGN 4.5). */
export interface Stamp {
  /** PG epoch of its last write. */
  readonly epoch: number;
  readonly dirty: boolean;
  readonly incomplete: boolean;
}

export interface ExtentEntry extends ExtentAddress, Stamp {
  readonly pg: number;
}

export interface ExtentPage {
  /** In order of volume, layer, extent. */
  readonly entries: readonly ExtentEntry[];
  /** Pass it as the next cursor; null when there is no more. */
  readonly next: ExtentAddress | null;
}

/** Stamp, presence and checksums of a whole extent, as of one moment. */
export interface ExtentMeta extends Stamp {
  readonly pg: number;
  /** 256 bytes, two bits per block. */
  readonly presence: Uint8Array;
  /** 4096 bytes; entries of absent and zero blocks mean nothing. */
  readonly checksums: Uint8Array;
}

export interface StoreUsage {
  readonly capacityBytes: number;
  /** Slots owned by extents, times 4 MiB. */
  readonly usedBytes: number;
  readonly slotCount: number;
  readonly usedSlots: number;
  /** Freed, and not yet given back to the file system. */
  readonly pendingSlots: number;
  /** Extents, with and without a slot. */
  readonly extentCount: number;
  readonly dirtyExtentCount: number;
  readonly incompleteExtentCount: number;
  /** Blocks that failed their checksum or could not be read, since the store was opened. */
  readonly checksumErrorCount: number;
}
