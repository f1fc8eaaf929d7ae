/**
 * Who may touch which blocks while something asynchronous is going on with them. An operation on
 * overlapping blocks waits and is tried again when the hold ends, in the order of arrival. Nothing
 * is kept for extents without holds: the hot path looks at one flag of the row.
 */
import { assert, present } from '../../shared/base/assert.ts';
import type { ExtentCatalog } from './extent-catalog.ts';
import { ROW } from './extent-catalog.ts';

/** `read` excludes writers, `write` everybody, `stamp` (the stamp is on its way) all but readers. */
export type HoldMode = 'read' | 'write' | 'stamp';

export interface Hold {
  readonly block: number;
  readonly count: number;
  readonly mode: HoldMode;
}

interface Waiter extends Hold {
  readonly retry: () => void;
}

interface Held {
  readonly holds: Set<Hold>;
  waiters: Waiter[];
}

export class RangeHolds {
  readonly #catalog: ExtentCatalog;
  readonly #rows = new Map<number, Held>();
  #count = 0;
  #idleListeners: (() => void)[] = [];

  constructor(catalog: ExtentCatalog) {
    this.#catalog = catalog;
  }

  /**
   * True when the blocks are taken: then `retry` runs when they may be free (it must look everything
   * up again). Behind waiters that want the same blocks, too: nobody overtakes.
   */
  mustWait(row: number, wanted: Hold, retry: () => void): boolean {
    if (!this.#catalog.hasFlag(row, ROW.held)) return false;
    const held = this.#rows.get(row);
    if (held === undefined) return false;
    if (!conflictsWithAny(held.holds, wanted) && !conflictsWithAny(held.waiters, wanted))
      return false;
    held.waiters.push({ ...wanted, retry });
    return true;
  }

  /** As `mustWait`, without waiting. */
  isTaken(row: number, wanted: Hold): boolean {
    const held = this.#catalog.hasFlag(row, ROW.held) ? this.#rows.get(row) : undefined;
    return held !== undefined && conflictsWithAny(held.holds, wanted);
  }

  /** The caller has made sure that nothing conflicts (`mustWait` said no in this very tick). */
  take(row: number, block: number, count: number, mode: HoldMode): Hold {
    const hold: Hold = { block, count, mode };
    let held = this.#rows.get(row);
    if (held === undefined) {
      held = { holds: new Set(), waiters: [] };
      this.#rows.set(row, held);
      this.#catalog.setFlags(row, ROW.held, 0);
    }
    held.holds.add(hold);
    this.#count += 1;
    return hold;
  }

  /** Ends the hold, and tries again whoever waited for the row, in order. */
  release(row: number, hold: Hold): void {
    const waiters = this.releaseQuietly(row, hold);
    for (const waiter of waiters) waiter();
  }

  /** As `release`, but the caller runs the waiters: after it has removed the row, for one. */
  releaseQuietly(row: number, hold: Hold): readonly (() => void)[] {
    const held = present(this.#rows.get(row), 'held row');
    assert(held.holds.delete(hold), 'a hold is released once', { row });
    this.#count -= 1;
    const { waiters } = held;
    held.waiters = [];
    if (held.holds.size === 0) {
      this.#rows.delete(row);
      this.#catalog.setFlags(row, 0, ROW.held);
    }
    if (this.#count === 0 && this.#idleListeners.length > 0) {
      const listeners = this.#idleListeners;
      this.#idleListeners = [];
      return [...waiters.map((waiter) => waiter.retry), ...listeners];
    }
    return waiters.map((waiter) => waiter.retry);
  }

  /** `listener` once nothing is held (perhaps at once; waiters may take holds again before it runs). */
  whenIdle(listener: () => void): void {
    if (this.#count === 0) listener();
    else this.#idleListeners.push(listener);
  }

  get count(): number {
    return this.#count;
  }
}

function conflictsWithAny(holds: Iterable<Hold>, wanted: Hold): boolean {
  for (const hold of holds) {
    if (hold.block >= wanted.block + wanted.count) continue;
    if (wanted.block >= hold.block + hold.count) continue;
    if (hold.mode === 'read' && wanted.mode !== 'write') {
      // A stamp may change under a reader.
      continue;
    }
    if (wanted.mode === 'read' && hold.mode !== 'write') continue;
    return true;
  }
  return false;
}
