/**
 * Chains of moves: how a PG gets a place, or a disk loses a PG, when no single move does it.
 *
 * A step u → v exists when some PG on u may go to v instead. A chain begins at a surplus disk or with a
 * PG that lacks a place, and ends on a disk with room. It is searched breadth first over disks; because
 * no shorter chain exists, no move of it stands in the way of another one, and all can be made together
 * (docs/decisions/0004-placement.md has the proof). Changes the table, owns nothing.
 */
import { assert } from '../../../shared/base/assert.ts';
import { NONE, type PlaceTable } from './placement-table.ts';

export interface ChainSearch {
  /** A disk above its goal; NONE when the chain begins with a place. */
  readonly from: number;
  /** An empty place; NONE when the chain begins at a disk. */
  readonly start: number;
  /**
   * any: every allowed move. moved: beyond the first move only PGs that this plan has moved already,
   * which is free. held: only moves to disks that have the PG's data, which is free too;
   * such a chain begins at a disk.
   */
  readonly moves: 'any' | 'moved' | 'held';
}

/** Carries out the shortest chain. Returns whether there was one. */
export function moveAlongChain(table: PlaceTable, search: ChainSearch): boolean {
  const chain = new Chain(table.diskCount);
  return search.moves === 'held'
    ? moveToHolders(table, chain, search.from)
    : moveToAny(table, chain, search);
}

function moveToHolders(table: PlaceTable, chain: Chain, from: number): boolean {
  chain.reach(from, NONE, NONE);
  for (const disk of chain.reached) {
    if (table.receives(disk)) return carryOut(table, chain, disk);
    for (let place = table.firstOn(disk); place !== NONE; place = table.nextOn(place)) {
      const pg = table.pgOf(place);
      for (const holder of table.holders(pg)) {
        if (chain.has(holder) || !table.isUsable(holder)) continue;
        if (table.isAllowed(pg, holder, place)) chain.reach(holder, disk, place);
      }
    }
  }
  return false;
}

function moveToAny(table: PlaceTable, chain: Chain, search: ChainSearch): boolean {
  const { from, start } = search;
  const ends = table.disksWhere((disk) => table.receives(disk));
  let open = table.disksWhere((disk) => disk !== from && table.isUsable(disk));
  if (start === NONE) {
    chain.reach(from, NONE, NONE);
  } else {
    open = open.filter((disk) => {
      if (!table.isAllowed(table.pgOf(start), disk, start)) return true;
      chain.reach(disk, NONE, start);
      return false;
    });
  }
  for (const disk of chain.reached) {
    if (table.receives(disk)) return carryOut(table, chain, disk);
    const isFree = search.moves === 'moved' && disk !== from;
    const end = findStep(table, chain, { disk, ends, isFree });
    if (end !== NONE) return carryOut(table, chain, end);
    open = extend(table, chain, { disk, open, isFree });
  }
  return false;
}

/** One step from `disk` to a disk of `ends`. Returns the disk, or NONE. */
function findStep(
  table: PlaceTable,
  chain: Chain,
  step: { readonly disk: number; readonly ends: readonly number[]; readonly isFree: boolean },
): number {
  for (let place = table.firstOn(step.disk); place !== NONE; place = table.nextOn(place)) {
    if (step.isFree && !table.isMoved(place)) continue;
    for (const end of step.ends) {
      if (chain.has(end) || !table.isAllowed(table.pgOf(place), end, place)) continue;
      chain.reach(end, step.disk, place);
      return end;
    }
  }
  return NONE;
}

/** Reaches all it can from `disk`. Returns the disks of `open` that are still not reached. */
function extend(
  table: PlaceTable,
  chain: Chain,
  step: { readonly disk: number; readonly open: number[]; readonly isFree: boolean },
): number[] {
  let rest = step.open;
  let place = table.firstOn(step.disk);
  while (place !== NONE && rest.length > 0) {
    if (!step.isFree || table.isMoved(place)) rest = reachFrom(table, chain, { place, open: rest });
    place = table.nextOn(place);
  }
  return rest;
}

function reachFrom(
  table: PlaceTable,
  chain: Chain,
  step: { readonly place: number; readonly open: number[] },
): number[] {
  const pg = table.pgOf(step.place);
  const disk = table.diskAt(step.place);
  return step.open.filter((other) => {
    if (!table.isAllowed(pg, other, step.place)) return true;
    chain.reach(other, disk, step.place);
    return false;
  });
}

function carryOut(table: PlaceTable, chain: Chain, end: number): true {
  const steps = chain.stepsTo(end);
  for (const { place } of steps) if (table.diskAt(place) !== NONE) table.take(place);
  for (const { place, disk } of steps) {
    assert(table.isAllowed(table.pgOf(place), disk, place), 'a shortest chain is allowed', {
      place,
      disk,
    });
    table.put(place, disk);
  }
  return true;
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
