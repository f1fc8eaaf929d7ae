/**
 * How many PGs of a family each disk should hold. First exactly (fractions), then in whole numbers.
 * Knows nothing of single PGs.
 *
 * Exact: shares grow with a common level, like water in vessels as wide as the disks' weights. A vessel
 * that is full stops: a node at one replica of each PG, a zone at `zoneCap` of each; a disk that may not
 * receive has what it holds. The others take the rest, still by weight.
 *
 *      level ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄          weights 10, 1, 1, 1 · 256 PGs · R = 2
 *      ▄▄▄▄▄▄▄▄▄▄▄▄  ▄  ▄  ▄             by weight alone: 393.8, 39.4, 39.4, 39.4
 *      huge: 256     85.3 each           but one node holds a PG once, so 256, and 85.3 for the rest
 *
 * Whole: each zone, node and disk gets the floor or the ceiling of its exact share, and the sums agree
 * at every level. Where there is a choice, the extra PG goes to who holds it already (nothing moves).
 */
import { assert } from '../../../shared/base/assert.ts';
import type { Topology } from './placement-topology.ts';

/** Shares this close to a whole number are that number: rounding errors of the sums, no real parts. */
const WHOLE_TOLERANCE = 1e-6;

/** Each step passes a full vessel or ends; in practice two to five. The bound only ends a broken loop. */
const LEVEL_STEPS_MAX = 10_000;

export interface ShareBounds {
  readonly pgCount: number;
  /** Replicas that each PG is to have. */
  readonly replicas: number;
  readonly zoneCap: number;
}

/** Exact shares per disk. They add up to `pgCount · replicas`, or to what the caps allow if less. */
export function exactShares(
  topology: Topology,
  caps: Float64Array,
  bounds: ShareBounds,
): Float64Array {
  const { pgCount } = bounds;
  const zoneBound = bounds.zoneCap * pgCount;
  const shares = new Float64Array(topology.diskIds.length);
  const disk = (index: number, level: number): Amount => {
    const cap = caps[index] ?? 0;
    // What may not receive does not give either: it is away, and would only have to get it back.
    if (topology.isUsable[index] === 0) return [cap, 0];
    const wanted = level * (topology.weights[index] ?? 0);
    return wanted >= cap ? [cap, 0] : [wanted, topology.weights[index] ?? 0];
  };
  const disksOf = (node: number, level: number): Amount =>
    sumAmounts(topology.nodeStart, node, (index) => disk(index, level));
  const node = (index: number, level: number): Amount => bounded(disksOf(index, level), pgCount);
  const nodesOf = (zone: number, level: number): Amount =>
    sumAmounts(topology.zoneStart, zone, (index) => node(index, level));
  const all = Int32Array.of(0, topology.zoneCount);
  const zones = (level: number): Amount =>
    sumAmounts(all, 0, (index) => bounded(nodesOf(index, level), zoneBound));

  const top = findLevel(zones, pgCount * bounds.replicas);
  for (let zoneIndex = 0; zoneIndex < topology.zoneCount; zoneIndex += 1) {
    // Inside a full zone (node) the water stands lower: what it holds is again divided by weight.
    const zoneLevel = levelBelow(top, zoneBound, (level) => nodesOf(zoneIndex, level));
    forRange(topology.zoneStart, zoneIndex, (nodeIndex) => {
      const nodeLevel = levelBelow(zoneLevel, pgCount, (level) => disksOf(nodeIndex, level));
      forRange(topology.nodeStart, nodeIndex, (index) => {
        shares[index] = wholeIfNear(disk(index, nodeLevel)[0]);
      });
    });
  }
  return shares;
}

/** What a vessel holds at a level, and how much more per unit of level. */
type Amount = readonly [sum: number, slope: number];

function bounded(amount: Amount, cap: number): Amount {
  return amount[0] >= cap ? [cap, 0] : amount;
}

function sumAmounts(starts: Int32Array, parent: number, of: (child: number) => Amount): Amount {
  let sum = 0;
  let slope = 0;
  forRange(starts, parent, (child) => {
    const amount = of(child);
    sum += amount[0];
    slope += amount[1];
  });
  return [sum, slope];
}

function forRange(starts: Int32Array, parent: number, visit: (child: number) => void): void {
  const end = starts[parent + 1] ?? 0;
  for (let child = starts[parent] ?? 0; child < end; child += 1) visit(child);
}

function levelBelow(outer: number, cap: number, amountAt: (level: number) => Amount): number {
  return amountAt(outer)[0] > cap ? findLevel(amountAt, cap) : outer;
}

/** Newton's method: exact after as many steps as slopes, because `amountAt` is concave and straight in parts. */
function findLevel(amountAt: (level: number) => Amount, total: number): number {
  let level = 0;
  for (let step = 0; step < LEVEL_STEPS_MAX; step += 1) {
    const [sum, slope] = amountAt(level);
    const missing = total - sum;
    if (slope === 0 || missing <= total * Number.EPSILON) return level;
    const next = level + missing / slope;
    if (next === level) return level;
    level = next;
  }
  assert(false, 'the level is found', { total, level });
}

