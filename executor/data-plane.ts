/**
 * The data plane of one node as its supervisor sees it: disks, replicas, resync and gateways behind
 * four verbs. Everything else it does follows from the cluster map.
 */
import type { DiskId, NodeId } from '../shared/base/ids.ts';
import type { ClusterMap, ClusterMapDelta } from '../shared/model/cluster-map.ts';
import type { NodeReport } from '../shared/model/node-report.ts';

/** A disk that Mesos gave to this node. */
export interface DiskAssignment {
  readonly id: DiskId;
  readonly uuid: string;
  readonly path: string;
  /** Upper bound for the store on this disk. */
  readonly capacityBytes: number;
}

export interface BackgroundLimits {
  /** For resync onto and from this node, all PGs together; 0 pauses it. */
  readonly resyncBytesPerSecond: number;
  readonly concurrentJoins: number;
}

export interface DataPlane {
  /** Opens the disk's store (creating it when the directory is empty); the outcome is in the report. */
  addDisk(disk: DiskAssignment): void;
  /** Closes the store; its files stay. */
  removeDisk(id: DiskId): void;
  /** A full map, or a delta onto the last one; versions that do not fit are refused (false). */
  applyMap(map: ClusterMap | ClusterMapDelta, self: NodeId): boolean;
  /** The node may serve until `clock.now()` reaches `untilMs`; never shortens. */
  extendLease(untilMs: number): void;
  setLimits(limits: BackgroundLimits): void;
  report(): NodeReport;
  /** Called when something in the report will not wait for the next second. */
  onUrgent(listener: () => void): void;
  /** Flushes, marks stores clean, closes everything. */
  close(): Promise<void>;
}
