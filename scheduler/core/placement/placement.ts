/**
 * Where every PG should live (DESIGN 3): disks and today's places in, targets out. Pure and
 * deterministic. It does not decide when data moves (move-plan.ts) and knows nothing of volumes.
 *
 * Each family (PGs with one replica count) is planned in three steps:
 *
 *   1. keep    every PG keeps the disks it has, as far as failure domains allow.
 *   2. shares  how many PGs each disk should hold (placement-shares.ts): by capacity, but no node
 *              more than one replica of each PG; rounded so that disks, nodes and zones are all
 *              within one of their exact share, and rounded *towards what the disk holds now*.
 *   3. change  empty places and surplus disks give to disks below their share, directly where a
 *              PG allows it, else along the shortest chain (placement-assignment.ts).
 *
 *   Four nodes, 256 PGs, R = 2, then e joins: share 256 · 2 / 5 = 102.4
 *
 *        a    b    c    d    e             a    b    c    d    e
 *       128  128  128  128   0     →      103  103  102  102  102     102 replicas move, all to e
 *
 *   A chain: p (on a and b) must leave a, only b's node has room, and p may not be there twice:
 *   p goes from a to c, and some q that is on c, not on b, goes from c to b.
 *
 * docs/decisions/0004-placement.md says why this always completes and why it moves so little.
 */
import { assert } from '../../../shared/base/assert.ts';
import type { DiskId, PgId } from '../../../shared/base/ids.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { REPLICAS_MAX } from '../../../shared/base/units.ts';
import { FamilyAssignment } from './placement-assignment.ts';
import { domainRule, replicasPossible } from './placement-rule.ts';
import { exactShares, roundShares } from './placement-shares.ts';
import {
  buildTopology,
  type PlacementDisk,
  type PlacementPg,
  type Topology,
} from './placement-topology.ts';

export type { PlacementDisk, PlacementPg };

export interface PlacementFamily {
  readonly pgs: readonly PlacementPg[];
  readonly replicas: number;
  readonly failureDomain: 'node' | 'zone';
}

export interface PlacementInput {
  readonly disks: readonly PlacementDisk[];
  readonly families: readonly PlacementFamily[];
}

export interface DiskFigures {
  readonly id: DiskId;
  /** PG replicas planned here, over all families. */
  readonly pgCount: number;
  /** Its part by weight alone. */
  readonly weightedMean: number;
  /** Its part where one node (zone) holds a PG at most once: the mean that can be reached. */
  readonly share: number;
  /** `pgCount - share`: below one per family, unless an explanation says otherwise. */
  readonly deviation: number;
}

export interface PlacementPlan {
  /** Every PG of the input; shorter than `replicas` for the PGs in `degraded`. */
  readonly targets: ReadonlyMap<PgId, readonly DiskId[]>;
  /** All disks of the input, by id. */
  readonly disks: readonly DiskFigures[];
  /** Targets that are not in `current`, for PGs that hold data somewhere. */
  readonly movedReplicas: number;
  /** No balanced placement could move fewer. */
  readonly movedReplicasMin: number;
  readonly movedBytes: number;
  /** Targets of PGs that were nowhere before: nothing to copy. */
  readonly placedReplicas: number;
  /** PGs with fewer targets than replicas, by id. */
  readonly degraded: readonly PgId[];
  /** One sentence each for everything that is not as the policy asks. */
  readonly explanations: readonly string[];
}

/** Plans all families; see the head of this file. 1,000 nodes × 4 disks × 128k PGs take about half a second. */
export function planPlacement(input: PlacementInput): PlacementPlan {
  const totals = new PlanTotals(input.disks);
  // Families share the rounding error, so that sums over families stay even too.
  const carry = new Map<DiskId, number>();
  for (const family of input.families) planFamily(input.disks, family, carry, totals);
  return totals.finish();
}

function planFamily(
  disks: readonly PlacementDisk[],
  family: PlacementFamily,
  carry: Map<DiskId, number>,
  totals: PlanTotals,
): void {
  const { replicas } = family;
  assert(
    Number.isInteger(replicas) && replicas >= 1 && replicas <= REPLICAS_MAX,
    'replicas is within its range',
    { replicas },
  );
  const pgs = [...family.pgs].sort((a, b) => a.id - b.id);
  const topology = buildTopology(disks, pgs);
  const rule = domainRule(topology, {
    pgCount: pgs.length,
    replicas,
    domain: family.failureDomain,
  });
  const possible = replicasPossible(topology, { replicas, zoneCap: rule.zoneCap });
  if (rule.explanation !== null && pgs.length > 0) totals.explain(rule.explanation);

  const prng = new Prng(`placement/${pgs[0]?.id ?? 0}/${replicas}`);
  const assignment = new FamilyAssignment(
    { pgs, topology, replicas: possible, zoneCap: rule.zoneCap },
    prng,
  );
  assignment.keep();
  const caps = receivingCaps(topology, assignment.counts, pgs.length);
  const bounds = { pgCount: pgs.length, replicas: possible, zoneCap: rule.zoneCap };
  const shares = exactShares(topology, caps, bounds);
  const goals = roundShares(topology, {
    shares,
    caps,
    held: assignment.counts,
    carry: Float64Array.from(topology.diskIds, (id) => carry.get(id) ?? 0),
  });
  const movesMin = assignment.setGoals(goals);
  assignment.change();

  topology.diskIds.forEach((id, index) => {
    const off = (shares[index] ?? 0) - (assignment.counts[index] ?? 0);
    carry.set(id, (carry.get(id) ?? 0) + off);
  });
  totals.addFamily({ family, pgs, topology, shares, assignment, movesMin });
}

