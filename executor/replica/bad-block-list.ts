/**
 * Which blocks on this node's disks are known to be bad, and when each is looked at next. Bounded: a
 * disk that goes bad as a whole is taken out for its number of errors, not healed block by block.
 */
import type { DiskId, PgId, VolumeId } from '../../shared/base/ids.ts';
import { BAD_BLOCKS_MAX, type BadBlocks } from '../../shared/model/node-report.ts';

export interface BadEntry {
  readonly disk: DiskId;
  readonly pg: number;
  readonly volume: number;
  readonly layer: number;
  readonly extent: number;
  readonly block: number;
  /** No replica has a good copy. */
  isLost: boolean;
}

interface Kept {
  readonly entry: BadEntry;
  readonly sinceMs: number;
  dueMs: number;
}

/** Per node: more than a rotten extent. */
const ENTRIES_MAX = 4096;
/** A repair takes milliseconds: what is older is worth telling. */
const REPORTED_AFTER_MS = 3_000;

export class BadBlockList {
  readonly #kept = new Map<string, Kept>();

  /** Nothing changes for a block that is known. False when there is no room. */
  add(place: Omit<BadEntry, 'isLost'>, nowMs: number): boolean {
    const key = keyOf(place);
    if (this.#kept.has(key)) return true;
    if (this.#kept.size >= ENTRIES_MAX) return false;
    this.#kept.set(key, { entry: { ...place, isLost: false }, sinceMs: nowMs, dueMs: nowMs });
    return true;
  }

  /** One that nobody has. Null when it is known as such, or there is no room. */
  addLost(place: Omit<BadEntry, 'isLost'>, nowMs: number): BadEntry | null {
    if (!this.add(place, nowMs)) return null;
    const entry = this.#kept.get(keyOf(place))?.entry;
    if (entry === undefined || entry.isLost) return null;
    entry.isLost = true;
    return entry;
  }

  /** One that should be looked at now; it is due again only after `putBack`. */
  takeDue(nowMs: number): BadEntry | null {
    for (const kept of this.#kept.values()) {
      if (kept.dueMs > nowMs) continue;
      kept.dueMs = Number.POSITIVE_INFINITY;
      return kept.entry;
    }
    return null;
  }

  putBack(entry: BadEntry, dueMs: number): void {
    const kept = this.#kept.get(keyOf(entry));
    if (kept !== undefined) kept.dueMs = dueMs;
  }

  remove(entry: BadEntry): void {
    this.#kept.delete(keyOf(entry));
  }

  forgetDisk(disk: DiskId): void {
    for (const [key, { entry }] of [...this.#kept]) if (entry.disk === disk) this.#kept.delete(key);
  }

  /** Neighbouring blocks of one kind together; at most `BAD_BLOCKS_MAX` ranges. */
  reports(nowMs: number): readonly BadBlocks[] {
    const found = [...this.#kept.values()]
      .filter(({ entry, sinceMs }) => entry.isLost || nowMs - sinceMs >= REPORTED_AFTER_MS)
      .map(({ entry }) => entry)
      .sort(compare);
    const ranges: BadBlocks[] = [];
    for (const entry of found) {
      const last = ranges.at(-1);
      const isNext =
        last !== undefined &&
        last.disk === entry.disk &&
        last.volume === entry.volume &&
        last.extent === entry.extent &&
        last.block + last.blockCount === entry.block &&
        last.isLost === entry.isLost;
      if (isNext) ranges[ranges.length - 1] = { ...last, blockCount: last.blockCount + 1 };
      else if (ranges.length < BAD_BLOCKS_MAX) ranges.push(rangeOf(entry));
    }
    return ranges;
  }
}

function compare(a: BadEntry, b: BadEntry): number {
  return a.disk - b.disk || a.volume - b.volume || a.extent - b.extent || a.block - b.block;
}

function rangeOf({ disk, pg, volume, extent, block, isLost }: BadEntry): BadBlocks {
  const place = { disk, pg: pg as PgId, volume: volume as VolumeId, extent, block };
  return { ...place, blockCount: 1, isLost };
}

function keyOf({ disk, volume, layer, extent, block }: Omit<BadEntry, 'isLost'>): string {
  return `${disk}/${volume}/${layer}/${extent}/${block}`;
}
