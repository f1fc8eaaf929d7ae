/**
 * After an unclean end the checksums of extents that were being written are older than their data.
 * This computes them anew, one extent at a time and before anything else happens to it, and clears
 * what unfinished writes left in blocks that hold no data: later such bytes could be taken for data.
 * After a write that a full disk refused half way the same is done to its blocks, and to no others: bytes
 * elsewhere that do not fit their checksums are damage, and have to stay recognisable.
 */
import { crc32c } from '../../shared/base/crc32c.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import type { DiskFailure } from '../../shared/ports.ts';
import { PRESENCE } from '../../shared/wire/data-protocol.ts';
import { ROW } from './extent-catalog.ts';
import { NO_SLOT } from './journal-records.ts';
import { looksLost, lostChecksumOf } from './lost-blocks.ts';
import { type BlockRange, PRESENCE_BYTES, presenceAt } from './presence.ts';
import type { Hold } from './range-holds.ts';
import { slotOffset } from './slab-files.ts';
import type { StoreCore } from './store-core.ts';

/** Blocks per read: 256 KiB, whose checksums take 50 microseconds of the loop. */
const STEP_BLOCKS = 64;
const READING = 'Reading an extent to rebuild its checksums';

interface Rebuild {
  readonly row: number;
  /** Where it ends: a block of the extent, or the one after the last. */
  readonly end: number;
  readonly hold: Hold;
  readonly table: Uint8Array;
  readonly buffer: Uint8Array;
  /** Runs without data that hold bytes all the same. */
  readonly residues: { readonly block: number; count: number }[];
  readonly done: () => void;
}

export class ChecksumRebuilder {
  readonly #core: StoreCore;

  constructor(core: StoreCore) {
    this.#core = core;
  }

  /** `done` when the row may be looked at again: rebuilt, or the store has failed. */
  rebuild(row: number, done: () => void): void {
    const { holds } = this.#core;
    if (holds.mustWait(row, { block: 0, count: BLOCKS_PER_EXTENT, mode: 'write' }, done)) return;
    this.#begin(row, { block: 0, count: BLOCKS_PER_EXTENT }, done);
  }

  /** The blocks of one refused write, on which nobody else has a hold now. `done` as above. */
  rebuildRange(row: number, range: BlockRange, done: () => void): void {
    this.#begin(row, range, done);
  }

  #begin(row: number, { block, count }: BlockRange, done: () => void): void {
    const { catalog, holds, tables } = this.#core;
    const table = this.#core.tableOf(row);
    if (table === null) {
      done();
      return;
    }
    tables.markDirty(row);
    const hold = holds.take(row, block, count, 'write');
    const buffer = new Uint8Array(Math.min(STEP_BLOCKS, count) * BLOCK_BYTES);
    const state: Rebuild = { row, end: block + count, hold, table, buffer, residues: [], done };
    if (catalog.slot[row] === NO_SLOT) this.#finish(state);
    else this.#step(state, block);
  }

  #step(state: Rebuild, block: number): void {
    const { slabs, catalog } = this.#core;
    if (block === state.end) {
      this.#clear(state);
      return;
    }
    const count = Math.min(STEP_BLOCKS, state.end - block);
    const target = state.buffer.subarray(0, count * BLOCK_BYTES);
    const slot = catalog.slot[state.row] ?? 0;
    const offset = slotOffset(slot) + block * BLOCK_BYTES;
    slabs.of(slot).file.read(target, offset, (failure) => {
      if (failure === null) {
        for (let index = 0; index < count; index += 1) this.#look(state, block + index, index);
        this.#step(state, block + count);
      } else if (failure.code === 'EIO') this.#stepByBlock(state, block, 0);
      else this.#abandon(state, READING, failure);
    });
  }

  /** Blocks that cannot be read keep the checksum they had; whoever reads them gets no data. */
  #stepByBlock(state: Rebuild, first: number, index: number): void {
    const { slabs, catalog } = this.#core;
    if (index === STEP_BLOCKS || first + index === state.end) {
      this.#step(state, first + index);
      return;
    }
    const slot = catalog.slot[state.row] ?? 0;
    const target = state.buffer.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
    const offset = slotOffset(slot) + (first + index) * BLOCK_BYTES;
    slabs.of(slot).file.read(target, offset, (failure) => {
      if (failure !== null && failure.code !== 'EIO') {
        this.#abandon(state, READING, failure);
        return;
      }
      if (failure === null) this.#look(state, first + index, index);
      this.#stepByBlock(state, first, index + 1);
    });
  }

  #look(state: Rebuild, block: number, index: number): void {
    const bytes = state.buffer.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
    if (presenceAt(state.table, block) === PRESENCE.data) {
      const checksum = this.#lostChecksum(state.row, block, bytes) ?? crc32c(bytes);
      const at = PRESENCE_BYTES + 4 * block;
      state.table[at] = checksum & 0xff;
      state.table[at + 1] = (checksum >>> 8) & 0xff;
      state.table[at + 2] = (checksum >>> 16) & 0xff;
      state.table[at + 3] = checksum >>> 24;
    } else if (!isZero(bytes)) {
      const last = state.residues[state.residues.length - 1];
      if (last !== undefined && last.block + last.count === block) last.count += 1;
      else state.residues.push({ block, count: 1 });
    }
  }

  /** A block that no replica had is no data, whatever its bytes are. */
  #lostChecksum(row: number, block: number, bytes: Uint8Array): number | null {
    if (!looksLost(bytes)) return null;
    const { catalog, parts } = this.#core;
    const place = { uuid: parts.options.uuid, ...catalog.addressOf(row), block };
    return lostChecksumOf(place, bytes);
  }

  /** Punches one residue after the other, then syncs: they must not come back either. */
  #clear(state: Rebuild): void {
    const { slabs, catalog } = this.#core;
    const slot = catalog.slot[state.row] ?? 0;
    const slab = slabs.of(slot);
    if (state.residues.length === 0) {
      this.#finish(state);
      return;
    }
    const next = (): void => {
      const run = state.residues.pop();
      if (run === undefined) {
        slab.sync((failure) => {
          if (failure !== null) this.#abandon(state, 'Syncing a cleared extent', failure);
          else this.#finish(state);
        });
        return;
      }
      const offset = slotOffset(slot) + run.block * BLOCK_BYTES;
      slab.file.punch(offset, run.count * BLOCK_BYTES, (failure) => {
        slab.wrote(0);
        if (failure !== null) this.#abandon(state, 'Clearing an extent', failure);
        else next();
      });
    };
    next();
  }

  #finish(state: Rebuild): void {
    const { catalog, tables, holds } = this.#core;
    tables.markDirty(state.row);
    const isWhole = state.hold.count === BLOCKS_PER_EXTENT;
    catalog.setFlags(state.row, ROW.changed, isWhole ? ROW.stale : 0);
    const waiters = holds.releaseQuietly(state.row, state.hold);
    state.done();
    for (const waiter of waiters) waiter();
  }

  #abandon(state: Rebuild, what: string, failure: DiskFailure): void {
    this.#core.fail(what, failure);
    const waiters = this.#core.holds.releaseQuietly(state.row, state.hold);
    state.done();
    for (const waiter of waiters) waiter();
  }
}

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** Of one whole block. */
export function isZero(block: Uint8Array): boolean {
  return ZERO_BLOCK.equals(block);
}
