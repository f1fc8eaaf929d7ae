/**
 * All extents of a store in columns: one row each, numbers in typed arrays, found through one hash
 * table over (volume, layer, extent) and one linked list per PG. 46 bytes per extent; as objects it
 * would be three times that, and garbage collection would pause for it.
 *
 * It also keeps the sums: slots and extents by volume, by PG and in all. Rows are used again.
 */
import { assert } from '../../shared/base/assert.ts';
import { NO_SLOT } from './journal-records.ts';
import type { ExtentAddress } from './store-types.ts';

export const ROW = {
  used: 1,
  dirty: 2,
  incomplete: 4,
  /** Stored checksums cannot be trusted until they are computed anew. */
  stale: 8,
  /** The index's entry is older than the row. */
  changed: 16,
  /** Somebody holds blocks of it: range-holds.ts. */
  held: 32,
  /** Queued for cleaning. */
  cleaning: 64,
} as const;

const NONE = -1;
const ROWS_MIN = 1024;

export class ExtentCatalog {
  volume = new Uint32Array(ROWS_MIN);
  layer = new Uint32Array(ROWS_MIN);
  extent = new Uint32Array(ROWS_MIN);
  pg = new Uint32Array(ROWS_MIN);
  slot = new Uint32Array(ROWS_MIN);
  epoch = new Uint32Array(ROWS_MIN);
  flags = new Uint8Array(ROWS_MIN);
  dataBlocks = new Uint16Array(ROWS_MIN);
  zeroBlocks = new Uint16Array(ROWS_MIN);
  /** Grows with every change of blocks or stamp: tells whether something came in between. */
  version = new Uint32Array(ROWS_MIN);
  /** Index into the table cache, -1 when not loaded. */
  table = new Int32Array(ROWS_MIN).fill(NONE);
  #pgNext = new Int32Array(ROWS_MIN);
  #pgPrevious = new Int32Array(ROWS_MIN);
  #pgHead = new Map<number, number>();
  #free: number[] = [];
  /** Rows ever used: the columns are filled up to here. */
  #end = 0;
  /** Row + 1; 0 is empty. Length a power of two, at most half full. */
  #hash = new Int32Array(2 * ROWS_MIN);
  #volumeExtents = new Map<number, number>();
  #volumeSlots = new Map<number, number>();
  #pgSlots = new Map<number, number>();
  extentCount = 0;
  usedSlots = 0;
  dirtyCount = 0;
  incompleteCount = 0;

  /** Rows are below this number; not all of them are used. */
  get rowEnd(): number {
    return this.#end;
  }

