/**
 * The parts of one open store and the few steps that all its operations share: loading an extent's
 * table, changing blocks and stamps with their journal records, failing, flushing. It decides nothing
 * about requests (block-writer.ts and the others do).
 *
 * Order of things, upheld here: records are appended before an operation is reported; what a journal
 * record allocates is durable before data lands in it; nothing reaches the index before the journal
 * that led to it is durable (checkpoint.ts).
 */
import { ZERO_BLOCK_CRC } from '../../shared/base/crc32c.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import type { Clock, Disk, DiskFailure, DiskIndex, Log } from '../../shared/ports.ts';
import { DiskError } from '../../shared/ports.ts';
import { PRESENCE, STATUS } from '../../shared/wire/data-protocol.ts';
import { BadBlockBook } from './bad-block-book.ts';
import type { ExtentCatalog } from './extent-catalog.ts';
import { ROW } from './extent-catalog.ts';
import type { SyncDone } from './group-sync.ts';
import { decodeTable, TABLE_BYTES, tableKey } from './index-records.ts';
import type { Journal } from './journal.ts';
import { EXTENT_FLAG, NO_SLOT, PRESENCE_FLAG } from './journal-records.ts';
import { countPresence, PRESENCE_BYTES, presenceAt, runEnd, setPresence } from './presence.ts';
import type { RangeHolds } from './range-holds.ts';
import type { SlabFiles } from './slab-files.ts';
import type { SlotAllocator } from './slot-allocator.ts';
import type { StoreLife } from './store-life.ts';
import { SETTLE_BYTES } from './store-tuning.ts';
import type { Done, ExtentAddress, StoreOptions, StoreTuning } from './store-types.ts';
import type { TableCache } from './table-cache.ts';

export interface StoreParts {
  readonly options: StoreOptions;
  readonly tuning: StoreTuning;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Log;
  readonly index: DiskIndex;
  readonly catalog: ExtentCatalog;
  readonly tables: TableCache;
  readonly holds: RangeHolds;
  readonly slabs: SlabFiles;
  readonly epochs: Map<number, number>;
  readonly generations: Map<number, number>;
  readonly life: StoreLife;
}

export class StoreCore {
  readonly parts: StoreParts;
  readonly catalog: ExtentCatalog;
  readonly tables: TableCache;
  readonly holds: RangeHolds;
  readonly slabs: SlabFiles;
  readonly journal: Journal;
  readonly slots: SlotAllocator;
  readonly slotCount: number;
  readonly extentsMax: number;
  readonly changedEpochs = new Set<number>();
  readonly changedGenerations = new Set<number>();
  /** Extents whose index entries must go, by address in text. */
  readonly removed = new Map<string, ExtentAddress>();
  checksumErrorCount = 0;
  readonly badBlocks = new BadBlockBook();
  failure: string | null = null;
  #failureListeners: ((reason: string) => void)[] = [];
  /** Sequence of the last record whose slab data matters to recovery, and up to where it is settled. */
  #allocatedThrough = 0;
  #settledThrough = 0;
  #unsettledBytes = 0;

  constructor(
    parts: StoreParts,
    limits: { readonly slotCount: number; readonly extentsMax: number },
    makeJournal: () => Journal,
    makeSlots: (core: StoreCore) => SlotAllocator,
  ) {
    this.parts = parts;
    this.catalog = parts.catalog;
    this.tables = parts.tables;
    this.holds = parts.holds;
    this.slabs = parts.slabs;
    this.slotCount = limits.slotCount;
    this.extentsMax = limits.extentsMax;
    this.journal = makeJournal();
    this.slots = makeSlots(this);
  }

  // ── Failing ──────────────────────────────────────────────────────────────────────────────────

  /** For good: after a failed sync nobody knows what the system has thrown away. */
  fail(what: string, failure: DiskFailure): void {
    if (this.failure !== null) return;
    this.failure = `${what} failed: ${failure.code}: ${failure.message}`;
    this.parts.log('error', 'Disk failed', {
      disk: this.parts.options.diskId,
      path: this.parts.disk.path,
      reason: this.failure,
    });
    const listeners = this.#failureListeners;
    this.#failureListeners = [];
    for (const listener of listeners) listener(this.failure);
  }

  onFailure(listener: (reason: string) => void): void {
    if (this.failure !== null) listener(this.failure);
    else this.#failureListeners.push(listener);
  }

  /** Fails the store for what a synchronous operation threw; rethrows what is no disk error. */
  failWith(what: string, error: unknown): void {
    if (!(error instanceof DiskError)) throw error;
    this.fail(what, error);
  }

  // ── Tables ───────────────────────────────────────────────────────────────────────────────────

  /** Presence and checksums of the row, loaded when need be. Null when the store has failed over it. */
  tableOf(row: number): Uint8Array | null {
    return this.tables.find(row) ?? this.#loadTable(row);
  }

