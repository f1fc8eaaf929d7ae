/**
 * Stamps that become weaker: `clean`, and `setStamp` where it takes a flag away. What the flag warned
 * of is made durable first: slab data, then presence and checksums in the index, and only then the
 * stamp, if no write came in between.
 */
import { assert } from '../../shared/base/assert.ts';
import { BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import type { DiskFailure } from '../../shared/ports.ts';
import { STATUS } from '../../shared/wire/data-protocol.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { ChecksumRebuilder } from './checksum-rebuilder.ts';
import { ROW } from './extent-catalog.ts';
import type { StampKeeper } from './stamp-keeper.ts';
import { isNoSpace } from './stamp-keeper.ts';
import type { StoreCore } from './store-core.ts';
import type { Done, ExtentAddress, Stamp } from './store-types.ts';

/** Extents per pass: one slab sync and one index commit of 280 KiB for all of them. */
const BATCH_EXTENTS = 64;

interface Candidate {
  readonly address: ExtentAddress;
  /** Of the row when `clean` was called. */
  readonly version: number;
}

interface Job {
  readonly candidates: readonly Candidate[];
  readonly done: () => void;
}

export class ExtentCleaner {
  readonly #core: StoreCore;
  readonly #checkpoint: Checkpoint;
  readonly #rebuilder: ChecksumRebuilder;
  readonly #stamps: StampKeeper;
  /** Bounded by the number of extents: each is queued once (`ROW.cleaning`). */
  #jobs: Job[] = [];
  #isRunning = false;
  #idleListeners: (() => void)[] = [];

  constructor(
    core: StoreCore,
    modules: {
      readonly checkpoint: Checkpoint;
      readonly rebuilder: ChecksumRebuilder;
      readonly stamps: StampKeeper;
    },
  ) {
    this.#core = core;
    this.#checkpoint = modules.checkpoint;
    this.#rebuilder = modules.rebuilder;
    this.#stamps = modules.stamps;
  }

  clean(extents: readonly ExtentAddress[], done: () => void): void {
    const { catalog } = this.#core;
    const candidates: Candidate[] = [];
    for (const address of extents) {
      const row = catalog.find(address.volume, address.layer, address.extent);
      if (row < 0 || !catalog.hasFlag(row, ROW.dirty)) continue;
      if (catalog.hasFlag(row, ROW.cleaning | ROW.incomplete)) continue;
      catalog.setFlags(row, ROW.cleaning, 0);
      const { volume, layer, extent } = address;
      candidates.push({ address: { volume, layer, extent }, version: catalog.version[row] ?? 0 });
    }
    for (let from = 0; from < candidates.length; from += BATCH_EXTENTS) {
      const isLast = from + BATCH_EXTENTS >= candidates.length;
      const batch = candidates.slice(from, from + BATCH_EXTENTS);
      this.#jobs.push({ candidates: batch, done: isLast ? done : () => undefined });
    }
    if (candidates.length === 0) done();
    else this.#work();
  }

  whenIdle(listener: () => void): void {
    if (!this.#isRunning && this.#jobs.length === 0) listener();
    else this.#idleListeners.push(listener);
  }

  #work(): void {
    if (this.#isRunning) return;
    const job = this.#jobs.shift();
    if (job === undefined) {
      const listeners = this.#idleListeners;
      this.#idleListeners = [];
      for (const listener of listeners) listener();
      return;
    }
    this.#isRunning = true;
    this.#rebuildStale(job.candidates, 0, () => {
      this.#saveAndClear(job.candidates, () => {
        for (const { address } of job.candidates) this.#unmark(address);
        this.#isRunning = false;
        job.done();
        this.#work();
      });
    });
  }

  /** Checksums that cannot be trusted must not be saved as if they could. */
  #rebuildStale(candidates: readonly Candidate[], from: number, done: () => void): void {
    const { catalog } = this.#core;
    for (let index = from; index < candidates.length; index += 1) {
      const row = this.#rowOf(candidates[index]);
      if (row < 0 || !catalog.hasFlag(row, ROW.stale) || this.#core.failure !== null) continue;
      this.#rebuilder.rebuild(row, () => this.#rebuildStale(candidates, index, done));
      return;
    }
    done();
  }

  #saveAndClear(candidates: readonly Candidate[], done: () => void): void {
    if (this.#core.failure !== null) {
      done();
      return;
    }
    this.#core.syncSlabs((failure) => {
      if (failure !== null) {
        this.#core.fail('Syncing slabs', failure);
        done();
        return;
      }
      const rows = candidates.map((candidate) => this.#rowOf(candidate)).filter((row) => row >= 0);
      this.#checkpoint.saveTables(rows, (refusal) => {
        if (refusal === null) for (const candidate of candidates) this.#clear(candidate);
        else this.#refuse(refusal);
        done();
      });
    });
  }

  /** A full index leaves extents dirty, which is always right, and tries again with the next `clean`. */
  #refuse(failure: DiskFailure): void {
    if (!isNoSpace(failure)) {
      this.#core.fail('Saving checksums', failure);
      return;
    }
    this.#core.parts.log('warn', 'Disk is too full to clean extents', {
      disk: this.#core.parts.options.diskId,
      reason: failure.message,
    });
  }

  #clear(candidate: Candidate): void {
    const { catalog, journal, holds } = this.#core;
    const row = this.#rowOf(candidate);
    if (row < 0 || this.#core.failure !== null || !journal.hasRoom(2)) return;
    if (!catalog.hasFlag(row, ROW.dirty) || catalog.hasFlag(row, ROW.stale)) return;
    // Somebody is writing right now: its version moves when it is done.
    if (holds.isTaken(row, { block: 0, count: BLOCKS_PER_EXTENT, mode: 'read' })) return;
    if (catalog.dataBlocks[row] === 0 && !catalog.hasFlag(row, ROW.held)) {
      if (catalog.zeroBlocks[row] === 0) {
        // Trimmed as a whole: an extent that does not exist says the same.
        this.#core.removeExtent(row);
        return;
      }
      this.#core.releaseSlot(row);
    }
    catalog.setFlags(row, 0, ROW.dirty);
    this.#core.recordExtent(row, false);
  }

  /** -1 when the extent has gone or was changed since `clean` was called. */
  #rowOf(candidate: Candidate | undefined): number {
    if (candidate === undefined) return -1;
    const { catalog } = this.#core;
    const { volume, layer, extent } = candidate.address;
    const row = catalog.find(volume, layer, extent);
    return row >= 0 && catalog.version[row] === candidate.version ? row : -1;
  }

  #unmark(address: ExtentAddress): void {
    const { catalog } = this.#core;
    const row = catalog.find(address.volume, address.layer, address.extent);
    if (row >= 0) catalog.setFlags(row, 0, ROW.cleaning);
  }

  // ── Stamps set from outside ──────────────────────────────────────────────────────────────────

  setStamp(address: ExtentAddress, pg: number, stamp: Stamp, done: Done): void {
    if (this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    const { catalog, holds } = this.#core;
    let row = catalog.find(address.volume, address.layer, address.extent);
    const retry = (): void => this.setStamp(address, pg, stamp, done);
    const whole = { block: 0, count: BLOCKS_PER_EXTENT, mode: 'stamp' } as const;
    if (row >= 0 && holds.mustWait(row, whole, retry)) return;
    const room = this.#stamps.checkRoom(row < 0);
    if (room !== STATUS.ok) {
      done(room);
      return;
    }
    if (row < 0) {
      row = this.#stamps.create(address, pg);
      this.#apply(row, stamp, true, done);
      return;
    }
    const isWeaker =
      (catalog.hasFlag(row, ROW.incomplete) && !stamp.incomplete) ||
      (catalog.hasFlag(row, ROW.dirty) && !stamp.dirty);
    if (!isWeaker) {
      this.#apply(row, stamp, false, done);
      return;
    }
    if (catalog.hasFlag(row, ROW.stale)) {
      this.#rebuilder.rebuild(row, retry);
      return;
    }
    this.#weaken(row, stamp, done);
  }

  /** Writers wait until everything that the flags warned of is durable. */
  #weaken(row: number, stamp: Stamp, done: Done): void {
    const { holds } = this.#core;
    const hold = holds.take(row, 0, BLOCKS_PER_EXTENT, 'stamp');
    const finish = (failure: DiskFailure | null): void => {
      if (failure !== null && isNoSpace(failure)) {
        const waiters = holds.releaseQuietly(row, hold);
        done(STATUS.noSpace);
        for (const waiter of waiters) waiter();
        return;
      }
      if (failure !== null) this.#core.fail('Making an extent durable', failure);
      const waiters = holds.releaseQuietly(row, hold);
      if (this.#core.failure === null) this.#apply(row, stamp, false, done);
      else done(STATUS.diskFailed);
      for (const waiter of waiters) waiter();
    };
    this.#core.syncSlabs((failure) => {
      if (failure === null) this.#checkpoint.saveTables([row], finish);
      else finish(failure);
    });
  }

  #apply(row: number, stamp: Stamp, isFresh: boolean, done: Done): void {
    const { catalog, holds, journal } = this.#core;
    assert(
      !holds.isTaken(row, { block: 0, count: BLOCKS_PER_EXTENT, mode: 'stamp' }),
      'nobody writes now',
    );
    const set = (stamp.dirty ? ROW.dirty : 0) | (stamp.incomplete ? ROW.incomplete : 0);
    catalog.setFlags(row, set, ROW.dirty | ROW.incomplete);
    catalog.epoch[row] = stamp.epoch;
    this.#core.touch(row);
    this.#core.recordExtent(row, isFresh);
    const hold = holds.take(row, 0, BLOCKS_PER_EXTENT, 'stamp');
    journal.sync((failure) => {
      const waiters = holds.releaseQuietly(row, hold);
      this.#core.finish('Making a stamp durable', failure, done);
      for (const waiter of waiters) waiter();
    });
  }
}
