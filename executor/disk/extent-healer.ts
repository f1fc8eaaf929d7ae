/**
 * Changes that scrub makes to an extent of an in-sync replica. Rotten blocks are rewritten with bytes
 * that fit the checksum stored here, which is right whatever else goes on. An extent that differs from
 * the other replicas is opened for `applyPulled` only if nothing has changed in it since it was
 * compared, and is marked incomplete until it is whole.
 */
import { assert } from '../../shared/base/assert.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import { PRESENCE, STATUS } from '../../shared/wire/data-protocol.ts';
import type { ChecksumRebuilder } from './checksum-rebuilder.ts';
import { ROW } from './extent-catalog.ts';
import type { ExtentCleaner } from './extent-cleaner.ts';
import { NO_SLOT } from './journal-records.ts';
import { PRESENCE_BYTES, presenceAt } from './presence.ts';
import { slotOffset } from './slab-files.ts';
import type { StoreCore } from './store-core.ts';
import type { Done, ExtentAddress, HealedBlocks } from './store-types.ts';

const WHOLE = { block: 0, count: BLOCKS_PER_EXTENT, mode: 'stamp' } as const;

export class ExtentHealer {
  readonly #core: StoreCore;
  readonly #rebuilder: ChecksumRebuilder;
  readonly #cleaner: ExtentCleaner;

  constructor(
    core: StoreCore,
    modules: { readonly rebuilder: ChecksumRebuilder; readonly cleaner: ExtentCleaner },
  ) {
    this.#core = core;
    this.#rebuilder = modules.rebuilder;
    this.#cleaner = modules.cleaner;
  }

  versionOf(address: ExtentAddress): number {
    const row = this.#find(address);
    return row < 0 ? -1 : (this.#core.catalog.version[row] ?? 0);
  }

  /** Only blocks that hold data with these very checksums; power-safe at `done`. */
  rewrite(blocks: HealedBlocks, done: Done): void {
    const { block, count } = blocks;
    assert(count > 0 && block + count <= BLOCKS_PER_EXTENT, 'blocks lie inside one extent');
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    const { catalog, holds } = this.#core;
    const row = this.#find(blocks);
    if (row < 0) {
      done(STATUS.badRequest);
      return;
    }
    const retry = (): void => this.rewrite(blocks, done);
    if (holds.mustWait(row, { block, count, mode: 'write' }, retry)) return;
    if (catalog.hasFlag(row, ROW.stale)) {
      this.#rebuilder.rebuild(row, retry);
      return;
    }
    const table = this.#core.tableOf(row);
    if (table === null) done(STATUS.diskFailed);
    else if (!isWanted(table, blocks)) done(STATUS.badRequest);
    else this.#write(row, blocks, done);
  }

  #write(row: number, blocks: HealedBlocks, done: Done): void {
    const { catalog, holds, slabs } = this.#core;
    const slot = catalog.slot[row] ?? NO_SLOT;
    assert(slot !== NO_SLOT, 'an extent with data has a slot', { row });
    const slab = slabs.of(slot);
    const hold = holds.take(row, blocks.block, blocks.count, 'write');
    slab.wrote(0);
    slab.file.write(blocks.data, slotOffset(slot) + blocks.block * BLOCK_BYTES, (failure) => {
      slab.wrote(0);
      const waiters = holds.releaseQuietly(row, hold);
      if (failure === null) {
        this.#core.badBlocks.forget(blocks, blocks.block, blocks.count);
        slab.sync((unsynced) => this.#core.finish('Syncing a rewritten block', unsynced, done));
      } else this.#core.finish('Rewriting a block', failure, done);
      for (const waiter of waiters) waiter();
    });
  }

  /**
   * Marks the extent incomplete, durably, if it is as it was at `version` (-1: not there) and quiet;
   * otherwise `STATUS.badRequest`, and nothing has changed. Whatever `done` asks of these blocks
   * before it returns comes before every write that has been waiting.
   */
  begin(address: ExtentAddress, pg: number, version: number, done: Done): void {
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    const { catalog, holds } = this.#core;
    const row = this.#find(address);
    const retry = (): void => this.begin(address, pg, version, done);
    if (row >= 0 && holds.mustWait(row, WHOLE, retry)) return;
    const isAsBefore = this.versionOf(address) === version;
    if (!isAsBefore || (row >= 0 && catalog.hasFlag(row, ROW.stale | ROW.dirty))) {
      done(STATUS.badRequest);
      return;
    }
    const epoch = row < 0 ? 0 : (catalog.epoch[row] ?? 0);
    this.#cleaner.setStamp(address, pg, { epoch, dirty: false, incomplete: true }, done);
  }

  /** The extent is whole again; writes that came meanwhile keep it dirty. */
  end(address: ExtentAddress, epoch: number, done: Done): void {
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    const { catalog, holds } = this.#core;
    const row = this.#find(address);
    if (row < 0) {
      done(STATUS.ok);
      return;
    }
    const retry = (): void => this.end(address, epoch, done);
    if (holds.mustWait(row, WHOLE, retry)) return;
    if (catalog.hasFlag(row, ROW.stale)) {
      this.#rebuilder.rebuild(row, retry);
      return;
    }
    const stamp = {
      epoch: Math.max(epoch, catalog.epoch[row] ?? 0),
      dirty: catalog.hasFlag(row, ROW.dirty),
      incomplete: false,
    };
    this.#cleaner.setStamp(address, catalog.pg[row] ?? 0, stamp, done);
  }

  #find({ volume, layer, extent }: ExtentAddress): number {
    return this.#core.catalog.find(volume, layer, extent);
  }
}

function isWanted(table: Uint8Array, blocks: HealedBlocks): boolean {
  for (let index = 0; index < blocks.count; index += 1) {
    const block = blocks.block + index;
    if (presenceAt(table, block) !== PRESENCE.data) return false;
    for (let byte = 0; byte < 4; byte += 1) {
      const stored = table[PRESENCE_BYTES + 4 * block + byte];
      if (stored !== blocks.checksums[4 * index + byte]) return false;
    }
  }
  return true;
}
