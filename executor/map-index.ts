/**
 * The cluster map as the data plane looks things up in it: by number, with the members of a PG put
 * together once. Rebuilt entry by entry when a newer map arrives; entries that did not change stay
 * the same objects.
 */
import type { DiskId, NodeId, PgId, VolumeId } from '../shared/base/ids.ts';
import {
  applyDelta,
  type ClusterMap,
  type ClusterMapDelta,
  type MapDisk,
  type MapNode,
  type MapPg,
  type MapVolume,
} from '../shared/model/cluster-map.ts';

export interface PgView {
  readonly pg: MapPg;
  readonly id: PgId;
  readonly epoch: number;
  readonly inSync: readonly DiskId[];
  /** In sync first, then joining: every write goes to all of them. */
  readonly members: readonly DiskId[];
  readonly minInSync: number;
  /** Of `inSync`: they lost their memory and serve nothing. */
  readonly suspects: readonly DiskId[];
  /** In-sync members may differ since this epoch, where they are dirty; 0 when they never did. */
  readonly compareEpoch: number;
}

export class MapIndex {
  readonly nodes = new Map<NodeId, MapNode>();
  readonly disks = new Map<DiskId, MapDisk>();
  readonly pgs = new Map<PgId, PgView>();
  readonly volumes = new Map<VolumeId, MapVolume>();
  #map: ClusterMap | null = null;
  #changedPgs: readonly PgView[] = [];

  get map(): ClusterMap | null {
    return this.#map;
  }

  /** Those that the last map made anew: for whoever follows every map, and does not want to look at all. */
  get changedPgs(): readonly PgView[] {
    return this.#changedPgs;
  }

  get version(): number {
    return this.#map === null ? 0 : this.#map.version;
  }

  /** False when it is not the next step from the map at hand: of another cluster, older, or with a gap. */
  apply(update: ClusterMap | ClusterMapDelta): boolean {
    const current = this.#map;
    if (current !== null && update.clusterId !== current.clusterId) return false;
    if (current !== null && update.term < current.term) return false;
    if ('fromVersion' in update) {
      if (current === null || update.fromVersion !== current.version) return false;
      this.#take(applyDelta(current, update));
      return true;
    }
    if (current !== null && update.version < current.version) return false;
    this.#take(update);
    return true;
  }

  #take(map: ClusterMap): void {
    const before = this.#map;
    this.#map = map;
    if (before?.nodes !== map.nodes) fill(this.nodes, map.nodes);
    if (before?.disks !== map.disks) fill(this.disks, map.disks);
    if (before?.volumes !== map.volumes) fill(this.volumes, map.volumes);
    this.#changedPgs = [];
    if (before?.pgs === map.pgs) return;
    const changed: PgView[] = [];
    const kept = new Map(this.pgs);
    this.pgs.clear();
    for (const pg of map.pgs) {
      const known = kept.get(pg.id);
      if (known?.pg === pg) {
        this.pgs.set(pg.id, known);
        continue;
      }
      const view = viewOf(pg);
      this.pgs.set(pg.id, view);
      changed.push(view);
    }
    this.#changedPgs = changed;
  }
}

function fill<K, T extends { readonly id: K }>(index: Map<K, T>, entries: readonly T[]): void {
  index.clear();
  for (const entry of entries) index.set(entry.id, entry);
}

const NOBODY: readonly DiskId[] = [];

function viewOf(pg: MapPg): PgView {
  const members = [...pg.inSync, ...pg.joining];
  const { id, epoch, inSync, minInSync, suspects = NOBODY, compareEpoch = 0 } = pg;
  return { pg, id, epoch, inSync, members, minInSync, suspects, compareEpoch };
}