  #loadTable(row: number): Uint8Array | null {
    const address = this.catalog.addressOf(row);
    try {
      const value = this.parts.index.get(tableKey(address));
      const table = this.tables.assign(row);
      const isSound =
        value !== null && decodeTable(value, table) && this.#hasRoomForData(row, table);
      if (isSound) return table;
      if (
        value === null &&
        this.catalog.dataBlocks[row] === 0 &&
        this.catalog.zeroBlocks[row] === 0
      ) {
        return table.fill(0);
      }
      this.tables.drop(row);
      const { volume, layer, extent } = address;
      const state = value === null ? 'missing' : 'damaged';
      throw new DiskError(
        'EIO',
        `Table of extent ${volume}/${layer}/${extent} is ${state} in the index`,
      );
    } catch (error) {
      this.failWith('Loading an extent from the index', error);
      return null;
    }
  }

  /** Data lies in a slot: a table that knows of some although its entry names none belongs to another. */
  #hasRoomForData(row: number, table: Uint8Array): boolean {
    if (this.catalog.slot[row] !== NO_SLOT) return true;
    return countPresence(table, 0, BLOCKS_PER_EXTENT, PRESENCE.data) === 0;
  }

  /** A table for an extent that was just made: all absent. */
  newTable(row: number): Uint8Array {
    const table = this.tables.assign(row).fill(0, 0, TABLE_BYTES);
    this.tables.markDirty(row);
    return table;
  }

  // ── Changes, with their records ──────────────────────────────────────────────────────────────

  /** Writes slot and stamp of the row to the journal. */
  recordExtent(row: number, isFresh: boolean): void {
    const { catalog } = this;
    let flags = isFresh ? EXTENT_FLAG.fresh : 0;
    if (catalog.hasFlag(row, ROW.dirty)) flags |= EXTENT_FLAG.dirty;
    if (catalog.hasFlag(row, ROW.incomplete)) flags |= EXTENT_FLAG.incomplete;
    catalog.setFlags(row, ROW.changed, 0);
    this.journal.append({
      type: 'extent',
      flags,
      ...catalog.addressOf(row),
      pg: catalog.pg[row] ?? 0,
      slot: catalog.slot[row] ?? NO_SLOT,
      epoch: catalog.epoch[row] ?? 0,
    });
  }

  /**
   * The blocks are `value` from now on: counts, presence, and one record per run of equal prior
   * presence. Returns whether anything changed. `checksums` (of data, else null) tell which blocks are
   * truly zeros: recovery takes zeros in a block that was allocated lately for an allocation whose
   * data was lost, so those get records of their own.
   */
  changePresence(
    row: number,
    table: Uint8Array,
    range: { readonly block: number; readonly count: number },
    value: number,
    checksums: Uint8Array | null,
  ): boolean {
    const { catalog } = this;
    const end = range.block + range.count;
    let isChanged = false;
    for (let at = range.block; at < end; ) {
      let next = runEnd(table, at, end);
      const prior = presenceAt(table, at);
      if (prior === value) {
        at = next;
        continue;
      }
      let mayBeZeros = false;
      if (checksums !== null) {
        mayBeZeros = isZeroChecksum(checksums, at - range.block);
        next = zeroRunEnd(checksums, range.block, at, next);
      }
      this.#recordPresence(row, {
        block: at,
        count: next - at,
        presence: value,
        prior,
        mayBeZeros,
      });
      this.#unsettledBytes += (next - at) * BLOCK_BYTES;
      countBlocks(catalog, row, prior, at - next);
      countBlocks(catalog, row, value, next - at);
      setPresence(table, at, next - at, value);
      isChanged = true;
      at = next;
    }
    if (isChanged) {
      this.tables.markDirty(row);
      if (this.#unsettledBytes > SETTLE_BYTES) this.flush(() => undefined);
    }
    return isChanged;
  }

  /**
   * Zeros are about to be written over data whose allocation may still be doubted: recovery must know
   * that they are real. On the disk before the zeros are, because a dying process may leave just those.
   * False when that has to be waited for (the journal changes files): `afterWritten`, then again.
   */
  announceZeros(
    row: number,
    table: Uint8Array,
    range: { readonly block: number; readonly count: number },
    checksums: Uint8Array,
  ): boolean {
    if (this.#allocatedThrough <= this.#settledThrough) return true;
    const { data } = PRESENCE;
    const end = range.block + range.count;
    let isRecorded = false;
    for (let at = range.block; at < end; ) {
      const next = zeroRunEnd(checksums, range.block, at, runEnd(table, at, end));
      if (isZeroChecksum(checksums, at - range.block) && presenceAt(table, at) === data) {
        const count = next - at;
        this.#recordPresence(row, {
          block: at,
          count,
          presence: data,
          prior: data,
          mayBeZeros: true,
        });
        isRecorded = true;
      }
      at = next;
    }
    return !isRecorded || this.journal.writeNow();
  }

  #recordPresence(
    row: number,
    change: {
      readonly block: number;
      readonly count: number;
      readonly presence: number;
      readonly prior: number;
      readonly mayBeZeros: boolean;
    },
  ): void {
    this.catalog.setFlags(row, ROW.changed, 0);
    this.#allocatedThrough = this.journal.append({
      type: 'presence',
      flags: change.mayBeZeros ? PRESENCE_FLAG.mayBeZeros : 0,
      ...this.catalog.addressOf(row),
      block: change.block,
      count: change.count,
      presence: change.presence,
      prior: change.prior,
    });
  }

  /** Takes the row's slot away; its bytes are punched in the background. */
  releaseSlot(row: number): void {
    const slot = this.catalog.slot[row] ?? NO_SLOT;
    if (slot === NO_SLOT) return;
    this.catalog.setSlot(row, NO_SLOT);
    this.recordExtent(row, false);
    this.slots.release(slot);
  }

  /** Removes the row for good. Nothing may hold it any more, except the caller. */
  removeExtent(row: number): void {
    const address = this.catalog.addressOf(row);
    const slot = this.catalog.slot[row] ?? NO_SLOT;
    this.journal.append({ type: 'removal', ...address });
    this.removed.set(`${address.volume}/${address.layer}/${address.extent}`, address);
    this.tables.drop(row);
    if (slot !== NO_SLOT) {
      this.catalog.setSlot(row, NO_SLOT);
      this.slots.release(slot);
    }
    this.catalog.remove(row);
  }

  /** The row's version moves on: cleaning and asynchronous readers see that something happened. */
  touch(row: number): void {
    this.catalog.version[row] = (this.catalog.version[row] ?? 0) + 1;
  }

  // ── Durability ───────────────────────────────────────────────────────────────────────────────

  /** Slabs, then the word in the journal that they are settled, then the journal. */
  flush(done: Done): void {
    if (this.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    const through = this.#allocatedThrough;
    this.#unsettledBytes = 0;
    this.slabs.syncAll((failure) => {
      if (failure !== null) {
        this.fail('Syncing slabs', failure);
        done(STATUS.diskFailed);
        return;
      }
      this.#settle(through);
      this.syncJournal(done);
    });
  }

  #settle(through: number): void {
    if (through <= this.#settledThrough) return;
    this.#settledThrough = through;
    this.journal.append({ type: 'settled', through });
  }

  /** Everything appended so far is power-safe at `done`. */
  syncJournal(done: Done): void {
    this.journal.sync((failure) => this.finish('Syncing the journal', failure, done));
  }

  /** Everything appended so far survives the death of the process at `done`. */
  afterWritten(done: Done): void {
    this.journal.afterWritten((failure) => this.finish('Writing the journal', failure, done));
  }

  /** Slab data alone, without the journal. */
  syncSlabs(done: SyncDone): void {
    this.slabs.syncAll(done);
  }

  finish(what: string, failure: DiskFailure | null, done: Done): void {
    if (failure !== null) this.fail(what, failure);
    done(this.failure === null ? STATUS.ok : STATUS.diskFailed);
  }
}

