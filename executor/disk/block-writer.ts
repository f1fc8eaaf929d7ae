/**
 * Writing, zeroing and taking over blocks. Short writes happen on the spot: slab, checksums, and (only
 * when presence changes) a journal record before the answer. Long ones go through the thread pool and
 * hold their blocks meanwhile.
 */
import { assert } from '../../shared/base/assert.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import type { Status } from '../../shared/wire/data-protocol.ts';
import { PRESENCE, STATUS } from '../../shared/wire/data-protocol.ts';
import type { ChecksumRebuilder } from './checksum-rebuilder.ts';
import { ROW } from './extent-catalog.ts';
import { NO_SLOT } from './journal-records.ts';
import { lostBlock } from './lost-blocks.ts';
import { type BlockRange, isAllData, PRESENCE_BYTES, presenceAt, runEnd } from './presence.ts';
import type { Slab } from './slab-files.ts';
import { slotOffset } from './slab-files.ts';
import type { StampKeeper } from './stamp-keeper.ts';
import { isNoSpace } from './stamp-keeper.ts';
import type { StoreCore } from './store-core.ts';
import { hasZeroChecksum } from './store-core.ts';
import type {
  Done,
  ExtentAddress,
  PulledBlocks,
  WriteRequest,
  ZeroRequest,
} from './store-types.ts';

/** A change of blocks of a row that is ready for it. */
/** Data for blocks, both owned until the end of the operation. */
interface BlockData extends BlockRange {
  readonly checksums: Uint8Array;
  readonly data: Uint8Array;
  /** As in `WriteRequest`. */
  readonly keepBody?: (() => void) | undefined;
}

/** From here on zeroing gives space back to the file system; below, a punch costs more than zeros. */
const PUNCH_BLOCKS_MIN = 16;
/**
 * New blocks are written in such pieces, because the kernel caches them in folios of the write's size,
 * and each later write of 4 KiB walks its whole folio. Against 64 KiB this takes a fifth off random
 * writes and adds a tenth to the stream that writes the blocks first (ext4, kernel 6.18).
 */
const FIRST_WRITE_BYTES = 16 * 1024;
/**
 * Streams are synced early, which is nearly free. Shorter writes are scattered: each block is a
 * request to the device, and many are overwritten before long, so they may gather for longer.
 */
const STREAM_BYTES_MIN = 32 * 1024;
const SCATTERED_DIVISOR = 8;
const CLIENT = { needsSlot: true, keepsStamp: false };
const CLIENT_ZERO = { needsSlot: false, keepsStamp: false };
const ZEROS = new Uint8Array(PUNCH_BLOCKS_MIN * BLOCK_BYTES);

export class BlockWriter {
  readonly #core: StoreCore;
  readonly #stamps: StampKeeper;
  readonly #rebuilder: ChecksumRebuilder;

  constructor(core: StoreCore, stamps: StampKeeper, rebuilder: ChecksumRebuilder) {
    this.#core = core;
    this.#stamps = stamps;
    this.#rebuilder = rebuilder;
  }

  write(request: WriteRequest, done: Done): void {
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    assertRange(request.block, request.count);
    assert(request.data.length === request.count * BLOCK_BYTES, 'data fits the range');
    assert(request.checksums.length === request.count * 4, 'checksums fit the range');
    const row = this.#stamps.prepare(request, CLIENT, () => this.write(request, done), done);
    if (row < 0) {
      request.keepBody?.();
      return;
    }
    this.#put(row, request, request.durable ? this.#thenFlush(done) : done);
  }

  zero(request: ZeroRequest, done: Done): void {
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    assertRange(request.block, request.count);
    const { catalog } = this.#core;
    if (request.unmap && catalog.find(request.volume, request.layer, request.extent) < 0) {
      this.#core.afterWritten(done);
      return;
    }
    const row = this.#stamps.prepare(request, CLIENT_ZERO, () => this.zero(request, done), done);
    if (row < 0) return;
    const value = request.unmap ? PRESENCE.absent : PRESENCE.zero;
    this.#clear(row, request, value, request.durable ? this.#thenFlush(done) : done);
  }

