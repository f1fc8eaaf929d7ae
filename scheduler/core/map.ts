/**
 * The cluster map and its deltas, made of facts alone: two managers with the same facts make the same
 * map. What executors need not know (targets, phases, deleted volumes) is left out.
 */
import type { DiskId, NodeId, PgId, VolumeId } from '../../shared/base/ids.ts';
import type {
  ClusterMap,
  ClusterMapDelta,
  MapDisk,
  MapNode,
  MapPg,
  MapVolume,
} from '../../shared/model/cluster-map.ts';
import type { Facts, MapChanges } from './facts.ts';
import { familyOf } from './members/members.ts';
import type { DiskRecord, NodeRecord, PgRecord, VolumeRecord } from './records.ts';

/** The whole map at the facts' current version. */
export function buildMap(facts: Facts, term: number): ClusterMap {
  return {
    clusterId: facts.cluster.clusterId,
    term,
    version: facts.cluster.mapVersion,
    nodes: [...facts.nodes.values()].filter(isNodeMapped).map(mapNode),
    disks: [...facts.disks.values()].filter(isDiskMapped).map(mapDisk),
    pgs: [...facts.pgs.values()].map((pg) => mapPg(facts, pg)),
    volumes: [...facts.volumes.values()]
      .filter(isVolumeMapped)
      .map((volume) => mapVolume(facts, volume)),
    nextVolume: facts.cluster.nextVolume,
  };
}

/** What `changes` made of the map of `fromVersion`; `changes` are all since then. */
export function buildMapDelta(
  facts: Facts,
  term: number,
  changes: MapChanges,
  fromVersion: number,
): ClusterMapDelta {
  const nodes = split(changes.nodes, (id) => facts.nodes.find(id), isNodeMapped);
  const disks = split(changes.disks, (id) => facts.disks.find(id), isDiskMapped);
  const pgs = split(
    changes.pgs,
    (id) => facts.pgs.find(id),
    () => true,
  );
  const volumes = split(changes.volumes, (id) => facts.volumes.find(id), isVolumeMapped);
  return {
    clusterId: facts.cluster.clusterId,
    term,
    fromVersion,
    version: facts.cluster.mapVersion,
    nodes: nodes.kept.map(mapNode),
    disks: disks.kept.map(mapDisk),
    pgs: pgs.kept.map((pg) => mapPg(facts, pg)),
    volumes: volumes.kept.map((volume) => mapVolume(facts, volume)),
    nextVolume: facts.cluster.nextVolume,
    removedNodes: nodes.removed,
    removedDisks: disks.removed,
    removedPgs: pgs.removed,
    removedVolumes: volumes.removed,
  };
}

/**
 * Whether executors keep the record beside the map (docs/decisions/0008): all but the members of PGs,
 * which the map itself has, and history, which a recovered cluster does without.
 */
export function isFactKept(key: string): boolean {
  return !/^(pg|job|event|scrub)\//.test(key);
}

/** Changes of two consecutive steps as one, for executors that take them together. */
export function mergeMapChanges(first: MapChanges, second: MapChanges): MapChanges {
  return {
    nodes: union<NodeId>(first.nodes, second.nodes),
    disks: union<DiskId>(first.disks, second.disks),
    pgs: union<PgId>(first.pgs, second.pgs),
    volumes: union<VolumeId>(first.volumes, second.volumes),
  };
}

/**
 * All nodes of the map count in majorities of peers (DESIGN 5), so a node enters the map with its
 * executor's first hello, not when Mesos offers its agent.
 */
export function isNodeMapped(node: NodeRecord): boolean {
  return node.registeredAtVersion !== null && node.admin !== 'gone';
}

function isDiskMapped(disk: DiskRecord): boolean {
  return disk.phase !== 'claiming';
}

function isVolumeMapped(volume: VolumeRecord): boolean {
  return volume.phase === 'ready';
}

function mapNode(node: NodeRecord): MapNode {
  const { id, hostname, zone, dataAddress, grantAddress, isFenced } = node;
  return { id, hostname, zone, dataAddress, grantAddress, isFenced };
}

function mapDisk(disk: DiskRecord): MapDisk {
  const { id, node, uuid, incarnation = 0 } = disk;
  return { id, node, uuid, incarnation };
}

function mapPg(facts: Facts, pg: PgRecord): MapPg {
  const { minInSync } = familyOf({ facts }, pg.id);
  const { id, epoch, inSync, joining, target, suspects = [], compareEpoch = 0 } = pg;
  return { id, epoch, inSync, joining, minInSync, target, suspects, compareEpoch };
}

function mapVolume(facts: Facts, volume: VolumeRecord): MapVolume {
  const { id, name, sizeBytes, pgBase, pgCount, pgOffset, pgStride, layer, generation } = volume;
  return {
    id,
    name,
    sizeBytes,
    pgBase,
    pgCount,
    pgOffset,
    pgStride,
    layer,
    generation,
    // A gateway whose node is no longer named closes cleanly; the record waits until it has.
    attachedTo: volume.isDetaching ? null : volume.attachedTo,
    isFull: facts.pools.find(volume.pool)?.isFull ?? false,
    durability: volume.durability,
  };
}

function split<K, T>(
  keys: readonly K[],
  find: (key: K) => T | undefined,
  isMapped: (record: T) => boolean,
): { readonly kept: readonly T[]; readonly removed: readonly K[] } {
  const kept: T[] = [];
  const removed: K[] = [];
  for (const key of keys) {
    const record = find(key);
    if (record !== undefined && isMapped(record)) kept.push(record);
    else removed.push(key);
  }
  return { kept, removed };
}

function union<K>(first: readonly K[], second: readonly K[]): readonly K[] {
  return [...new Set([...first, ...second])];
}
