/**
 * The disks of one plan as a tree in flat arrays: disks of a node stand side by side, nodes of a zone
 * too, so that every level is a range. Leaving disks are not in it. Decides nothing about PGs.
 *
 *   diskIds    d1 d2 | d7 | d3 d4 | d9          zoneOf   0 0 0 1 1 1
 *   nodes      0       1    2       3           nodeOf   0 0 1 2 2 3
 *   zones      0            1
 */
import { assert } from '../../../shared/base/assert.ts';
import type { DiskId, NodeId, PgId } from '../../../shared/base/ids.ts';

export interface PlacementDisk {
  readonly id: DiskId;
  readonly node: NodeId;
  /** Nodes without a zone count together as one zone: nobody vouched that they are apart. */
  readonly zone: string | null;
  /** Capacity in bytes; only the ratios matter. A disk of weight 0 receives nothing. */
  readonly weight: number;
  /** May receive. A disk that is neither usable nor leaving keeps what it holds. */
  readonly isUsable: boolean;
  /** Must be emptied (draining, failed, gone). */
  readonly isLeaving: boolean;
}

export interface PlacementPg {
  readonly id: PgId;
  /**
   * Disks that hold the PG, are to hold it by the last plan, or still have its data; most wanted
   * first (placement-current.ts makes this list). May be longer than `replicas`, or empty.
   */
  readonly current: readonly DiskId[];
  /** What one replica holds; only for the figures. */
  readonly bytes?: number;
}

export interface Topology {
  readonly diskIds: readonly DiskId[];
  readonly indexOf: ReadonlyMap<DiskId, number>;
  readonly weights: Float64Array;
  /** 1 when the disk may receive. */
  readonly isUsable: Uint8Array;
  /** PGs of the family that name the disk in `current`. */
  readonly named: Int32Array;
  readonly nodeOf: Int32Array;
  readonly zoneOf: Int32Array;
  readonly nodeCount: number;
  readonly zoneCount: number;
  /** First disk of each node, and the end: disks of node n are `nodeStart[n]` to `nodeStart[n + 1]`. */
  readonly nodeStart: Int32Array;
  /** First node of each zone, and the end. */
  readonly zoneStart: Int32Array;
}

/** Disks that can hold PGs of this family: usable ones, and unusable ones that hold some already. */
export function buildTopology(
  disks: readonly PlacementDisk[],
  pgs: readonly PlacementPg[],
): Topology {
  const namedBy = new Map<DiskId, number>();
  for (const pg of pgs) {
    for (const disk of pg.current) namedBy.set(disk, (namedBy.get(disk) ?? 0) + 1);
  }
  const members = disks.filter(
    (disk) => !disk.isLeaving && disk.weight > 0 && (disk.isUsable || namedBy.has(disk.id)),
  );
  members.sort((a, b) => compareZones(a.zone, b.zone) || a.node - b.node || a.id - b.id);

  const nodeOf = new Int32Array(members.length);
  const zoneOf = new Int32Array(members.length);
  const nodeStart: number[] = [];
  const zoneStart: number[] = [];
  members.forEach((disk, index) => {
    assert(Number.isFinite(disk.weight), 'weight is a number', { disk: disk.id });
    const before = members[index - 1];
    const isNewZone = before === undefined || before.zone !== disk.zone;
    const isNewNode = isNewZone || before.node !== disk.node;
    if (isNewZone) zoneStart.push(nodeStart.length);
    if (isNewNode) nodeStart.push(index);
    nodeOf[index] = nodeStart.length - 1;
    zoneOf[index] = zoneStart.length - 1;
  });
  const indexOf = new Map(members.map((disk, index) => [disk.id, index]));
  assert(indexOf.size === members.length, 'disk ids are unique');
  const nodeIds = new Set(members.map((disk) => disk.node));
  assert(nodeIds.size === nodeStart.length, 'all disks of a node are in the same zone');
  return {
    diskIds: members.map((disk) => disk.id),
    indexOf,
    weights: Float64Array.from(members, (disk) => disk.weight),
    isUsable: Uint8Array.from(members, (disk) => (disk.isUsable ? 1 : 0)),
    named: Int32Array.from(members, (disk) => namedBy.get(disk.id) ?? 0),
    nodeOf,
    zoneOf,
    nodeCount: nodeStart.length,
    zoneCount: zoneStart.length,
    nodeStart: Int32Array.from([...nodeStart, members.length]),
    zoneStart: Int32Array.from([...zoneStart, nodeStart.length]),
  };
}

function compareZones(a: string | null, b: string | null): number {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return a < b ? -1 : 1;
}
