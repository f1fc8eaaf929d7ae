/**
 * Makes an extent ready to be changed: it exists, has a slot when data is to come, and its stamp
 * (dirty, epoch of the write) is durable before the first byte lands (DESIGN 4.5). A hot extent is
 * ready at once; a quiet one waits for a group commit of the journal, and all its writers with it.
 */
import { BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import { DiskError } from '../../shared/ports.ts';
import type { Status } from '../../shared/wire/data-protocol.ts';
import { STATUS } from '../../shared/wire/data-protocol.ts';
import type { ChecksumRebuilder } from './checksum-rebuilder.ts';
import { ROW } from './extent-catalog.ts';
import { NO_SLOT } from './journal-records.ts';
import type { StoreCore } from './store-core.ts';
import type { Done, ExtentAddress } from './store-types.ts';

/** The part of a request that this looks at. */
export interface StampRequest extends ExtentAddress {
  readonly pg: number;
  readonly epoch: number;
  readonly block: number;
  readonly count: number;
  readonly incomplete: boolean;
}

export interface StampNeeds {
  readonly needsSlot: boolean;
  /** Pulled blocks of an incomplete extent: `incomplete` says all that `dirty` would. */
  readonly keepsStamp: boolean;
}

const WHOLE = { block: 0, count: BLOCKS_PER_EXTENT } as const;

export class StampKeeper {
  readonly #core: StoreCore;
  readonly #rebuilder: ChecksumRebuilder;

  constructor(core: StoreCore, rebuilder: ChecksumRebuilder) {
    this.#core = core;
    this.#rebuilder = rebuilder;
  }

  /**
   * The row, ready for a change of these blocks in this tick. -1 when it is not: then `retry` runs
   * later (and must start from the beginning), or `done` was called with the reason.
   */
  prepare(request: StampRequest, needs: StampNeeds, retry: () => void, done: Done): number {
    const { catalog, holds } = this.#core;
    const row = catalog.find(request.volume, request.layer, request.extent);
    if (row >= 0) {
      if (catalog.hasFlag(row, ROW.held)) {
        const { block, count } = request;
        if (holds.mustWait(row, { block, count, mode: 'write' }, retry)) return -1;
      }
      if (catalog.hasFlag(row, ROW.stale)) {
        this.#rebuilder.rebuild(row, retry);
        return -1;
      }
      const isStamped =
        (needs.keepsStamp || catalog.hasFlag(row, ROW.dirty)) &&
        request.epoch <= (catalog.epoch[row] ?? 0);
      if (isStamped && (!needs.needsSlot || catalog.slot[row] !== NO_SLOT)) return row;
      if (holds.mustWait(row, { ...WHOLE, mode: 'stamp' }, retry)) return -1;
    }
    this.#stamp(request, row, needs, retry, done);
    return -1;
  }

  /** A new, all absent extent, without slot and stamp; its record is the caller's to write. */
  create(address: ExtentAddress, pg: number): number {
    const row = this.#core.catalog.add(address, pg);
    this.#core.newTable(row);
    return row;
  }

  /** `noSpace` when the store may not remember another extent. */
  checkRoom(isNew: boolean): Status {
    const { catalog, extentsMax, journal } = this.#core;
    if (isNew && catalog.extentCount >= extentsMax) return STATUS.noSpace;
    return journal.hasRoom(2) ? STATUS.ok : STATUS.noSpace;
  }

  #stamp(
    request: StampRequest,
    found: number,
    needs: StampNeeds,
    retry: () => void,
    done: Done,
  ): void {
    const { catalog, holds, journal, slots } = this.#core;
    const room = this.checkRoom(found < 0);
    if (room !== STATUS.ok) {
      done(room);
      return;
    }
    let slot = found < 0 ? NO_SLOT : (catalog.slot[found] ?? NO_SLOT);
    const isMissing = needs.needsSlot && slot === NO_SLOT;
    if (isMissing) {
      const allocated = this.#allocateSlot();
      if (typeof allocated !== 'number') {
        done(allocated.refusal);
        return;
      }
      slot = allocated;
    }
    const row = found < 0 ? this.create(request, request.pg) : found;
    const isIncomplete = found < 0 && request.incomplete;
    catalog.setFlags(row, isIncomplete ? ROW.incomplete : 0, 0);
    if (!needs.keepsStamp) catalog.setFlags(row, ROW.dirty, 0);
    catalog.epoch[row] = Math.max(catalog.epoch[row] ?? 0, request.epoch);
    catalog.setSlot(row, slot);
    this.#core.touch(row);
    this.#core.recordExtent(row, found < 0);
    const hold = holds.take(row, 0, BLOCKS_PER_EXTENT, 'stamp');
    const resume = (): void => {
      const waiters = holds.releaseQuietly(row, hold);
      // In the order of arrival: the request that asked for the stamp came first.
      retry();
      for (const waiter of waiters) waiter();
    };
    // Without a slot nobody may overtake either: the extent is held until some are free again.
    if (isMissing && slot === NO_SLOT) {
      slots.whenFreed(resume);
      return;
    }
    journal.sync((failure) => {
      if (failure !== null) this.#core.fail('Making a stamp durable', failure);
      resume();
    });
  }

  /** A slot whose slab is open; `NO_SLOT` when one has to be waited for. */
  #allocateSlot(): number | { readonly refusal: Status } {
    const { slots, slabs } = this.#core;
    const slot = slots.allocate();
    if (slot < 0) return slots.pendingCount > 0 ? NO_SLOT : { refusal: STATUS.noSpace };
    try {
      slabs.of(slot);
      return slot;
    } catch (error) {
      slots.giveBack(slot);
      if (isNoSpace(error)) return { refusal: STATUS.noSpace };
      this.#core.failWith('Opening a slab', error);
      return { refusal: STATUS.diskFailed };
    }
  }
}

/** Whether an operation met a full disk or quota: the disk is well, the operation is refused. */
export function isNoSpace(error: unknown): boolean {
  return error instanceof DiskError && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}
