/**
 * How many PGs two disks have in common, while a plan is made: a disk whose PGs have many different
 * partners is rebuilt by many disks at once. Only a preference among equal choices hangs on it.
 */
import type { Topology } from './placement-topology.ts';

/** A table of 2048 × 2048 counts is 16 MiB; larger clusters count by node, and above that not at all. */
const UNITS_MAX = 2048;

export class PartnerCounts {
  readonly #unitOf: Int32Array;
  readonly #units: number;
  readonly #counts: Uint32Array;

  constructor(topology: Topology) {
    const disks = topology.diskIds.length;
    const byDisk = disks <= UNITS_MAX;
    const units = byDisk ? disks : topology.nodeCount;
    this.#unitOf = byDisk ? Int32Array.from({ length: disks }, (_, disk) => disk) : topology.nodeOf;
    this.#units = units <= UNITS_MAX ? units : 0;
    this.#counts = new Uint32Array(this.#units * this.#units);
  }

  get(a: number, b: number): number {
    return this.#counts[this.#index(a, b)] ?? 0;
  }

  /** Adds `change` (1 or -1) for the pair. */
  add(a: number, b: number, change: number): void {
    if (this.#units === 0) return;
    const index = this.#index(a, b);
    this.#counts[index] = (this.#counts[index] ?? 0) + change;
  }

  /** One entry per unordered pair. */
  #index(a: number, b: number): number {
    const unitA = this.#unitOf[a] ?? 0;
    const unitB = this.#unitOf[b] ?? 0;
    return unitA < unitB ? unitA * this.#units + unitB : unitB * this.#units + unitA;
  }
}
