/**
 * The cluster map: what every executor knows of the cluster and acts upon. The manager is its only
 * author; `version` grows by one with every change. Executors keep the last one durable.
 */
import { assert } from '../base/assert.ts';
import type { DiskId, NodeId, PgId, VolumeId } from '../base/ids.ts';
import { divCeil, EXTENT_BYTES } from '../base/units.ts';

export interface MapNode {
  readonly id: NodeId;
  readonly hostname: string;
  readonly zone: string | null;
  /** `host:port` of the node's replica server; null until its executor said hello. */
  readonly dataAddress: string | null;
  /** `host:port` where the node answers requests for lease grants. */
  readonly grantAddress: string | null;
  /** Nobody who knows this map grants the node a lease. */
  readonly isFenced: boolean;
}

export interface MapDisk {
  readonly id: DiskId;
  readonly node: NodeId;
  readonly uuid: string;
  /**
   * The memory of the disk's store that the manager knows of (DiskReport): replicas of a store with
   * another one serve nothing until the manager has decided. Absent or 0: not known yet.
   */
  readonly incarnation?: number;
}

/** Replicas plus those joining, at most: gateways keep members in bit masks. */
export const PG_MEMBERS_MAX = 8;

/** Membership of a PG in one epoch (DESIGN 4). `inSync` and `joining` never overlap. */
export interface MapPg {
  readonly id: PgId;
  readonly epoch: number;
  readonly inSync: readonly DiskId[];
  readonly joining: readonly DiskId[];
  /** Writes wait while fewer replicas than this are in sync. */
  readonly minInSync: number;
  /**
   * Where the plan wants it. A disk that is no member any more, and is not wanted either, frees its
   * extents once as many members as here are in sync.
   */
  readonly target: readonly DiskId[];
  /**
   * Members of `inSync` that lost their memory: what they acked and did not flush may be gone. They
   * serve nothing while they are named here.
   */
  readonly suspects?: readonly DiskId[];
  /**
   * The last epoch in which suspects were trusted again because nobody with a memory was left. In-sync
   * replicas may differ since then where they are dirty: a gateway compares before it serves. Absent
   * or 0: never.
   */
  readonly compareEpoch?: number;
}

/**
 * When a volume's acked writes survive power loss of all nodes: `flush`, once the client flushes (writes go
 * through to the disks until its first flush shows that it does); `writethrough`, at once.
 */
export type Durability = 'flush' | 'writethrough';

export const DURABILITIES: readonly Durability[] = ['flush', 'writethrough'];

export interface MapVolume {
  readonly id: VolumeId;
  readonly name: string;
  readonly sizeBytes: number;
  /** PGs of this volume are `pgBase` to `pgBase + pgCount - 1`; `pgCount` is a power of two. */
  readonly pgBase: number;
  readonly pgCount: number;
  readonly pgOffset: number;
  /** Odd, so that `pgCount` consecutive extents visit every PG once. */
  readonly pgStride: number;
  readonly layer: number;
  /** Grows with every attachment, never falls; 0 before the first. */
  readonly generation: number;
  /** The node that may coordinate I/O under `generation`; null when detached. */
  readonly attachedTo: NodeId | null;
  /** Allocating writes get ENOSPC (the pool is at its hard limit). */
  readonly isFull: boolean;
  readonly durability: Durability;
}

export interface ClusterMap {
  readonly clusterId: string;
  readonly term: number;
  readonly version: number;
  readonly nodes: readonly MapNode[];
  readonly disks: readonly MapDisk[];
  readonly pgs: readonly MapPg[];
  readonly volumes: readonly MapVolume[];
  /** Volume ids below this one that are not in `volumes` are deleted: their extents are dropped. */
  readonly nextVolume: number;
}

/** What changed between two versions; entries replace those with the same id. */
export interface ClusterMapDelta {
  readonly clusterId: string;
  readonly term: number;
  readonly fromVersion: number;
  readonly version: number;
  readonly nodes: readonly MapNode[];
  readonly disks: readonly MapDisk[];
  readonly pgs: readonly MapPg[];
  readonly volumes: readonly MapVolume[];
  readonly nextVolume: number;
  readonly removedNodes: readonly NodeId[];
  readonly removedDisks: readonly DiskId[];
  readonly removedPgs: readonly PgId[];
  readonly removedVolumes: readonly VolumeId[];
}

/** The PG that holds `extent` of a volume (DESIGN 3). */
export function pgOfExtent(volume: MapVolume, extent: number): PgId {
  // The product stays below 2^53: extents fit in 32 bits, the stride below pgCount (2^20 at most).
  const slot = (volume.pgOffset + extent * volume.pgStride) % volume.pgCount;
  return (volume.pgBase + slot) as PgId;
}

export function extentCount(volume: Pick<MapVolume, 'sizeBytes'>): number {
  return divCeil(volume.sizeBytes, EXTENT_BYTES);
}

/** The map after `delta`; the caller has checked that the versions fit together. */
export function applyDelta(map: ClusterMap, delta: ClusterMapDelta): ClusterMap {
  assert(delta.fromVersion === map.version, 'delta starts at the map it is applied to', {
    map: map.version,
    from: delta.fromVersion,
  });
  return {
    clusterId: map.clusterId,
    term: delta.term,
    version: delta.version,
    nodes: replaceEntries(map.nodes, delta.nodes, delta.removedNodes),
    disks: replaceEntries(map.disks, delta.disks, delta.removedDisks),
    pgs: replaceEntries(map.pgs, delta.pgs, delta.removedPgs),
    volumes: replaceEntries(map.volumes, delta.volumes, delta.removedVolumes),
    nextVolume: delta.nextVolume,
  };
}

function replaceEntries<K, T extends { readonly id: K }>(
  entries: readonly T[],
  changed: readonly T[],
  removed: readonly K[],
): readonly T[] {
  if (changed.length === 0 && removed.length === 0) return entries;
  const byId = new Map<K, T>(entries.map((entry) => [entry.id, entry]));
  for (const id of removed) byId.delete(id);
  for (const entry of changed) byId.set(entry.id, entry);
  return [...byId.values()];
}