  applyPulled(blocks: PulledBlocks, done: Done): void {
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    assertRange(blocks.block, blocks.count);
    const { catalog } = this.#core;
    const row = catalog.find(blocks.volume, blocks.layer, blocks.extent);
    if (row < 0 || !catalog.hasFlag(row, ROW.dirty | ROW.incomplete)) {
      done(STATUS.badRequest);
      return;
    }
    // All runs at once: each takes its place among the operations on its blocks now, so that a write
    // that comes later cannot be overwritten by an older copy.
    let waiting = 1;
    let worst: Status = STATUS.ok;
    const finish: Done = (status) => {
      if (worst === STATUS.ok) worst = status;
      waiting -= 1;
      if (waiting === 0) done(worst);
    };
    for (let from = 0; from < blocks.count; ) {
      const to = runEnd(blocks.presence, from, blocks.count);
      waiting += 1;
      this.#applyRun(blocks, from, to, finish);
      from = to;
    }
    finish(STATUS.ok);
  }

  applyLost(address: ExtentAddress, block: number, checksum: Uint8Array, done: Done): void {
    const { volume, layer, extent } = address;
    const place = { uuid: this.#core.parts.options.uuid, volume, layer, extent, block };
    const wanted = new DataView(checksum.buffer, checksum.byteOffset, 4).getUint32(0, true);
    const blocks = {
      ...{ volume, layer, extent, block, count: 1 },
      presence: new Uint8Array([PRESENCE.data]),
      checksums: checksum,
      data: lostBlock(place, wanted),
    };
    this.applyPulled(blocks, done);
  }

  // ── Pulled blocks, run by run ────────────────────────────────────────────────────────────────

  #applyRun(blocks: PulledBlocks, from: number, to: number, done: Done): void {
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    const { catalog } = this.#core;
    const found = catalog.find(blocks.volume, blocks.layer, blocks.extent);
    // Deleted while it waited for its turn.
    if (found < 0) {
      done(STATUS.badRequest);
      return;
    }
    const value = presenceAt(blocks.presence, from);
    const range = { block: blocks.block + from, count: to - from };
    const stamp = {
      volume: blocks.volume,
      layer: blocks.layer,
      extent: blocks.extent,
      pg: catalog.pg[found] ?? 0,
      epoch: catalog.epoch[found] ?? 0,
      incomplete: false,
      ...range,
    };
    const needs = {
      needsSlot: value === PRESENCE.data,
      keepsStamp: catalog.hasFlag(found, ROW.incomplete),
    };
    const retry = (): void => this.#applyRun(blocks, from, to, done);
    const row = this.#stamps.prepare(stamp, needs, retry, done);
    if (row < 0) return;
    if (value === PRESENCE.data) {
      const data = blocks.data.subarray(from * BLOCK_BYTES, to * BLOCK_BYTES);
      const checksums = blocks.checksums.subarray(from * 4, to * 4);
      this.#put(row, { ...range, data, checksums }, done);
    } else {
      this.#clear(row, range, value, done);
    }
  }

  // ── Data ─────────────────────────────────────────────────────────────────────────────────────

