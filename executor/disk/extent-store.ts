/**
 * The extent store of one disk, as its callers see it. `openExtentStore` (extent-store-open.ts) makes one.
 *
 * Rules that hold for every method:
 * - a store that met EIO on writing, EROFS or a failed sync is failed for good: every later call ends in
 *   `STATUS.diskFailed`, and `failure` says why;
 * - operations on overlapping blocks of one extent take effect in the order of the calls;
 * - `done` may be called before the method returns.
 */
import type { Status } from '../../shared/wire/data-protocol.ts';
import type {
  Done,
  ExtentAddress,
  ExtentMeta,
  ExtentPage,
  HealedBlocks,
  PulledBlocks,
  ReadDone,
  ReadRequest,
  SlotPlace,
  Stamp,
  StoreUsage,
  WriteRequest,
  ZeroRequest,
} from './store-types.ts';

export interface ExtentStore {
  readonly uuid: string;
  readonly diskId: number;
  /**
   * Another one than before: acked writes that were not flushed may be gone (store-life.ts). 1 to 2^32 - 1.
   */
  readonly incarnation: number;
  /** Why the store failed; null while it serves. */
  readonly failure: string | null;
  /** Called once, when the store fails. */
  onFailure(listener: (reason: string) => void): void;

  // ── Blocks ───────────────────────────────────────────────────────────────────────────────────

  /** `done` comes when the write survives the death of the process; with `durable`, power loss. */
  write(request: WriteRequest, done: Done): void;
  read(request: ReadRequest, done: ReadDone): void;
  /** A range of an extent that does not exist: `unmap` changes nothing, zero creates the extent. */
  zero(request: ZeroRequest, done: Done): void;
  /** `STATUS.badRequest` when the extent does not exist: make it with `setStamp` first. */
  applyPulled(blocks: PulledBlocks, done: Done): void;
  /**
   * One block of which nobody has a good copy: reads of it end in `STATUS.checksum`, also after a crash, until it
   * is written anew or healed. `checksum` (4 bytes, little endian) is the one that it should have. Otherwise
   * as `applyPulled`.
   */
  applyLost(address: ExtentAddress, block: number, checksum: Uint8Array, done: Done): void;
  /** Everything whose `done` was called before this call is power-safe at `done`. Group commit. */
  flush(done: Done): void;
  /** Reads `count` blocks as they lie on the disk, whatever the presence says (scrub, inspection). */
  readRaw(
    address: ExtentAddress,
    block: number,
    count: number,
    target: Uint8Array,
    done: Done,
  ): void;

  // ── Extents ──────────────────────────────────────────────────────────────────────────────────

  /** Null when the extent does not exist here. */
  stampOf(address: ExtentAddress): Stamp | null;
  /** Where the extent's first block lies on the disk; null when it has no slot. For tools and tests. */
  placeOf(address: ExtentAddress): SlotPlace | null;
  /** Two bits per block of the range into `target` (ceil(count / 4) bytes); absent where no extent is. */
  presenceOf(
    address: ExtentAddress,
    block: number,
    count: number,
    target: Uint8Array,
    done: Done,
  ): void;
  /** Null when the extent does not exist. Stored checksums are rebuilt first if they cannot be trusted. */
  metaOf(address: ExtentAddress, done: (status: Status, meta: ExtentMeta | null) => void): void;
  /**
   * Creates the extent (all absent, tagged `pg`) or changes its stamp; durable at `done`. What a
   * cleared `incomplete` or `dirty` promises is made durable first: data, presence and checksums.
   */
  setStamp(address: ExtentAddress, pg: number, stamp: Stamp, done: Done): void;
  /**
   * All replicas have every write that this store has acked so far on these extents. Their dirty
   * flags are cleared in the background, each once its data and checksums are durable and only if
   * no write came in between. `done` (optional) when this pass over them is over.
   */
  clean(extents: readonly ExtentAddress[], done?: () => void): void;
  /** Its slot is given back in the background; `done` when the deletion survives process death. */
  deleteExtent(address: ExtentAddress, done: Done): void;
  /** All layers, in slices; `done` when no extent of it is left. Forgets its generation as well. */
  deleteVolume(volume: number, done: Done): void;
  /** Extents of `pg` after `after` (null: from the start), at most `limit`. */
  listExtents(pg: number, after: ExtentAddress | null, limit: number): ExtentPage;
  /** Drops the extents of `pg`, in slices; its epoch stays known. */
  forgetPg(pg: number, done: Done): void;

  // ── Healing (extent-healer.ts) ───────────────────────────────────────────────────────────────

  /** Differs after every change of the extent while the store is open; -1 when it does not exist. */
  versionOf(address: ExtentAddress): number;
  /**
   * Writes bytes under the checksums that are stored already: cures rotten and unreadable blocks.
   * `STATUS.badRequest` when other checksums are stored by now. Power-safe at `done`.
   */
  rewrite(blocks: HealedBlocks, done: Done): void;
  /** Opens a quiet extent for `applyPulled`, if it is still as it was at `version`. */
  beginHeal(address: ExtentAddress, pg: number, version: number, done: Done): void;
  /** It is whole again: as of `epoch`, and durable, at `done`. */
  endHeal(address: ExtentAddress, epoch: number, done: Done): void;

  // ── Epochs and generations ───────────────────────────────────────────────────────────────────

  /** Never lowers it. `epochOf` says the new one at once; durable at `done`. */
  adoptEpoch(pg: number, epoch: number, done: Done): void;
  /** 0 when none was adopted. */
  epochOf(pg: number): number;
  adoptGeneration(volume: number, generation: number, done: Done): void;
  generationOf(volume: number): number;

  /** All that were adopted, by PG and by volume. */
  readonly epochs: ReadonlyMap<number, number>;
  readonly generations: ReadonlyMap<number, number>;

  // ── The last map ─────────────────────────────────────────────────────────────────────────────

  /**
   * Keeps a record of `encodeDurableMap` beside the data; the bytes must stay as they are until `done`.
   * `STATUS.noSpace`: the one before stays.
   */
  keepMap(record: Uint8Array, done: Done): void;
  /** The newest record that is whole; null when there is none. */
  keptMap(): Uint8Array | null;

  // ── The whole ────────────────────────────────────────────────────────────────────────────────

  usage(): StoreUsage;
  /** Every volume that has extents here, also those without a slot (0 bytes); likewise `pgUsage`. */
  volumeUsage(): readonly { readonly volume: number; readonly bytes: number }[];
  pgUsage(): readonly { readonly pg: number; readonly bytes: number }[];
  /** Waits for what is running, makes everything durable, marks the store clean. Idempotent. */
  close(): Promise<void>;
}