/** How many PGs each disk may hold at most. */
function receivingCaps(topology: Topology, held: Int32Array, pgCount: number): Float64Array {
  return Float64Array.from(topology.isUsable, (isUsable, disk) =>
    isUsable === 1 ? pgCount : (held[disk] ?? 0),
  );
}

interface FamilyResult {
  readonly family: PlacementFamily;
  readonly pgs: readonly PlacementPg[];
  readonly topology: Topology;
  readonly shares: Float64Array;
  readonly assignment: FamilyAssignment;
  readonly movesMin: number;
}

/** Sums up the families of one plan. */
class PlanTotals {
  readonly #disks: readonly PlacementDisk[];
  readonly #weightSum: number;
  readonly #targets = new Map<PgId, readonly DiskId[]>();
  readonly #pgCounts = new Map<DiskId, number>();
  readonly #shares = new Map<DiskId, number>();
  readonly #degraded: PgId[] = [];
  readonly #explanations: string[] = [];
  #moved = 0;
  #movedMin = 0;
  #movedBytes = 0;
  #placed = 0;

  constructor(disks: readonly PlacementDisk[]) {
    this.#disks = [...disks].sort((a, b) => a.id - b.id);
    this.#weightSum = disks.reduce((sum, disk) => sum + (disk.isLeaving ? 0 : disk.weight), 0);
  }

  explain(sentence: string): void {
    this.#explanations.push(sentence);
  }

  addFamily(result: FamilyResult): void {
    const { family, pgs, topology, shares, assignment } = result;
    topology.diskIds.forEach((id, disk) => {
      add(this.#pgCounts, id, assignment.counts[disk] ?? 0);
      add(this.#shares, id, shares[disk] ?? 0);
    });
    let degraded = 0;
    for (const [index, pg] of pgs.entries()) {
      const target = assignment.target(index);
      assert(!this.#targets.has(pg.id), 'a PG is in one family, once', { pg: pg.id });
      this.#targets.set(pg.id, target);
      if (target.length < family.replicas) {
        this.#degraded.push(pg.id);
        degraded += 1;
      }
      this.#countMoves(pg, target);
    }
    this.#movedMin += result.movesMin;
    if (degraded > 0) {
      this.explain(
        `Placed ${pgs.length} PGs with ${family.replicas} replicas on ${topology.nodeCount} nodes: ` +
          `${degraded} PGs get fewer replicas, because not enough nodes may receive them`,
      );
    }
    if (assignment.crowded > 0) {
      this.explain(
        `Placed ${pgs.length} PGs with ${family.replicas} replicas in different zones: ` +
          `${assignment.crowded} replicas share a zone, because no disk elsewhere may receive them`,
      );
    }
    if (assignment.overfull > 0) {
      this.explain(
        `Placed ${pgs.length} PGs with ${family.replicas} replicas: ${assignment.overfull} replicas are ` +
          'above the share of their disk, because disks that may not receive stand in the way',
      );
    }
  }

  #countMoves(pg: PlacementPg, target: readonly DiskId[]): void {
    if (pg.current.length === 0) {
      this.#placed += target.length;
      return;
    }
    for (const disk of target) {
      if (pg.current.includes(disk)) continue;
      this.#moved += 1;
      this.#movedBytes += pg.bytes ?? 0;
    }
  }

  finish(): PlacementPlan {
    let replicaSum = 0;
    for (const count of this.#pgCounts.values()) replicaSum += count;
    const disks = this.#disks.map((disk): DiskFigures => {
      const pgCount = this.#pgCounts.get(disk.id) ?? 0;
      const share = this.#shares.get(disk.id) ?? 0;
      const weight = disk.isLeaving ? 0 : disk.weight;
      const weightedMean = this.#weightSum === 0 ? 0 : (replicaSum * weight) / this.#weightSum;
      return { id: disk.id, pgCount, weightedMean, share, deviation: pgCount - share };
    });
    return {
      targets: this.#targets,
      disks,
      movedReplicas: this.#moved,
      movedReplicasMin: this.#movedMin,
      movedBytes: this.#movedBytes,
      placedReplicas: this.#placed,
      degraded: this.#degraded,
      explanations: this.#explanations,
    };
  }
}

function add(sums: Map<DiskId, number>, key: DiskId, value: number): void {
  sums.set(key, (sums.get(key) ?? 0) + value);
}