  #put(row: number, source: BlockData, done: Done): void {
    const { catalog, journal, slabs, parts } = this.#core;
    const table = this.#core.tableOf(row);
    if (table === null) {
      done(STATUS.diskFailed);
      return;
    }
    // The most records that this write can need: one per block.
    if (!isAllData(table, source.block, source.count) && !journal.hasRoom(source.count + 2)) {
      done(STATUS.noSpace);
      return;
    }
    if (hasZeroChecksum(source.checksums, source.count)) {
      if (!this.#core.announceZeros(row, table, source, source.checksums)) {
        this.#putLater(row, source, done);
        return;
      }
    }
    const slot = catalog.slot[row] ?? 0;
    const offset = slotOffset(slot) + source.block * BLOCK_BYTES;
    if (source.data.length > parts.tuning.syncWriteBytesMax) {
      this.#putLong(row, source, offset, done);
      return;
    }
    try {
      const slab = slabs.of(slot);
      writePieces(slab, table, source, offset);
      this.#wrote(slab, source.data.length);
    } catch (error) {
      this.#refuse(row, source, error, done);
      return;
    }
    this.#account(row, table, source, done);
  }

  /** Once the journal has written what was announced. */
  #putLater(row: number, source: BlockData, done: Done): void {
    const { holds, journal } = this.#core;
    source.keepBody?.();
    const hold = holds.take(row, source.block, source.count, 'write');
    journal.afterWritten((failure) => {
      const waiters = holds.releaseQuietly(row, hold);
      if (failure === null) this.#put(row, source, done);
      else this.#core.finish('Writing the journal', failure, done);
      for (const waiter of waiters) waiter();
    });
  }

  #putLong(row: number, source: BlockData, offset: number, done: Done): void {
    const { catalog, holds, slabs } = this.#core;
    source.keepBody?.();
    const slab = slabs.of(catalog.slot[row] ?? 0);
    const hold = holds.take(row, source.block, source.count, 'write');
    this.#core.touch(row);
    // Marked before and after: a sync that starts in between covers some of it, not all.
    this.#wrote(slab, 0);
    slab.file.write(source.data, offset, (failure) => {
      this.#wrote(slab, source.data.length);
      if (failure === null) {
        const table = this.#core.tableOf(row);
        if (table === null) done(STATUS.diskFailed);
        else this.#account(row, table, source, done);
      } else {
        const waiters = holds.releaseQuietly(row, hold);
        this.#refuse(row, source, failure, done);
        for (const waiter of waiters) waiter();
        return;
      }
      holds.release(row, hold);
    });
  }

  /** The bytes are in the slab: checksums, presence, answer. */
  #account(row: number, table: Uint8Array, source: BlockData, done: Done): void {
    const { tables, journal } = this.#core;
    this.#core.touch(row);
    storeChecksums(table, source.block, source.checksums);
    tables.markDirty(row);
    if (!isAllData(table, source.block, source.count)) {
      this.#core.changePresence(row, table, source, PRESENCE.data, source.checksums);
    }
    // Also behind somebody else's record: it may be the one that makes these blocks data.
    if (journal.isBuffered) this.#core.afterWritten(done);
    else done(STATUS.ok);
  }

  #wrote(slab: Slab, bytes: number): void {
    slab.wrote(bytes < STREAM_BYTES_MIN ? bytes / SCATTERED_DIVISOR : bytes);
    if (slab.unsyncedBytes < this.#core.parts.tuning.backgroundSyncBytes) return;
    slab.sync((failure) => {
      if (failure !== null) this.#core.fail('Syncing a slab', failure);
    });
  }

  /** A full disk refuses this write alone. Blocks that it may have changed get new checksums first. */
  #refuse(row: number, { block, count }: BlockRange, error: unknown, done: Done): void {
    if (!isNoSpace(error)) {
      this.#core.failWith('Writing to a slab', error);
      done(STATUS.diskFailed);
      return;
    }
    const { catalog } = this.#core;
    this.#core.touch(row);
    this.#rebuilder.rebuildRange(row, { block, count }, () => {
      if (this.#core.failure === null) {
        if (catalog.dataBlocks[row] === 0 && !catalog.hasFlag(row, ROW.held))
          this.#core.releaseSlot(row);
      }
      done(this.#core.failure === null ? STATUS.noSpace : STATUS.diskFailed);
    });
  }

  // ── No data ──────────────────────────────────────────────────────────────────────────────────

  /**
   * The record comes before the bytes go: after a crash in between, the rebuilder clears them. The
   * answer comes after both, because bytes that stay behind could be taken for data one day.
   */
  #clear(row: number, range: BlockRange, value: number, done: Done): void {
    const { catalog, journal, holds } = this.#core;
    const table = this.#core.tableOf(row);
    if (table === null) {
      done(STATUS.diskFailed);
      return;
    }
    if (!journal.hasRoom(range.count + 2)) {
      done(STATUS.noSpace);
      return;
    }
    const held = dataSpan(table, range);
    this.#core.touch(row);
    if (!this.#core.changePresence(row, table, range, value, null)) {
      this.#core.afterWritten(done);
      return;
    }
    if (catalog.dataBlocks[row] === 0 && !catalog.hasFlag(row, ROW.held)) {
      this.#core.releaseSlot(row);
      this.#core.afterWritten(done);
      return;
    }
    if (held === null) {
      this.#core.afterWritten(done);
    } else if (journal.writeNow()) {
      this.#wipe(row, held, done);
    } else {
      const hold = holds.take(row, range.block, range.count, 'write');
      journal.afterWritten((failure) => {
        const waiters = holds.releaseQuietly(row, hold);
        if (failure === null) this.#wipe(row, held, done);
        else this.#core.finish('Writing the journal', failure, done);
        for (const waiter of waiters) waiter();
      });
    }
  }

  /** Zeros a little, punches much. */
  #wipe(row: number, range: BlockRange, done: Done): void {
    const slot = this.#core.catalog.slot[row] ?? NO_SLOT;
    assert(slot !== NO_SLOT, 'an extent with data has a slot', { row });
    const slab = this.#core.slabs.of(slot);
    const offset = slotOffset(slot) + range.block * BLOCK_BYTES;
    const bytes = range.count * BLOCK_BYTES;
    if (range.count < PUNCH_BLOCKS_MIN) {
      try {
        slab.file.writeSync(ZEROS.subarray(0, bytes), offset);
        this.#wrote(slab, bytes);
        this.#core.afterWritten(done);
        return;
      } catch (error) {
        // A full disk can still punch: below.
        if (!isNoSpace(error)) {
          this.#core.failWith('Writing to a slab', error);
          done(STATUS.diskFailed);
          return;
        }
      }
    }
    this.#punch(row, range, { slab, offset, bytes }, done);
  }

  #punch(
    row: number,
    range: BlockRange,
    place: { readonly slab: Slab; readonly offset: number; readonly bytes: number },
    done: Done,
  ): void {
    const { holds } = this.#core;
    const hold = holds.take(row, range.block, range.count, 'write');
    place.slab.wrote(0);
    place.slab.file.punch(place.offset, place.bytes, (failure) => {
      place.slab.wrote(0);
      this.#core.touch(row);
      if (failure === null) this.#core.afterWritten(done);
      else this.#core.finish('Punching a slab', failure, done);
      holds.release(row, hold);
    });
  }

  #thenFlush(done: Done): Done {
    return (status) => {
      if (status === STATUS.ok) this.#core.flush(done);
      else done(status);
    };
  }
}

