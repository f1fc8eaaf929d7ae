/**
 * Which PG of one family sits on which disk, while a plan is made: the working state of
 * `planPlacement` and the changes that bring every disk to its goal. Goals come from
 * placement-shares.ts; nothing outside one plan lives here.
 *
 * Flat arrays: the places of PG p are `p · R` to `p · R + R - 1`, each with a disk or NONE. The places
 * on one disk form a linked list, so that taking a PG off a disk costs nothing.
 */
import { assert } from '../../shared/base/assert.ts';
import type { DiskId } from '../../shared/base/ids.ts';
import type { Prng } from '../../shared/base/prng.ts';
import { PartnerCounts } from './placement-partners.ts';
import type { PlacementPg, Topology } from './placement-topology.ts';

const NONE = -1;

/** Draws before a full search: a legal disk is nearly always among so many, unless few are left. */
const DRAWS_MAX = 16;
/** Of so many legal choices the one with the fewest common PGs is taken. */
const CHOICES = 4;
/** PGs of a surplus disk looked at per choice; beyond that the search for chains looks at all. */
const SCAN_MAX = 64;
/** Chains that do not exist are searched so often: only unusable disks can cause it, and each search is long. */
const FAILED_SEARCHES_MAX = 1000;

export interface AssignmentOptions {
  readonly pgs: readonly PlacementPg[];
  readonly topology: Topology;
  /** Places per PG: what is asked for, or less where the topology has fewer domains. */
  readonly replicas: number;
  readonly zoneCap: number;
}

export class FamilyAssignment {
  /** PGs per disk now. */
  readonly counts: Int32Array;
  /** Replicas that had to be put above the goal of their disk. */
  overfull = 0;

  readonly #pgs: readonly PlacementPg[];
  readonly #topology: Topology;
  readonly #replicas: number;
  readonly #zoneCap: number;
  readonly #prng: Prng;
  readonly #partners: PartnerCounts;
  readonly #goals: Int32Array;
  readonly #diskAt: Int32Array;
  readonly #head: Int32Array;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  /** 1 when a place of the PG has changed. */
  readonly #isTouched: Uint8Array;
  #failedSearches = 0;

  constructor(options: AssignmentOptions, prng: Prng) {
    const { pgs, topology, replicas } = options;
    const disks = topology.diskIds.length;
    const places = pgs.length * replicas;
    this.#pgs = pgs;
    this.#topology = topology;
    this.#replicas = replicas;
    this.#zoneCap = options.zoneCap;
    this.#prng = prng;
    this.#partners = new PartnerCounts(topology);
    this.counts = new Int32Array(disks);
    this.#goals = new Int32Array(disks);
    this.#diskAt = new Int32Array(places).fill(NONE);
    this.#head = new Int32Array(disks).fill(NONE);
    this.#next = new Int32Array(places).fill(NONE);
    this.#prev = new Int32Array(places).fill(NONE);
    this.#isTouched = new Uint8Array(pgs.length);
  }

