/**
 * Group commit of one file: at most one sync is under way, everybody who comes meanwhile joins the
 * next (2 to 4 times the durable operations per second of a sync each). A file to which nothing was
 * written since its last sync answers at once.
 */
import type { DiskFailure } from '../../shared/ports.ts';

export type SyncDone = (failure: DiskFailure | null) => void;

export class GroupSync {
  readonly #start: (done: SyncDone) => void;
  #isMarked = false;
  #running: SyncDone[] | null = null;
  #next: SyncDone[] = [];

  /** `start` begins one sync of the file. */
  constructor(start: (done: SyncDone) => void) {
    this.#start = start;
  }

  get isIdle(): boolean {
    return !this.#isMarked && this.#running === null;
  }

  /** Something was written: the next `request` needs a sync that starts after now. */
  mark(): void {
    this.#isMarked = true;
  }

  /** `done` when everything written before this call is durable. */
  request(done: SyncDone): void {
    if (this.#isMarked) {
      this.#next.push(done);
      if (this.#running === null) this.#begin();
    } else if (this.#running !== null) {
      this.#running.push(done);
    } else {
      done(null);
    }
  }

  #begin(): void {
    const waiters = this.#next;
    this.#next = [];
    this.#running = waiters;
    this.#isMarked = false;
    this.#start((failure) => {
      this.#running = null;
      if (this.#next.length > 0) this.#begin();
      for (const done of waiters) done(failure);
    });
  }
}