  find(volume: number, layer: number, extent: number): number {
    const mask = this.#hash.length - 1;
    let at = hashOf(volume, layer, extent) & mask;
    for (;;) {
      const row = (this.#hash[at] ?? 0) - 1;
      if (row < 0) return NONE;
      if (this.extent[row] === extent && this.volume[row] === volume && this.layer[row] === layer) {
        return row;
      }
      at = (at + 1) & mask;
    }
  }

  addressOf(row: number): ExtentAddress {
    return {
      volume: this.volume[row] ?? 0,
      layer: this.layer[row] ?? 0,
      extent: this.extent[row] ?? 0,
    };
  }

  /** A new row: no slot, all absent, no flags. The extent must not exist. */
  add(address: ExtentAddress, pg: number): number {
    assert(this.find(address.volume, address.layer, address.extent) < 0, 'an extent is added once');
    const row = this.#free.pop() ?? this.#end;
    if (row === this.#end) {
      if (row === this.flags.length) this.#growColumns();
      this.#end += 1;
    }
    this.volume[row] = address.volume;
    this.layer[row] = address.layer;
    this.extent[row] = address.extent;
    this.pg[row] = pg;
    this.slot[row] = NO_SLOT;
    this.epoch[row] = 0;
    this.flags[row] = ROW.used;
    this.dataBlocks[row] = 0;
    this.zeroBlocks[row] = 0;
    this.table[row] = NONE;
    this.extentCount += 1;
    if (2 * this.extentCount > this.#hash.length) this.#growHash();
    else this.#insertHash(row);
    this.#linkPg(row, pg);
    addTo(this.#volumeExtents, address.volume, 1);
    addTo(this.#volumeSlots, address.volume, 0);
    addTo(this.#pgSlots, pg, 0);
    return row;
  }

  /** The row must have no slot and no table any more. */
  remove(row: number): void {
    assert(this.slot[row] === NO_SLOT, 'a removed extent has no slot', { row });
    assert(this.table[row] === NONE, 'a removed extent has no table', { row });
    this.setFlags(row, 0, ROW.dirty | ROW.incomplete);
    this.#removeHash(row);
    this.#unlinkPg(row);
    this.#forgetSums(row);
    this.flags[row] = 0;
    this.version[row] = (this.version[row] ?? 0) + 1;
    this.#free.push(row);
    this.extentCount -= 1;
  }

  hasFlag(row: number, flag: number): boolean {
    return ((this.flags[row] ?? 0) & flag) !== 0;
  }

  /** Keeps the counts of dirty and incomplete extents. */
  setFlags(row: number, set: number, clear: number): void {
    const before = this.flags[row] ?? 0;
    const after = (before & ~clear) | set;
    if (before === after) return;
    this.flags[row] = after;
    this.dirtyCount += (after & ROW.dirty ? 1 : 0) - (before & ROW.dirty ? 1 : 0);
    this.incompleteCount += (after & ROW.incomplete ? 1 : 0) - (before & ROW.incomplete ? 1 : 0);
  }

  /** `NO_SLOT` takes it away. Keeps the sums. */
  setSlot(row: number, slot: number): void {
    const before = this.slot[row] ?? NO_SLOT;
    const change = (slot === NO_SLOT ? 0 : 1) - (before === NO_SLOT ? 0 : 1);
    this.slot[row] = slot;
    if (change === 0) return;
    this.usedSlots += change;
    addTo(this.#volumeSlots, this.volume[row] ?? 0, change);
    addTo(this.#pgSlots, this.pg[row] ?? 0, change);
  }

  /** Slots by volume and by PG: an entry for each that has extents, even if none of them has a slot. */
  get volumeSlots(): ReadonlyMap<number, number> {
    return this.#volumeSlots;
  }

  get pgSlots(): ReadonlyMap<number, number> {
    return this.#pgSlots;
  }

  /** The last extent of a volume or PG takes the sum with it. */
  #forgetSums(row: number): void {
    const volume = this.volume[row] ?? 0;
    const pg = this.pg[row] ?? 0;
    addTo(this.#volumeExtents, volume, -1);
    if (this.#volumeExtents.get(volume) === 0) {
      this.#volumeExtents.delete(volume);
      this.#volumeSlots.delete(volume);
    }
    if (!this.#pgHead.has(pg)) this.#pgSlots.delete(pg);
  }

  rowsOfPg(pg: number): number[] {
    const rows: number[] = [];
    let row = this.#pgHead.get(pg) ?? NONE;
    while (row !== NONE) {
      rows.push(row);
      row = this.#pgNext[row] ?? NONE;
    }
    return rows;
  }

  #linkPg(row: number, pg: number): void {
    const head = this.#pgHead.get(pg) ?? NONE;
    this.#pgNext[row] = head;
    this.#pgPrevious[row] = NONE;
    if (head !== NONE) this.#pgPrevious[head] = row;
    this.#pgHead.set(pg, row);
  }

  #unlinkPg(row: number): void {
    const next = this.#pgNext[row] ?? NONE;
    const previous = this.#pgPrevious[row] ?? NONE;
    if (next !== NONE) this.#pgPrevious[next] = previous;
    if (previous !== NONE) this.#pgNext[previous] = next;
    else if (next !== NONE) this.#pgHead.set(this.pg[row] ?? 0, next);
    else this.#pgHead.delete(this.pg[row] ?? 0);
  }

  #insertHash(row: number): void {
    const mask = this.#hash.length - 1;
    let at = this.#home(row) & mask;
    while (this.#hash[at] !== 0) at = (at + 1) & mask;
    this.#hash[at] = row + 1;
  }

  /** Moves later members of the chain back over the gap, so that no tombstones are needed. */
  #removeHash(row: number): void {
    const mask = this.#hash.length - 1;
    let gap = this.#home(row) & mask;
    while (this.#hash[gap] !== row + 1) gap = (gap + 1) & mask;
    let at = gap;
    for (;;) {
      at = (at + 1) & mask;
      const other = (this.#hash[at] ?? 0) - 1;
      if (other < 0) break;
      const home = this.#home(other) & mask;
      // Cyclic distance: may `other` live in the gap without lying before its home?
      if (((at - home) & mask) >= ((at - gap) & mask)) {
        this.#hash[gap] = other + 1;
        gap = at;
      }
    }
    this.#hash[gap] = 0;
  }

  #home(row: number): number {
    return hashOf(this.volume[row] ?? 0, this.layer[row] ?? 0, this.extent[row] ?? 0);
  }

  #growHash(): void {
    this.#hash = new Int32Array(this.#hash.length * 2);
    for (let row = 0; row < this.#end; row += 1) if (this.flags[row] !== 0) this.#insertHash(row);
  }

  #growColumns(): void {
    const length = this.flags.length * 2;
    this.volume = grow(this.volume, new Uint32Array(length));
    this.layer = grow(this.layer, new Uint32Array(length));
    this.extent = grow(this.extent, new Uint32Array(length));
    this.pg = grow(this.pg, new Uint32Array(length));
    this.slot = grow(this.slot, new Uint32Array(length));
    this.epoch = grow(this.epoch, new Uint32Array(length));
    this.flags = grow(this.flags, new Uint8Array(length));
    this.dataBlocks = grow(this.dataBlocks, new Uint16Array(length));
    this.zeroBlocks = grow(this.zeroBlocks, new Uint16Array(length));
    this.version = grow(this.version, new Uint32Array(length));
    this.table = grow(this.table, new Int32Array(length));
    this.#pgNext = grow(this.#pgNext, new Int32Array(length));
    this.#pgPrevious = grow(this.#pgPrevious, new Int32Array(length));
  }
}

function grow<T extends { set(source: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}

function addTo(sums: Map<number, number>, id: number, change: number): void {
  sums.set(id, (sums.get(id) ?? 0) + change);
}

/** Consecutive extents land apart, volumes and layers do not collide systematically. */
function hashOf(volume: number, layer: number, extent: number): number {
  let hash =
    Math.imul(extent, 0x9e3779b1) ^ Math.imul(volume, 0x85ebca6b) ^ Math.imul(layer, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}