function wholeIfNear(value: number): number {
  const whole = Math.round(value);
  return Math.abs(value - whole) <= WHOLE_TOLERANCE * Math.max(1, whole) ? whole : value;
}

export interface Rounding {
  readonly shares: Float64Array;
  readonly caps: Float64Array;
  /** PGs that each disk keeps if it may. */
  readonly held: Int32Array;
  /** What each disk got too little (positive) in the families before this one. */
  readonly carry: Float64Array;
}

/** One level of the tree: what each vertex should get, and what an extra PG is worth there. */
interface Level {
  readonly exact: Float64Array;
  readonly floor: Int32Array;
  /** 1 when the extra PG is held there already. */
  readonly gain: Uint8Array;
  readonly carry: Float64Array;
  /** Most that fits. */
  readonly cap: Float64Array;
}

/** Whole shares per disk, see the head of the file. */
export function roundShares(topology: Topology, rounding: Rounding): Int32Array {
  const disks: Level = {
    exact: rounding.shares,
    floor: Int32Array.from(rounding.shares, Math.floor),
    gain: Uint8Array.from(rounding.shares, (share, disk) =>
      !Number.isInteger(share) && (rounding.held[disk] ?? 0) > Math.floor(share) ? 1 : 0,
    ),
    carry: rounding.carry,
    cap: rounding.caps,
  };
  const nodes = parentLevel(disks, topology.nodeStart);
  const zones = parentLevel(nodes, topology.zoneStart);
  const rootStart = Int32Array.of(0, topology.zoneCount);
  const root = parentLevel(zones, rootStart);
  const total = Int32Array.of(root.floor[0] ?? 0);

  const zoneTotals = splitLevel(total, rootStart, zones);
  const nodeTotals = splitLevel(zoneTotals, topology.zoneStart, nodes);
  return splitLevel(nodeTotals, topology.nodeStart, disks);
}

function parentLevel(children: Level, starts: Int32Array): Level {
  const length = starts.length - 1;
  const exact = new Float64Array(length);
  const carry = new Float64Array(length);
  const cap = new Float64Array(length);
  const floor = new Int32Array(length);
  const gain = new Uint8Array(length);
  for (let parent = 0; parent < length; parent += 1) {
    let floors = 0;
    let gains = 0;
    forRange(starts, parent, (child) => {
      exact[parent] = (exact[parent] ?? 0) + (children.exact[child] ?? 0);
      carry[parent] = (carry[parent] ?? 0) + (children.carry[child] ?? 0);
      cap[parent] = (cap[parent] ?? 0) + (children.cap[child] ?? 0);
      floors += children.floor[child] ?? 0;
      gains += children.gain[child] ?? 0;
    });
    const share = wholeIfNear(exact[parent] ?? 0);
    exact[parent] = share;
    floor[parent] = Math.floor(share);
    // The floor already hands down this many extras; one more is held only if more children hold one.
    const extras = Math.floor(share) - floors;
    gain[parent] = !Number.isInteger(share) && gains > extras ? 1 : 0;
  }
  return { exact, floor, gain, carry, cap };
}

/** Divides each parent's total among its children: floors, then extras by preference. */
function splitLevel(totals: Int32Array, starts: Int32Array, level: Level): Int32Array {
  const result = Int32Array.from(level.floor);
  for (let parent = 0; parent < totals.length; parent += 1) {
    const children: number[] = [];
    let extras = totals[parent] ?? 0;
    forRange(starts, parent, (child) => {
      children.push(child);
      extras -= level.floor[child] ?? 0;
    });
    children.sort((a, b) => compareWish(level, a, b));
    // One round gives every extra; more rounds only make up for errors of the floating sums.
    for (let round = 0; extras !== 0 && round < 3; round += 1) {
      const step = Math.sign(extras);
      const order = step > 0 ? children : [...children].reverse();
      for (const child of order) {
        const now = result[child] ?? 0;
        if (extras === 0) break;
        if (step > 0 ? now >= (level.cap[child] ?? 0) : now === 0) continue;
        result[child] = now + step;
        extras -= step;
      }
    }
    assert(extras === 0, 'whole shares add up', { parent, extras });
  }
  return result;
}

/** Who gets an extra first: fractions before whole shares, holders, those short of PGs, larger parts. */
function compareWish(level: Level, a: number, b: number): number {
  const partOf = (child: number): number => (level.exact[child] ?? 0) - (level.floor[child] ?? 0);
  const partA = partOf(a);
  const partB = partOf(b);
  return (
    Number(partB > 0) - Number(partA > 0) ||
    (level.gain[b] ?? 0) - (level.gain[a] ?? 0) ||
    // Carries and parts of equal disks differ by rounding errors: compare them coarsely.
    Math.round((level.carry[b] ?? 0) * 1e3) - Math.round((level.carry[a] ?? 0) * 1e3) ||
    Math.round(partB * 1e6) - Math.round(partA * 1e6) ||
    a - b
  );
}