  /** Puts every PG on the disks of its `current` list, first ones first, as far as domains allow. */
  keep(): void {
    // In random order, so that later scans of a disk's list meet PGs with all kinds of partners.
    for (const pg of this.#randomPgs()) {
      let place = pg * this.#replicas;
      const end = place + this.#replicas;
      for (const id of this.#pgs[pg]?.current ?? []) {
        if (place === end) break;
        const disk = this.#topology.indexOf.get(id);
        if (disk === undefined || !this.#isAllowed(pg, disk, NONE)) continue;
        this.#put(place, disk);
        place += 1;
      }
    }
    this.#isTouched.fill(0);
  }

  /**
   * Sets how many PGs each disk is to hold. Returns how many replicas of PGs that are somewhere
   * already must move in any case.
   */
  setGoals(goals: Int32Array): number {
    this.#goals.set(goals);
    this.#useSpares();
    let missing = 0;
    for (let disk = 0; disk < goals.length; disk += 1) missing += Math.max(0, this.#room(disk));
    const fresh = this.#pgs.reduce((sum, pg) => sum + (pg.current.length === 0 ? 1 : 0), 0);
    return Math.max(0, missing - fresh * this.#replicas);
  }

  /** Moves PGs until every disk holds its goal. */
  change(): void {
    const units = this.#unitsOfRoom();
    const emptyLeft = this.#fillEmpty(units);
    const surplusLeft = this.#moveSurplus(units);
    for (const place of emptyLeft) {
      if (!this.#findChain(NONE, place)) this.#putAnywhere(place);
    }
    for (const disk of surplusLeft) this.#findChain(disk, NONE);
    this.overfull = 0;
    for (let disk = 0; disk < this.counts.length; disk += 1) {
      this.overfull += Math.max(0, -this.#room(disk));
    }
  }

  /** The disks of PG number `pg`; kept disks first, in the order in which they came. */
  target(pg: number): DiskId[] {
    const disks: DiskId[] = [];
    const current = this.#pgs[pg]?.current ?? [];
    for (let place = pg * this.#replicas; place < (pg + 1) * this.#replicas; place += 1) {
      const id = this.#topology.diskIds[this.#diskAt[place] ?? NONE];
      if (id !== undefined) disks.push(id);
    }
    const rank = (id: DiskId): number => {
      const index = current.indexOf(id);
      return index < 0 ? current.length : index;
    };
    return disks.sort((a, b) => rank(a) - rank(b) || a - b);
  }

  /** PGs below the goal; negative when above. */
  #room(disk: number): number {
    return (this.#goals[disk] ?? 0) - (this.counts[disk] ?? 0);
  }

  /** Whether PG `pg` may be on `disk` when the place `except` is given up. */
  #isAllowed(pg: number, disk: number, except: number): boolean {
    const { nodeOf, zoneOf } = this.#topology;
    const end = (pg + 1) * this.#replicas;
    let inZone = 0;
    for (let place = pg * this.#replicas; place < end; place += 1) {
      const other = this.#diskAt[place] ?? NONE;
      if (other === NONE || place === except) continue;
      if (nodeOf[other] === nodeOf[disk]) return false;
      if (zoneOf[other] === zoneOf[disk]) inZone += 1;
    }
    return inZone < this.#zoneCap;
  }

  #pgOf(place: number): number {
    return Math.floor(place / this.#replicas);
  }

  #put(place: number, disk: number): void {
    assert(this.#diskAt[place] === NONE, 'a PG is put into an empty place', { place });
    const pg = this.#pgOf(place);
    this.#forPartners(place, (other) => this.#partners.add(disk, other, 1));
    const head = this.#head[disk] ?? NONE;
    this.#diskAt[place] = disk;
    this.#prev[place] = NONE;
    this.#next[place] = head;
    if (head !== NONE) this.#prev[head] = place;
    this.#head[disk] = place;
    this.counts[disk] = (this.counts[disk] ?? 0) + 1;
    this.#isTouched[pg] = 1;
  }

  #take(place: number): void {
    const disk = this.#diskAt[place] ?? NONE;
    assert(disk !== NONE, 'a PG is taken from a disk', { place });
    const next = this.#next[place] ?? NONE;
    const prev = this.#prev[place] ?? NONE;
    if (prev === NONE) this.#head[disk] = next;
    else this.#next[prev] = next;
    if (next !== NONE) this.#prev[next] = prev;
    this.#diskAt[place] = NONE;
    this.counts[disk] = (this.counts[disk] ?? 0) - 1;
    this.#forPartners(place, (other) => this.#partners.add(disk, other, -1));
  }

  #move(place: number, disk: number): void {
    this.#take(place);
    this.#put(place, disk);
  }

  /** Calls `visit` with the disks of the other places of the same PG. */
  #forPartners(place: number, visit: (disk: number) => void): void {
    const first = this.#pgOf(place) * this.#replicas;
    for (let other = first; other < first + this.#replicas; other += 1) {
      const disk = this.#diskAt[other] ?? NONE;
      if (other !== place && disk !== NONE) visit(disk);
    }
  }

  #randomPgs(): Int32Array {
    return shuffled(
      Int32Array.from(this.#pgs, (_, index) => index),
      this.#prng,
    );
  }

  /** Data that is in `current` but found no place (a move was under way) costs nothing to go back to. */
  #useSpares(): void {
    for (let pg = 0; pg < this.#pgs.length; pg += 1) {
      const current = this.#pgs[pg]?.current ?? [];
      if (current.length <= this.#replicas) continue;
      for (let place = pg * this.#replicas; place < (pg + 1) * this.#replicas; place += 1) {
        const from = this.#diskAt[place] ?? NONE;
        if (from !== NONE && this.#room(from) >= 0) continue;
        const spare = current
          .map((id) => this.#topology.indexOf.get(id) ?? NONE)
          .find(
            (disk) => disk !== NONE && this.#receives(disk) && this.#isAllowed(pg, disk, place),
          );
        if (spare === undefined) continue;
        if (from === NONE) this.#put(place, spare);
        else this.#move(place, spare);
      }
    }
  }

  #receives(disk: number): boolean {
    return this.#topology.isUsable[disk] === 1 && this.#room(disk) > 0;
  }

  /** Every disk below its goal, once per missing PG. */
  #unitsOfRoom(): DiskBag {
    const units: number[] = [];
    for (let disk = 0; disk < this.counts.length; disk += 1) {
      if (!this.#receives(disk)) continue;
      for (let unit = this.#room(disk); unit > 0; unit -= 1) units.push(disk);
    }
    return { disks: Int32Array.from(units), length: units.length };
  }

  /** A random disk with room, in proportion to its room; NONE when there is no more. */
  #draw(bag: DiskBag): number {
    while (bag.length > 0) {
      const index = this.#prng.below(bag.length);
      const disk = bag.disks[index] ?? NONE;
      if (this.#room(disk) > 0) return disk;
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
      for (let place = pg * this.#replicas; place < (pg + 1) * this.#replicas; place += 1) {
        if (this.#diskAt[place] !== NONE) continue;
        const disk = this.#chooseDisk(place, bag);
        if (disk === NONE) left.push(place);
        else this.#put(place, disk);
      }
    }
    return left;
  }

  #chooseDisk(place: number, bag: DiskBag): number {
    const pg = this.#pgOf(place);
    let best = NONE;
    let bestScore = Number.POSITIVE_INFINITY;
    let choices = 0;
    for (let draw = 0; draw < DRAWS_MAX && choices < CHOICES; draw += 1) {
      const disk = this.#draw(bag);
      if (disk === NONE) return NONE;
      if (!this.#isAllowed(pg, disk, place)) continue;
      choices += 1;
      const score = this.#partnerScore(place, disk);
      if (score < bestScore) {
        best = disk;
        bestScore = score;
      }
    }
    return best === NONE ? this.#fullestRoom(place) : best;
  }

  /** PGs that `disk` shares with the partners of this place already. */
  #partnerScore(place: number, disk: number): number {
    let score = 0;
    this.#forPartners(place, (other) => {
      score += this.#partners.get(disk, other);
    });
    return score;
  }

  #fullestRoom(place: number): number {
    const pg = this.#pgOf(place);
    let best = NONE;
    for (let disk = 0; disk < this.counts.length; disk += 1) {
      if (!this.#receives(disk) || !this.#isAllowed(pg, disk, place)) continue;
      if (best === NONE || this.#room(disk) > this.#room(best)) best = disk;
    }
    return best;
  }

  /** Moves PGs from disks above their goal to disks below. Returns the disks for which it failed. */
  #moveSurplus(bag: DiskBag): number[] {
    const units: number[] = [];
    for (let disk = 0; disk < this.counts.length; disk += 1) {
      for (let unit = this.#room(disk); unit < 0; unit += 1) units.push(disk);
    }
    const left: number[] = [];
    for (const from of shuffled(Int32Array.from(units), this.#prng)) {
      if (!this.#moveOneFrom(from, bag)) left.push(from);
    }
    return left;
  }

  #moveOneFrom(from: number, bag: DiskBag): boolean {
    for (let draw = 0; draw < CHOICES; draw += 1) {
      const to = this.#draw(bag);
      if (to === NONE) return false;
      const place = this.#choosePlace(from, to);
      if (place === NONE) continue;
      this.#move(place, to);
      return true;
    }
    return false;
  }

  /** The PG on `from` that goes best to `to`: not on the move yet, and with partners new to `to`. */
  #choosePlace(from: number, to: number): number {
    let best = NONE;
    let bestScore = Number.POSITIVE_INFINITY;
    let choices = 0;
    let place = this.#head[from] ?? NONE;
    for (let scan = 0; place !== NONE && scan < SCAN_MAX && choices < CHOICES; scan += 1) {
      const pg = this.#pgOf(place);
      if (this.#isAllowed(pg, to, place)) {
        choices += 1;
        const touched = this.#isTouched[pg] === 1 ? this.#pgs.length * this.#replicas : 0;
        const score = touched + this.#partnerScore(place, to) - this.#partnerScore(place, from);
        if (score < bestScore) {
          best = place;
          bestScore = score;
        }
      }
      place = this.#next[place] ?? NONE;
    }
    return best;
  }

  /**
   * The shortest chain of moves that ends on a disk with room, and carries it out. It begins at the
   * surplus disk `from`, or with the PG of the empty place `start`; the other one is NONE. Breadth
   * first over disks: u → v when some PG on u may go to v. Because no shorter chain exists, no move
   * of the chain is in the way of another one (docs/decisions/0004-placement.md).
   */
  #findChain(from: number, start: number): boolean {
    const goals = this.#disksWhere((disk) => this.#receives(disk));
    if (goals.length === 0 || this.#failedSearches >= FAILED_SEARCHES_MAX) return false;
    const chain = new Chain(this.counts.length);
    let open = this.#disksWhere((disk) => disk !== from && this.#topology.isUsable[disk] === 1);
    if (start === NONE) {
      chain.reach(from, NONE, NONE);
    } else {
      open = open.filter((disk) => {
        if (!this.#isAllowed(this.#pgOf(start), disk, start)) return true;
        chain.reach(disk, NONE, start);
        return false;
      });
    }
    for (const disk of chain.reached) {
      if (this.#room(disk) > 0) return this.#carryOut(chain, disk);
      const end = this.#findStep(disk, goals, chain);
      if (end !== NONE) return this.#carryOut(chain, end);
      open = this.#extend(disk, open, chain);
    }
    this.#failedSearches += 1;
    return false;
  }

  #disksWhere(isWanted: (disk: number) => boolean): number[] {
    const disks: number[] = [];
    for (let disk = 0; disk < this.counts.length; disk += 1) if (isWanted(disk)) disks.push(disk);
    return disks;
  }

  /** One step from `disk` to a disk of `goals`. Returns the disk, or NONE. */
  #findStep(disk: number, goals: readonly number[], chain: Chain): number {
    for (let place = this.#head[disk] ?? NONE; place !== NONE; place = this.#next[place] ?? NONE) {
      for (const goal of goals) {
        if (chain.has(goal) || !this.#isAllowed(this.#pgOf(place), goal, place)) continue;
        chain.reach(goal, disk, place);
        return goal;
      }
    }
    return NONE;
  }

  /** Reaches all it can from `disk`. Returns the disks of `open` that are still not reached. */
  #extend(disk: number, open: number[], chain: Chain): number[] {
    let rest = open;
    let place = this.#head[disk] ?? NONE;
    while (place !== NONE && rest.length > 0) {
      const pg = this.#pgOf(place);
      const before = rest;
      rest = before.filter((other) => {
        if (!this.#isAllowed(pg, other, place)) return true;
        chain.reach(other, disk, place);
        return false;
      });
      place = this.#next[place] ?? NONE;
    }
    return rest;
  }

  #carryOut(chain: Chain, end: number): true {
    const steps = chain.stepsTo(end);
    for (const { place } of steps) if (this.#diskAt[place] !== NONE) this.#take(place);
    for (const { place, disk } of steps) {
      assert(this.#isAllowed(this.#pgOf(place), disk, place), 'a shortest chain is allowed', {
        pg: this.#pgs[this.#pgOf(place)]?.id,
      });
      this.#put(place, disk);
    }
    return true;
  }

  /** Redundancy before balance: when no chain exists, the least overfull disk takes the PG. */
  #putAnywhere(place: number): void {
    const pg = this.#pgOf(place);
    const allowed = this.#disksWhere(
      (disk) => this.#topology.isUsable[disk] === 1 && this.#isAllowed(pg, disk, place),
    );
    const [first, ...others] = allowed;
    if (first === undefined) return;
    const best = others.reduce((a, b) => (this.#room(b) > this.#room(a) ? b : a), first);
    this.#put(place, best);
  }
}

/** Disks to draw from; only the first `length` entries count. */
interface DiskBag {
  readonly disks: Int32Array;
  length: number;
}

/** The tree of a search for a chain: how each reached disk was reached. */
class Chain {
  /** In the order of reaching; grows while it is walked. */
  readonly reached: number[] = [];
  readonly #isReached: Uint8Array;
  readonly #fromDisk: Int32Array;
  readonly #byPlace: Int32Array;

  constructor(disks: number) {
    this.#isReached = new Uint8Array(disks);
    this.#fromDisk = new Int32Array(disks).fill(NONE);
    this.#byPlace = new Int32Array(disks).fill(NONE);
  }

  has(disk: number): boolean {
    return this.#isReached[disk] === 1;
  }

  reach(disk: number, from: number, place: number): void {
    this.reached.push(disk);
    this.#isReached[disk] = 1;
    this.#fromDisk[disk] = from;
    this.#byPlace[disk] = place;
  }

  /** The moves that end on `end`: each place goes to the disk beside it. */
  stepsTo(end: number): { readonly place: number; readonly disk: number }[] {
    const steps: { place: number; disk: number }[] = [];
    for (let disk = end; disk !== NONE; disk = this.#fromDisk[disk] ?? NONE) {
      const place = this.#byPlace[disk] ?? NONE;
      if (place !== NONE) steps.push({ place, disk });
    }
    return steps;
  }
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
