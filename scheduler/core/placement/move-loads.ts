/**
 * What every disk has to do while moves are planned: joins it receives, joins it is read for, bytes
 * that are still to come. Upholds the limits; chooses no moves.
 */
import { assert } from '../../../shared/base/assert.ts';
import type { DiskId } from '../../../shared/base/ids.ts';

export type MoveReason = 'rebuild' | 'drain' | 'balance';

export interface MoveLimits {
  /** Joins that one disk may receive at a time, 1 or more. */
  readonly joinsInMax: number;
  /** Joins that one disk may be the source of at a time, 1 or more. */
  readonly joinsOutMax: number;
  /** Joins in the whole cluster at a time. */
  readonly joinsTotalMax: number;
  /** Kinds of moves that start nothing new; all three to stop everything. Running joins go on. */
  readonly paused: readonly MoveReason[];
}

export class DiskLoads {
  /** From this level on a disk is limited by its own bounds only. */
  readonly levelMax: number;
  readonly #limits: MoveLimits;
  readonly #joinsIn = new Map<DiskId, number>();
  readonly #joinsOut = new Map<DiskId, number>();
  readonly #comingBytes = new Map<DiskId, number>();
  #total = 0;

  constructor(limits: MoveLimits) {
    assert(limits.joinsInMax >= 1, 'joinsInMax is positive', { given: limits.joinsInMax });
    assert(limits.joinsOutMax >= 1, 'joinsOutMax is positive', { given: limits.joinsOutMax });
    this.#limits = limits;
    this.levelMax = Math.max(limits.joinsInMax, limits.joinsOutMax);
  }

  isPaused(kind: MoveReason): boolean {
    return this.#limits.paused.includes(kind);
  }

  isTotalReached(): boolean {
    return this.#total >= this.#limits.joinsTotalMax;
  }

  /** Whether both have fewer than `level` joins of their side, and fewer than their limits. */
  isBelow(level: number, receiver: DiskId, source: DiskId): boolean {
    const joinsIn = this.#joinsIn.get(receiver) ?? 0;
    const joinsOut = this.#joinsOut.get(source) ?? 0;
    return (
      joinsIn < Math.min(level, this.#limits.joinsInMax) &&
      joinsOut < Math.min(level, this.#limits.joinsOutMax)
    );
  }

  /** Whether `bytes` more fit, with all that is already on its way. */
  hasSpace(
    disk: { readonly id: DiskId; readonly usedBytes: number; readonly limitBytes: number },
    bytes: number,
  ): boolean {
    return disk.usedBytes + (this.#comingBytes.get(disk.id) ?? 0) + bytes <= disk.limitBytes;
  }

  /** The disk that is read for the fewest joins, the first among equals; null when there is none. */
  leastLoadedSource(sources: readonly DiskId[]): DiskId | null {
    let best: DiskId | null = null;
    let bestLoad = Number.POSITIVE_INFINITY;
    for (const disk of sources) {
      const load = this.#joinsOut.get(disk) ?? 0;
      if (load >= bestLoad) continue;
      best = disk;
      bestLoad = load;
    }
    return best;
  }

  /** Counts a join. `bytes`: what is still to be copied. */
  start(receiver: DiskId, source: DiskId | null, bytes: number): void {
    this.#total += 1;
    this.#joinsIn.set(receiver, (this.#joinsIn.get(receiver) ?? 0) + 1);
    this.#comingBytes.set(receiver, (this.#comingBytes.get(receiver) ?? 0) + bytes);
    if (source !== null) this.#joinsOut.set(source, (this.#joinsOut.get(source) ?? 0) + 1);
  }
}
