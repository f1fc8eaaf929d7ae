/**
 * The changes that bring every disk of a family to its goal: keep what may stay, fill empty places,
 * take from disks above their goal. Goals come from placement-shares.ts; chains of moves, for what no
 * single move can do, are in placement-chains.ts.
 *
 * All choices are random (from a fixed seed) among what is allowed, and of a few choices the one wins
 * whose disks have the fewest PGs in common: so partners spread over all disks.
 */
import type { DiskId } from '../../../shared/base/ids.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { type ChainSearch, moveAlongChain } from './placement-chains.ts';
import { NONE, PlaceTable, type TableOptions } from './placement-table.ts';
import type { PlacementPg, Topology } from './placement-topology.ts';

/** Draws before a full search: a legal disk is nearly always among so many, unless few are left. */
const DRAWS_MAX = 16;
/** Of so many legal choices the one with the fewest common PGs is taken. */
const CHOICES = 4;
/** PGs of a surplus disk looked at per choice; beyond that the search for chains looks at all. */
const SCAN_MAX = 64;
/** Searches in vain, then no more: only unusable disks can cause them, and each one is long. */
const FAILED_SEARCHES_MAX = 1000;
export class FamilyAssignment {
  /** Replicas that had to be put above the goal of their disk. */
  overfull = 0;
  /** Replicas that had to be put into a zone that holds their PG already. */
  crowded = 0;

  readonly #pgs: readonly PlacementPg[];
  readonly #topology: Topology;
  readonly #table: PlaceTable;
  readonly #prng: Prng;
  #failedSearches = 0;

  constructor(options: TableOptions, prng: Prng) {
    this.#pgs = options.pgs;
    this.#topology = options.topology;
    this.#table = new PlaceTable(options);
    this.#prng = prng;
  }

  /** PGs per disk now. */
  get counts(): Int32Array {
    return this.#table.counts;
  }

