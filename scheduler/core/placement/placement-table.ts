/**
 * Which PG of one family sits on which disk, while a plan is made: the working state of
 * `planPlacement`, and what is allowed in it. It decides nothing (placement-assignment.ts does).
 *
 * Flat arrays: the places of PG p are `p · R` to `p · R + R - 1`, each with a disk or NONE. The places
 * on one disk form a linked list, so that taking a PG off a disk costs nothing.
 */
import { assert } from '../../../shared/base/assert.ts';
import { PartnerCounts } from './placement-partners.ts';
import type { PlacementPg, Topology } from './placement-topology.ts';

/** No disk, or no place. */
export const NONE = -1;

export interface TableOptions {
  readonly pgs: readonly PlacementPg[];
  readonly topology: Topology;
  /** Places per PG: what is asked for, or less where the topology has fewer domains. */
  readonly replicas: number;
  readonly zoneCap: number;
}

export class PlaceTable {
  readonly diskCount: number;
  readonly replicas: number;
  /** PGs per disk now. Read only for others. */
  readonly counts: Int32Array;
  /** PGs that each disk is to hold. */
  readonly goals: Int32Array;
  readonly #topology: Topology;
  readonly #zoneCap: number;
  readonly #partners: PartnerCounts;
  readonly #diskAt: Int32Array;
  readonly #head: Int32Array;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  readonly #isMoved: Uint8Array;
  /** Holders of PG p are `#holders[#holdersStart[p]]` to `#holders[#holdersStart[p + 1]]`. */
  readonly #holders: Int32Array;
  readonly #holdersStart: Int32Array;

  constructor(options: TableOptions) {
    const { pgs, topology, replicas } = options;
    const places = pgs.length * replicas;
    this.diskCount = topology.diskIds.length;
    this.replicas = replicas;
    this.counts = new Int32Array(this.diskCount);
    this.goals = new Int32Array(this.diskCount);
    const holders: number[] = [];
    this.#holdersStart = new Int32Array(pgs.length + 1);
    for (const [pg, { current }] of pgs.entries()) {
      for (const id of current) {
        const disk = topology.indexOf.get(id);
        if (disk !== undefined) holders.push(disk);
      }
      this.#holdersStart[pg + 1] = holders.length;
    }
    this.#holders = Int32Array.from(holders);
    this.#topology = topology;
    this.#zoneCap = options.zoneCap;
    this.#partners = new PartnerCounts(topology);
    this.#diskAt = new Int32Array(places).fill(NONE);
    this.#head = new Int32Array(this.diskCount).fill(NONE);
    this.#next = new Int32Array(places).fill(NONE);
    this.#prev = new Int32Array(places).fill(NONE);
    this.#isMoved = new Uint8Array(places);
  }

  pgOf(place: number): number {
    return Math.floor(place / this.replicas);
  }

  diskAt(place: number): number {
    return this.#diskAt[place] ?? NONE;
  }

  /** The places on a disk: `firstOn`, then `nextOn` until NONE. */
  firstOn(disk: number): number {
    return this.#head[disk] ?? NONE;
  }

  nextOn(place: number): number {
    return this.#next[place] ?? NONE;
  }

  /** Whether the PG has no data where this place is now: to move it on costs nothing more. */
  isMoved(place: number): boolean {
    return this.#isMoved[place] === 1;
  }

  isUsable(disk: number): boolean {
    return this.#topology.isUsable[disk] === 1;
  }

  /** PGs below the goal; negative when above. */
  room(disk: number): number {
    return (this.goals[disk] ?? 0) - (this.counts[disk] ?? 0);
  }

  receives(disk: number): boolean {
    return this.isUsable(disk) && this.room(disk) > 0;
  }

  /** The disks of the PG's `current` list, without those that are leaving. */
  holders(pg: number): Int32Array {
    return this.#holders.subarray(this.#holdersStart[pg], this.#holdersStart[pg + 1]);
  }

  disksWhere(isWanted: (disk: number) => boolean): number[] {
    const disks: number[] = [];
    for (let disk = 0; disk < this.diskCount; disk += 1) if (isWanted(disk)) disks.push(disk);
    return disks;
  }

  /**
   * Whether PG `pg` may be on `disk` when the place `except` (or NONE) is given up. Nodes hold a PG
   * once; zones `zoneCap` times.
   */
  isAllowed(pg: number, disk: number, except: number, zoneCap = this.#zoneCap): boolean {
    const { nodeOf, zoneOf } = this.#topology;
    const end = (pg + 1) * this.replicas;
    let inZone = 0;
    for (let place = pg * this.replicas; place < end; place += 1) {
      const other = this.#diskAt[place] ?? NONE;
      if (other === NONE || place === except) continue;
      if (nodeOf[other] === nodeOf[disk]) return false;
      if (zoneOf[other] === zoneOf[disk]) inZone += 1;
    }
    return inZone < zoneCap;
  }

  put(place: number, disk: number): void {
    assert(this.#diskAt[place] === NONE, 'a PG is put into an empty place', { place });
    this.#countPartners(place, disk, 1);
    const head = this.#head[disk] ?? NONE;
    this.#diskAt[place] = disk;
    this.#prev[place] = NONE;
    this.#next[place] = head;
    if (head !== NONE) this.#prev[head] = place;
    this.#head[disk] = place;
    this.counts[disk] = (this.counts[disk] ?? 0) + 1;
    this.#isMoved[place] = this.holders(this.pgOf(place)).includes(disk) ? 0 : 1;
  }

  take(place: number): void {
    const disk = this.#diskAt[place] ?? NONE;
    assert(disk !== NONE, 'a PG is taken from a disk', { place });
    const next = this.#next[place] ?? NONE;
    const prev = this.#prev[place] ?? NONE;
    if (prev === NONE) this.#head[disk] = next;
    else this.#next[prev] = next;
    if (next !== NONE) this.#prev[next] = prev;
    this.#diskAt[place] = NONE;
    this.counts[disk] = (this.counts[disk] ?? 0) - 1;
    this.#countPartners(place, disk, -1);
  }

  move(place: number, disk: number): void {
    this.take(place);
    this.put(place, disk);
  }

  /** PGs that `disk` has in common with the disks in the other places of this PG. */
  partnerScore(place: number, disk: number): number {
    const first = this.pgOf(place) * this.replicas;
    let score = 0;
    for (let other = first; other < first + this.replicas; other += 1) {
      const partner = this.#diskAt[other] ?? NONE;
      if (other !== place && partner !== NONE) score += this.#partners.get(disk, partner);
    }
    return score;
  }

  #countPartners(place: number, disk: number, change: number): void {
    const first = this.pgOf(place) * this.replicas;
    for (let other = first; other < first + this.replicas; other += 1) {
      const partner = this.#diskAt[other] ?? NONE;
      if (other !== place && partner !== NONE) this.#partners.add(disk, partner, change);
    }
  }
}