function assertRange(block: number, count: number): void {
  assert(
    block >= 0 && count > 0 && block + count <= BLOCKS_PER_EXTENT,
    'blocks lie inside one extent',
    {
      block,
      count,
    },
  );
}

/** Throws `DiskError`. */
function writePieces(slab: Slab, table: Uint8Array, source: BlockData, offset: number): void {
  const { data } = source;
  if (data.length <= FIRST_WRITE_BYTES || isAllData(table, source.block, source.count)) {
    slab.file.writeSync(data, offset);
    return;
  }
  for (let at = 0; at < data.length; at += FIRST_WRITE_BYTES) {
    slab.file.writeSync(data.subarray(at, at + FIRST_WRITE_BYTES), offset + at);
  }
}

function storeChecksums(table: Uint8Array, block: number, checksums: Uint8Array): void {
  const at = PRESENCE_BYTES + 4 * block;
  if (checksums.length === 4) {
    table[at] = checksums[0] ?? 0;
    table[at + 1] = checksums[1] ?? 0;
    table[at + 2] = checksums[2] ?? 0;
    table[at + 3] = checksums[3] ?? 0;
  } else {
    table.set(checksums, at);
  }
}

/** From the first block with data to the last one, or null when there is none. */
function dataSpan(table: Uint8Array, range: BlockRange): BlockRange | null {
  let first = -1;
  let last = -1;
  const end = range.block + range.count;
  for (let at = range.block; at < end; ) {
    const next = runEnd(table, at, end);
    if (presenceAt(table, at) === PRESENCE.data) {
      if (first < 0) first = at;
      last = next;
    }
    at = next;
  }
  return first < 0 ? null : { block: first, count: last - first };
}
