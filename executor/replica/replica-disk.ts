/**
 * One local disk as the replica server and resync see it: its store, the adoption of epochs (which
 * must be durable before anything is answered under them), and the joins that run onto it.
 */
import type { DiskId } from '../../shared/base/ids.ts';
import { STATUS, type Status } from '../../shared/wire/data-protocol.ts';
import type { ExtentStore } from '../disk/extent-store.ts';

/** Told of every block that a gateway writes onto a joining replica. */
export interface FreshMarks {
  mark(volume: number, layer: number, extent: number, block: number, count: number): void;
  /** An extent that this write creates lacks blocks which the source may have. */
  startsIncomplete(volume: number, layer: number, extent: number): boolean;
  /**
   * Another gateway took the volume over: what the former one wrote last may be here alone, so its
   * marks count no longer, and the volume is compared again.
   */
  reopen(volume: number): void;
}

export class ReplicaDisk {
  readonly id: DiskId;
  readonly store: ExtentStore;
  /**
   * The manager knows another memory of the store than the one it has: nothing is served until it has
   * decided what that means (docs/decisions/0007).
   */
  isInDoubt = false;
  /** By PG: the copying onto this disk, as long as the map has it joining there. */
  readonly joins = new Map<number, FreshMarks>();
  readonly #adopting = new Map<number, ((status: Status) => void)[]>();

  constructor(id: DiskId, store: ExtentStore) {
    this.id = id;
    this.store = store;
  }

  /** After a new map: `known` is the incarnation there, 0 or absent when there is none yet. */
  compareMemory(known: number | undefined): void {
    this.isInDoubt = known !== undefined && known !== 0 && known !== this.store.incarnation;
  }

  /** True while an epoch of `pg` is on its way to the disk: answers must wait for `adopt`. */
  isAdopting(pg: number): boolean {
    return this.#adopting.size > 0 && this.#adopting.has(pg);
  }

  /** `done` when no epoch of `pg` up to `epoch` is merely on its way to the disk. */
  adopt(pg: number, epoch: number, done: (status: Status) => void): void {
    const waiting = this.#adopting.get(pg);
    if (waiting !== undefined) {
      // Whoever needs a still higher one comes back here after this one is durable.
      waiting.push(done);
      return;
    }
    if (this.store.epochOf(pg) >= epoch) {
      done(STATUS.ok);
      return;
    }
    const waiters = [done];
    this.#adopting.set(pg, waiters);
    this.store.adoptEpoch(pg, epoch, (status) => {
      this.#adopting.delete(pg);
      for (const waiter of waiters) waiter(status);
    });
  }
}
