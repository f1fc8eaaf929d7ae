/**
 * Reading: blocks with their stored checksums, presence, the meta data of whole extents, and raw
 * bytes. Cached pages are read on the spot, everything else on the thread pool while the blocks are
 * held against writers, so that data and checksums always belong together.
 */
import { assert } from '../../shared/base/assert.ts';
import { crc32c, ZERO_BLOCK_CRC } from '../../shared/base/crc32c.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import { DiskError, type DiskFailure } from '../../shared/ports.ts';
import type { Status } from '../../shared/wire/data-protocol.ts';
import { PRESENCE, STATUS } from '../../shared/wire/data-protocol.ts';
import type { ChecksumRebuilder } from './checksum-rebuilder.ts';
import { ROW } from './extent-catalog.ts';
import { NO_SLOT } from './journal-records.ts';
import { looksLost } from './lost-blocks.ts';
import { copyPresence, countPresence, PRESENCE_BYTES, presenceAt, runEnd } from './presence.ts';
import { slotOffset } from './slab-files.ts';
import type { StoreCore } from './store-core.ts';
import { checksumAt } from './store-core.ts';
import { CACHED_READ_BYTES_MAX } from './store-tuning.ts';
import type { Done, ExtentAddress, ExtentMeta, ReadDone, ReadRequest } from './store-types.ts';

export class BlockReader {
  readonly #core: StoreCore;
  readonly #rebuilder: ChecksumRebuilder;

  constructor(core: StoreCore, rebuilder: ChecksumRebuilder) {
    this.#core = core;
    this.#rebuilder = rebuilder;
  }

