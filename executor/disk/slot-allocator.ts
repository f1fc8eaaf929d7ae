/**
 * Which slots are free. A freed slot comes back only when (1) the journal record that freed it is
 * power-safe, (2) its bytes were punched, and (3) the punch is power-safe: so a new owner can never
 * see an old owner's bytes, whatever is lost when.
 */
import { EXTENT_BYTES } from '../../shared/base/units.ts';
import type { DiskFailure } from '../../shared/ports.ts';
import { DiskError } from '../../shared/ports.ts';
import type { Journal } from './journal.ts';
import type { Slab, SlabFiles } from './slab-files.ts';
import { SLOTS_PER_SLAB, slotOffset } from './slab-files.ts';

/** Slots per round: bounds the time until the first of them can be used again. */
const BATCH_SLOTS = 256;

export interface SlotModules {
  readonly journal: Journal;
  readonly slabs: SlabFiles;
  readonly fail: (what: string, failure: DiskFailure) => void;
}

export class SlotAllocator {
  readonly #modules: SlotModules;
  /** Used as a stack; low numbers on top, so that slabs fill one after the other. */
  readonly #free: Uint32Array;
  #freeCount = 0;
  #pending: number[] = [];
  #inRound = 0;
  #waiters: (() => void)[] = [];

  /** `stateOf`: what is known of a slot when the store opens. */
  constructor(
    slotCount: number,
    stateOf: (slot: number) => 'used' | 'free' | 'unclean',
    modules: SlotModules,
  ) {
    this.#modules = modules;
    this.#free = new Uint32Array(slotCount);
    for (let slot = slotCount - 1; slot >= 0; slot -= 1) {
      const state = stateOf(slot);
      if (state === 'free') this.#pushFree(slot);
      else if (state === 'unclean') this.#pending.push(slot);
    }
    this.#pending.reverse();
    this.#work();
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  get pendingCount(): number {
    return this.#pending.length + this.#inRound;
  }

  /** -1 when no slot is free now; with `pendingCount` above 0, some will be. */
  allocate(): number {
    if (this.#freeCount === 0) return -1;
    this.#freeCount -= 1;
    return this.#free[this.#freeCount] ?? -1;
  }

  /** Undoes an `allocate` whose slot was never written to. */
  giveBack(slot: number): void {
    this.#pushFree(slot);
  }

  /** The record that frees it has been appended to the journal, and nobody reads it any more. */
  release(slot: number): void {
    this.#pending.push(slot);
    this.#work();
  }

  /** `listener` when pending slots have become free, or the store has failed. */
  whenFreed(listener: () => void): void {
    this.#waiters.push(listener);
  }

  /** Slots behind a bound that was lowered since are not given out again. */
  #pushFree(slot: number): void {
    if (slot >= this.#free.length) return;
    this.#free[this.#freeCount] = slot;
    this.#freeCount += 1;
  }

  #work(): void {
    if (this.#inRound > 0 || this.#pending.length === 0) return;
    const batch = this.#pending.splice(0, BATCH_SLOTS);
    this.#inRound = batch.length;
    this.#modules.journal.sync((failure) => {
      if (failure !== null) this.#abandon('Syncing the journal', failure);
      else this.#punch(batch);
    });
  }

  #punch(batch: readonly number[]): void {
    const touched = new Set<Slab>();
    const runs = toRuns(batch);
    const next = (): void => {
      const run = runs.pop();
      if (run === undefined) {
        this.#syncAll(batch, [...touched]);
        return;
      }
      const slab = this.#slabOf(run.first);
      if (slab === null) return;
      touched.add(slab);
      slab.wrote(0);
      slab.file.punch(slotOffset(run.first), run.count * EXTENT_BYTES, (failure) => {
        slab.wrote(0);
        if (failure !== null) this.#abandon('Freeing slots', failure);
        else next();
      });
    };
    next();
  }

  /** Null when it cannot be opened: the store has failed then. */
  #slabOf(slot: number): Slab | null {
    try {
      return this.#modules.slabs.of(slot);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#abandon('Opening a slab', error);
      return null;
    }
  }

  #syncAll(batch: readonly number[], slabs: readonly Slab[]): void {
    let waiting = slabs.length;
    let failed: DiskFailure | null = null;
    for (const slab of slabs) {
      slab.sync((failure) => {
        failed ??= failure;
        waiting -= 1;
        if (waiting > 0) return;
        if (failed !== null) this.#abandon('Syncing freed slots', failed);
        else this.#finish(batch);
      });
    }
  }

  #finish(batch: readonly number[]): void {
    for (const slot of batch) this.#pushFree(slot);
    this.#inRound = 0;
    this.#wake();
    this.#work();
  }

  #abandon(what: string, failure: DiskFailure): void {
    this.#modules.fail(what, failure);
    this.#wake();
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }
}

/** Neighbours within one slab, so that they are punched with one call. */
function toRuns(slots: readonly number[]): { first: number; count: number }[] {
  const runs: { first: number; count: number }[] = [];
  for (const slot of [...slots].sort((a, b) => a - b)) {
    const last = runs[runs.length - 1];
    if (last !== undefined && slot === last.first + last.count && slot % SLOTS_PER_SLAB !== 0) {
      last.count += 1;
    } else {
      runs.push({ first: slot, count: 1 });
    }
  }
  return runs;
}
