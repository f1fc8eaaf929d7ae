/**
 * The data plane of one node as its supervisor sees it: disks, replicas, resync and gateways behind
 * four verbs. Everything else it does follows from the cluster map.
 */
import type { DiskId, NodeId } from '../shared/base/ids.ts';
import type { ClusterMap, ClusterMapDelta } from '../shared/model/cluster-map.ts';
import type { NodeReport } from '../shared/model/node-report.ts';
import type { DiskMemory } from '../shared/model/recall.ts';
import type { ScrubOrder } from '../shared/model/scrub.ts';

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

/** What the disks of a node durably know. */
export interface DataMemory {
  readonly disks: readonly DiskMemory[];
  /** The newest map that any of the disks holds. */
  readonly map: Uint8Array | null;
}

export interface DataPlane {
  /** Opens the disk's store (creating it when the directory is empty); the outcome is in the report. */
  addDisk(disk: DiskAssignment): void;
  /** Closes the store; its files stay. Resolves when nothing has them open any more, however that came about. */
  removeDisk(id: DiskId): Promise<void>;
  /** A full map, or a delta onto the last one; versions that do not fit are refused (false). */
  applyMap(map: ClusterMap | ClusterMapDelta, self: NodeId): boolean;
  /** The node may serve until `clock.now()` reaches `untilMs`; never shortens. */
  extendLease(untilMs: number): void;
  setLimits(limits: BackgroundLimits): void;
  /** Everything that shall be scrubbed here now; what is not among it is called off. */
  setScrubs(orders: readonly ScrubOrder[]): void;
  /** Keeps the last map (a record of `encodeDurableMap`) on all disks of the node, soon. */
  keepMap(record: Uint8Array): void;
  /** For a recovery of the metadata store; null when the data plane does not answer now. */
  recall(): Promise<DataMemory | null>;
  report(): NodeReport;
  /** Called when something in the report will not wait for the next second. */
  onUrgent(listener: () => void): void;
  /** Flushes, marks stores clean, closes everything. */
  close(): Promise<void>;
}