  read(request: ReadRequest, done: ReadDone): void {
    const { catalog } = this.#core;
    const { block, count } = request;
    assert(
      block >= 0 && count > 0 && block + count <= BLOCKS_PER_EXTENT,
      'blocks lie inside one extent',
    );
    assert(request.data.length === count * BLOCK_BYTES, 'the data buffer fits the range');
    assert(request.checksums.length === count * 4, 'the checksum buffer fits the range');
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed, 0, 0, -1);
      return;
    }
    const row = catalog.find(request.volume, request.layer, request.extent);
    if (row < 0) {
      fillZeros(request, 0, count);
      done(STATUS.ok, 0, count, -1);
      return;
    }
    if (this.#mustWait(row, block, count, () => this.read(request, done))) return;
    const table = this.#core.tableOf(row);
    if (table === null) {
      done(STATUS.diskFailed, 0, 0, -1);
      return;
    }
    const isFull = catalog.dataBlocks[row] === BLOCKS_PER_EXTENT;
    const dataBlocks = isFull ? count : countPresence(table, block, count, PRESENCE.data);
    if (dataBlocks === 0) {
      fillZeros(request, 0, count);
      done(STATUS.ok, 0, countPresence(table, block, count, PRESENCE.absent), -1);
      return;
    }
    this.#readData(row, table, request, dataBlocks, done);
  }

  presenceOf(
    address: ExtentAddress,
    block: number,
    count: number,
    target: Uint8Array,
    done: Done,
  ): void {
    assert(block >= 0 && block + count <= BLOCKS_PER_EXTENT, 'blocks lie inside one extent');
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    const row = this.#core.catalog.find(address.volume, address.layer, address.extent);
    if (row < 0) {
      target.fill(0, 0, Math.ceil(count / 4));
      done(STATUS.ok);
      return;
    }
    const table = this.#core.tableOf(row);
    if (table === null) {
      done(STATUS.diskFailed);
      return;
    }
    copyPresence(table, block, count, target);
    done(STATUS.ok);
  }

  metaOf(address: ExtentAddress, done: (status: Status, meta: ExtentMeta | null) => void): void {
    const { catalog } = this.#core;
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed, null);
      return;
    }
    const row = catalog.find(address.volume, address.layer, address.extent);
    if (row < 0) {
      done(STATUS.ok, null);
      return;
    }
    if (this.#mustWait(row, 0, BLOCKS_PER_EXTENT, () => this.metaOf(address, done))) return;
    const table = this.#core.tableOf(row);
    if (table === null) {
      done(STATUS.diskFailed, null);
      return;
    }
    done(STATUS.ok, {
      pg: catalog.pg[row] ?? 0,
      epoch: catalog.epoch[row] ?? 0,
      dirty: catalog.hasFlag(row, ROW.dirty),
      incomplete: catalog.hasFlag(row, ROW.incomplete),
      presence: table.slice(0, PRESENCE_BYTES),
      checksums: table.slice(PRESENCE_BYTES),
    });
  }

  readRaw(
    address: ExtentAddress,
    block: number,
    count: number,
    target: Uint8Array,
    done: Done,
  ): void {
    const { catalog, holds, slabs } = this.#core;
    assert(
      block >= 0 && count > 0 && block + count <= BLOCKS_PER_EXTENT,
      'blocks lie inside one extent',
    );
    assert(target.length === count * BLOCK_BYTES, 'the buffer fits the range');
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    const row = catalog.find(address.volume, address.layer, address.extent);
    const retry = (): void => this.readRaw(address, block, count, target, done);
    if (row >= 0 && holds.mustWait(row, { block, count, mode: 'read' }, retry)) return;
    const slot = row < 0 ? NO_SLOT : (catalog.slot[row] ?? NO_SLOT);
    if (slot === NO_SLOT) {
      target.fill(0);
      done(STATUS.ok);
      return;
    }
    const hold = holds.take(row, block, count, 'read');
    slabs.of(slot).file.read(target, slotOffset(slot) + block * BLOCK_BYTES, (failure) => {
      this.#core.finish('Reading a slab', failure, done);
      holds.release(row, hold);
    });
  }

  /** For its turn among the holders of the blocks, or for checksums that can be trusted. */
  #mustWait(row: number, block: number, count: number, retry: () => void): boolean {
    const { catalog, holds } = this.#core;
    if (
      catalog.hasFlag(row, ROW.held) &&
      holds.mustWait(row, { block, count, mode: 'read' }, retry)
    ) {
      return true;
    }
    if (!catalog.hasFlag(row, ROW.stale)) return false;
    this.#rebuilder.rebuild(row, retry);
    return true;
  }

  #readData(
    row: number,
    table: Uint8Array,
    request: ReadRequest,
    dataBlocks: number,
    done: ReadDone,
  ): void {
    const { catalog, holds, slabs } = this.#core;
    const slot = catalog.slot[row] ?? NO_SLOT;
    assert(slot !== NO_SLOT, 'an extent with data has a slot', { row });
    const { file } = slabs.of(slot);
    const offset = slotOffset(slot) + request.block * BLOCK_BYTES;
    if (request.isFromDevice === true) file.dropCached?.(offset, request.data.length);
    else {
      try {
        if (request.data.length <= CACHED_READ_BYTES_MAX && file.readCached(request.data, offset)) {
          this.#answer(table, request, dataBlocks, done);
          return;
        }
      } catch (error) {
        if (!(error instanceof DiskError)) throw error;
        this.#refuse(request, error, done);
        return;
      }
    }
    const hold = holds.take(row, request.block, request.count, 'read');
    file.read(request.data, offset, (failure) => {
      const loaded = this.#core.failure === null ? this.#core.tableOf(row) : null;
      if (loaded === null) done(STATUS.diskFailed, 0, 0, -1);
      else if (failure === null) this.#answer(loaded, request, dataBlocks, done);
      else this.#refuse(request, failure, done);
      holds.release(row, hold);
    });
  }

  /** A sector that cannot be read says nothing about the others: only these blocks are bad. */
  #refuse(request: ReadRequest, failure: DiskFailure, done: ReadDone): void {
    if (failure.code !== 'EIO') {
      this.#core.fail('Reading a slab', failure);
      done(STATUS.diskFailed, 0, 0, -1);
      return;
    }
    const row = this.#core.catalog.find(request.volume, request.layer, request.extent);
    const table = row < 0 ? null : this.#core.tableOf(row);
    const checksum = table === null ? 0 : checksumAt(table, request.block);
    this.#noteBad('A block cannot be read', request, { ...request, checksum });
    done(STATUS.checksum, 0, 0, request.count === 1 ? request.block : -1);
  }

  #noteBad(
    message: string,
    { volume, layer, extent }: ExtentAddress,
    bad: { readonly block: number; readonly count: number; readonly checksum: number },
  ): void {
    const { block, count } = bad;
    const { badBlocks, parts } = this.#core;
    if (!badBlocks.isNews({ volume, layer, extent }, block, count, bad.checksum)) return;
    this.#core.checksumErrorCount += 1;
    const place = { disk: parts.options.diskId, volume, layer, extent, block, count };
    parts.log('error', message, place);
  }

  /** The bytes are there: checksums beside them, zeros over what holds no data. */
  #answer(table: Uint8Array, request: ReadRequest, dataBlocks: number, done: ReadDone): void {
    const { block, count } = request;
    const from = PRESENCE_BYTES + 4 * block;
    if (count === 1) {
      for (let index = 0; index < 4; index += 1)
        request.checksums[index] = table[from + index] ?? 0;
    } else {
      request.checksums.set(table.subarray(from, from + 4 * count));
    }
    let absentBlocks = 0;
    if (dataBlocks < count) {
      absentBlocks = countPresence(table, block, count, PRESENCE.absent);
      for (let at = block; at < block + count; ) {
        const next = runEnd(table, at, block + count);
        if (presenceAt(table, at) !== PRESENCE.data) fillZeros(request, at - block, next - at);
        at = next;
      }
    }
    const bad = request.verify ? findBadBlock(table, request) : -1;
    if (bad < 0) {
      done(STATUS.ok, dataBlocks, absentBlocks, -1);
      return;
    }
    const at = (bad - block) * BLOCK_BYTES;
    if (!looksLost(request.data.subarray(at, at + BLOCK_BYTES))) {
      const checksum = checksumAt(table, bad);
      const found = { block: bad, count: 1, checksum };
      this.#noteBad('A stored block fails its checksum', request, found);
    }
    done(STATUS.checksum, 0, 0, bad);
  }
}

/** The first block with data whose bytes do not fit its checksum; -1 when all fit. */
function findBadBlock(table: Uint8Array, request: ReadRequest): number {
  for (let index = 0; index < request.count; index += 1) {
    const block = request.block + index;
    if (presenceAt(table, block) !== PRESENCE.data) continue;
    const bytes = request.data.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
    if (crc32c(bytes) !== checksumAt(table, block)) return block;
  }
  return -1;
}

/** `from` counts from the start of the request's buffers. */
function fillZeros(request: ReadRequest, from: number, count: number): void {
  request.data.fill(0, from * BLOCK_BYTES, (from + count) * BLOCK_BYTES);
  for (let index = from; index < from + count; index += 1) {
    request.checksums[4 * index] = ZERO_BLOCK_CRC & 0xff;
    request.checksums[4 * index + 1] = (ZERO_BLOCK_CRC >>> 8) & 0xff;
    request.checksums[4 * index + 2] = (ZERO_BLOCK_CRC >>> 16) & 0xff;
    request.checksums[4 * index + 3] = ZERO_BLOCK_CRC >>> 24;
  }
}