  /** Puts every PG on the disks of its `current` list, first ones first, as far as domains allow. */
  keep(): void {
    // In random order, so that later scans of a disk's list meet PGs with all kinds of partners.
    for (const pg of this.#randomPgs()) {
      let [place, end] = this.#placesOf(pg);
      for (const disk of this.#table.holders(pg)) {
        if (place === end) break;
        if (!this.#table.isAllowed(pg, disk, NONE)) continue;
        this.#table.put(place, disk);
        place += 1;
      }
    }
  }

  /**
   * Sets how many PGs each disk is to hold. Returns how many replicas of PGs that are somewhere
   * already must move in any case.
   */
  setGoals(goals: Int32Array): number {
    this.#table.goals.set(goals);
    this.#useSpares();
    let missing = 0;
    for (let disk = 0; disk < goals.length; disk += 1)
      missing += Math.max(0, this.#table.room(disk));
    const fresh = this.#pgs.reduce((sum, pg) => sum + (pg.current.length === 0 ? 1 : 0), 0);
    return Math.max(0, missing - fresh * this.#table.replicas);
  }

  /** Moves PGs until every disk holds its goal. */
  change(): void {
    const bag = this.#bagOfRoom();
    const emptyLeft = this.#fillEmpty(bag);
    const surplusLeft = this.#moveSurplus(bag);
    // Free chains before dear ones.
    const moves = ['moved', 'any'] as const;
    for (const place of emptyLeft) {
      if (!this.#useChain({ from: NONE, start: place, moves })) this.#putAnywhere(place);
    }
    for (const disk of surplusLeft) this.#useChain({ from: disk, start: NONE, moves });
    this.overfull = 0;
    for (let disk = 0; disk < this.#table.diskCount; disk += 1) {
      this.overfull += Math.max(0, -this.#table.room(disk));
    }
  }

  /** The disks of PG number `pg`; kept disks first, in the order in which they came. */
  target(pg: number): DiskId[] {
    const disks: DiskId[] = [];
    const current = this.#pgs[pg]?.current ?? [];
    const [first, end] = this.#placesOf(pg);
    for (let place = first; place < end; place += 1) {
      const id = this.#topology.diskIds[this.#table.diskAt(place)];
      if (id !== undefined) disks.push(id);
    }
    const rank = (id: DiskId): number => {
      const index = current.indexOf(id);
      return index < 0 ? current.length : index;
    };
    return disks.sort((a, b) => rank(a) - rank(b) || a - b);
  }

  #placesOf(pg: number): readonly [first: number, end: number] {
    const { replicas } = this.#table;
    return [pg * replicas, (pg + 1) * replicas];
  }

  #randomPgs(): Int32Array {
    return shuffled(
      Int32Array.from(this.#pgs, (_, index) => index),
      this.#prng,
    );
  }

  /** Data that is in `current` but found no place (a move was under way) costs nothing to go back to. */
  #useSpares(): void {
    const table = this.#table;
    let isAny = false;
    for (const [pg, { current }] of this.#pgs.entries()) {
      if (current.length <= table.replicas) continue;
      isAny = true;
      const [first, end] = this.#placesOf(pg);
      for (let place = first; place < end; place += 1) {
        const from = table.diskAt(place);
        if (from !== NONE && table.room(from) >= 0) continue;
        const spare = table
          .holders(pg)
          .find((disk) => table.receives(disk) && table.isAllowed(pg, disk, place));
        if (spare === undefined) continue;
        if (from === NONE) table.put(place, spare);
        else table.move(place, spare);
      }
    }
    if (!isAny) return;
    for (const from of this.#unitsOfSurplus())
      this.#useChain({ from, start: NONE, moves: ['held'] });
    // What failed here says nothing of the searches to come, which may use more moves.
    this.#failedSearches = 0;
  }

  /** Every disk below its goal, once per missing PG. */
  #bagOfRoom(): DiskBag {
    const units: number[] = [];
    for (const disk of this.#table.disksWhere((each) => this.#table.receives(each))) {
      for (let unit = this.#table.room(disk); unit > 0; unit -= 1) units.push(disk);
    }
    return { disks: Int32Array.from(units), length: units.length };
  }

  /** A random disk with room, in proportion to its room; NONE when there is no more. */
  #draw(bag: DiskBag): number {
    while (bag.length > 0) {
      const index = this.#prng.below(bag.length);
      const disk = bag.disks[index] ?? NONE;
      if (this.#table.room(disk) > 0) return disk;
      // Used up in the meantime: forget it.
      bag.length -= 1;
      bag.disks[index] = bag.disks[bag.length] ?? NONE;
    }
    return NONE;
  }

  /** Gives every empty place a disk with room. Returns the places for which none was allowed. */
  #fillEmpty(bag: DiskBag): number[] {
    const left: number[] = [];
    for (const pg of this.#randomPgs()) {
      const [first, end] = this.#placesOf(pg);
      for (let place = first; place < end; place += 1) {
        if (this.#table.diskAt(place) !== NONE) continue;
        const disk = this.#chooseDisk(place, bag);
        if (disk === NONE) left.push(place);
        else this.#table.put(place, disk);
      }
    }
    return left;
  }

  #chooseDisk(place: number, bag: DiskBag): number {
    const pg = this.#table.pgOf(place);
    let best = NONE;
    let bestScore = Number.POSITIVE_INFINITY;
    let choices = 0;
    for (let draw = 0; draw < DRAWS_MAX && choices < CHOICES; draw += 1) {
      const disk = this.#draw(bag);
      if (disk === NONE) return NONE;
      if (!this.#table.isAllowed(pg, disk, place)) continue;
      choices += 1;
      const score = this.#table.partnerScore(place, disk);
      if (score < bestScore) {
        best = disk;
        bestScore = score;
      }
    }
    return best === NONE ? this.#mostRoom(place, (disk) => this.#table.receives(disk)) : best;
  }

  /** The disk with the most room among those that may take the place, or NONE. */
  #mostRoom(place: number, isWanted: (disk: number) => boolean, zoneCap?: number): number {
    const table = this.#table;
    const pg = table.pgOf(place);
    let best = NONE;
    for (let disk = 0; disk < table.diskCount; disk += 1) {
      if (!isWanted(disk) || !table.isAllowed(pg, disk, place, zoneCap)) continue;
      if (best === NONE || table.room(disk) > table.room(best)) best = disk;
    }
    return best;
  }

  /** Moves PGs from disks above their goal to disks below. Returns the disks for which it failed. */
  #moveSurplus(bag: DiskBag): number[] {
    const left: number[] = [];
    for (const from of this.#unitsOfSurplus()) {
      if (!this.#moveOneFrom(from, bag)) left.push(from);
    }
    return left;
  }

  /** Every disk above its goal, once per PG too many, in random order. */
  #unitsOfSurplus(): Int32Array {
    const units: number[] = [];
    for (let disk = 0; disk < this.#table.diskCount; disk += 1) {
      for (let unit = this.#table.room(disk); unit < 0; unit += 1) units.push(disk);
    }
    return shuffled(Int32Array.from(units), this.#prng);
  }

  #moveOneFrom(from: number, bag: DiskBag): boolean {
    for (let draw = 0; draw < CHOICES; draw += 1) {
      const to = this.#draw(bag);
      if (to === NONE) return false;
      const place = this.#choosePlace(from, to);
      if (place === NONE) continue;
      this.#table.move(place, to);
      return true;
    }
    return false;
  }

  /** The PG on `from` that goes best to `to`: not on the move yet, and with partners new to `to`. */
  #choosePlace(from: number, to: number): number {
    const table = this.#table;
    let best = NONE;
    let bestScore = Number.POSITIVE_INFINITY;
    let choices = 0;
    let place = table.firstOn(from);
    for (let scan = 0; place !== NONE && scan < SCAN_MAX && choices < CHOICES; scan += 1) {
      if (table.isAllowed(table.pgOf(place), to, place)) {
        choices += 1;
        // Above any count of common PGs: a PG that moves one replica keeps the others in place.
        const penalty = this.#hasMoved(table.pgOf(place))
          ? 2 * this.#pgs.length * table.replicas
          : 0;
        const score = penalty + table.partnerScore(place, to) - table.partnerScore(place, from);
        if (score < bestScore) {
          best = place;
          bestScore = score;
        }
      }
      place = table.nextOn(place);
    }
    return best;
  }

  #hasMoved(pg: number): boolean {
    const [first, end] = this.#placesOf(pg);
    for (let place = first; place < end; place += 1) if (this.#table.isMoved(place)) return true;
    return false;
  }

  /** From a surplus disk or for an empty place (the other is NONE), with the first moves that do. */
  #useChain(search: {
    readonly from: number;
    readonly start: number;
    readonly moves: readonly ChainSearch['moves'][];
  }): boolean {
    if (this.#failedSearches >= FAILED_SEARCHES_MAX) return false;
    const { from, start } = search;
    // Without room anywhere there is nothing to search for.
    if (!this.#isRoomLeft()) return false;
    for (const moves of search.moves) {
      if (moveAlongChain(this.#table, { from, start, moves })) return true;
    }
    this.#failedSearches += 1;
    return false;
  }

  #isRoomLeft(): boolean {
    for (let disk = 0; disk < this.#table.diskCount; disk += 1) {
      if (this.#table.receives(disk)) return true;
    }
    return false;
  }

  /**
   * Redundancy before balance, and before zones: when no chain exists, the least overfull disk takes
   * the PG. One that has its data comes first, so that the next plan does the same.
   */
  #putAnywhere(place: number): void {
    const table = this.#table;
    const pg = table.pgOf(place);
    const holders = table.holders(pg);
    const isUsable = (disk: number): boolean => table.isUsable(disk);
    const isHome = (disk: number): boolean => isUsable(disk) && holders.includes(disk);
    for (const zoneCap of [undefined, table.replicas]) {
      const home = this.#mostRoom(place, isHome, zoneCap);
      const disk = home === NONE ? this.#mostRoom(place, isUsable, zoneCap) : home;
      if (disk === NONE) continue;
      table.put(place, disk);
      if (zoneCap !== undefined) this.crowded += 1;
      return;
    }
  }
}

/** Disks to draw from; only the first `length` entries count. */
interface DiskBag {
  readonly disks: Int32Array;
  length: number;
}

/** Shuffles in place. */
function shuffled(values: Int32Array, prng: Prng): Int32Array {
  for (let index = values.length - 1; index > 0; index -= 1) {
    const other = prng.below(index + 1);
    const held = values[index] ?? 0;
    values[index] = values[other] ?? 0;
    values[other] = held;
  }
  return values;
}