function countBlocks(catalog: ExtentCatalog, row: number, presence: number, change: number): void {
  if (presence === PRESENCE.data) catalog.dataBlocks[row] = (catalog.dataBlocks[row] ?? 0) + change;
  if (presence === PRESENCE.zero) catalog.zeroBlocks[row] = (catalog.zeroBlocks[row] ?? 0) + change;
}

/** Little endian CRC32C of a block in a table. */
export function checksumAt(table: Uint8Array, block: number): number {
  const at = PRESENCE_BYTES + 4 * block;
  return (
    ((table[at] ?? 0) |
      ((table[at + 1] ?? 0) << 8) |
      ((table[at + 2] ?? 0) << 16) |
      ((table[at + 3] ?? 0) << 24)) >>>
    0
  );
}

/** Whether the checksum at `index` of a list is that of a block of zeros. */
function isZeroChecksum(checksums: Uint8Array, index: number): boolean {
  const at = 4 * index;
  return (
    checksums[at] === (ZERO_BLOCK_CRC & 0xff) &&
    checksums[at + 1] === ((ZERO_BLOCK_CRC >>> 8) & 0xff) &&
    checksums[at + 2] === ((ZERO_BLOCK_CRC >>> 16) & 0xff) &&
    checksums[at + 3] === ZERO_BLOCK_CRC >>> 24
  );
}

/** End of the run from block `at` on whose checksums are all, or all not, those of zeros. `first`: block of the list's start. */
function zeroRunEnd(checksums: Uint8Array, first: number, at: number, end: number): number {
  const isZero = isZeroChecksum(checksums, at - first);
  let next = at + 1;
  while (next < end && isZeroChecksum(checksums, next - first) === isZero) next += 1;
  return next;
}

/** Whether a list of checksums holds the one of a block of zeros. */
export function hasZeroChecksum(checksums: Uint8Array, count: number): boolean {
  for (let index = 0; index < count; index += 1) if (isZeroChecksum(checksums, index)) return true;
  return false;
}
