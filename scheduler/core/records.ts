/**
 * The manager's durable facts: one record per row of the metadata store. Plans, leases and reports
 * are not here: plans are recomputed, leases and reports are observed (state.ts).
 */
import type { DiskId, JobId, NodeId, PgId, VolumeId } from '../../shared/base/ids.ts';
import type { ReservationInfo } from '../../shared/mesos/messages.ts';
import type { Durability } from '../../shared/model/cluster-map.ts';
import type { ForeignFinding } from '../../shared/model/node-report.ts';
import type { PoolSelector } from '../../shared/model/pool-selector.ts';
import type { ScrubScope } from '../../shared/model/scrub.ts';
import type { ExecutorArtefact } from './contract.ts';

export interface ClusterRecord {
  readonly clusterId: string;
  readonly name: string;
  /** Set as soon as Mesos gave it, before anything else is done with it. */
  readonly frameworkId: string | null;
  /** The one that Mesos last said it has removed: another may take its place (framework.ts). Missing: none. */
  readonly removedFrameworkId?: string | null;
  readonly nextNode: number;
  readonly nextDisk: number;
  readonly nextVolume: number;
  readonly nextPg: number;
  readonly nextJob: number;
  readonly nextEvent: number;
  readonly mapVersion: number;
  /**
   * Every registered node is known to have applied a map of at least this version, as far as the set
   * of registered nodes goes: older sets cannot be in use any more (fencing.ts).
   */
  readonly votersSettledVersion: number;
  readonly createdAtMs: number;
  /** Re-replication waits after a mass failure (brake.ts); null or missing while it does not. */
  readonly brake?: BrakeRecord | null;
  /** The last upgrade of the executors (upgrade.ts), also when it is over; null or missing: never. */
  readonly upgrade?: UpgradeRecord | null;
  /** An operator wants the whole cluster given back (uninstall.ts); null or missing while nobody does. */
  readonly uninstall?: UninstallRecord | null;
}

/**
 * running: nodes are restarted one after the other. paused: by an operator. stopped: by trouble. done:
 * every node runs what `direction` says.
 */
export type UpgradePhase = 'running' | 'paused' | 'stopped' | 'done';

export interface UpgradeRecord {
  readonly from: ExecutorArtefact;
  readonly to: ExecutorArtefact;
  /** back: to `from` again. */
  readonly direction: 'forward' | 'back';
  readonly phase: UpgradePhase;
  /** Why it is paused or stopped; empty otherwise. */
  readonly reason: string;
  readonly startedAtMs: number;
  /** The node that is being restarted, and since when (wall time). */
  readonly current: { readonly node: NodeId; readonly sinceMs: number } | null;
}

/** releasing: everything is given back. tearing-down: nothing is left, Mesos forgets us. done: it has. */
export type UninstallPhase = 'releasing' | 'tearing-down' | 'done';

export interface UninstallRecord {
  readonly phase: UninstallPhase;
  readonly sinceMs: number;
  /** Volumes that existed and were given up with it, by name. */
  readonly volumes: readonly string[];
}

export interface BrakeRecord {
  readonly sinceMs: number;
  /** What went, as a person reads it. */
  readonly reason: string;
  /** An operator's override: it holds nothing back any more, and does not engage again until it has ended. */
  readonly isReleased: boolean;
}

/**
 * active: may hold data. draining: data moves away. drained: holds none, stays until it is activated
 * or gone. gone: will not come back (operator's or Mesos' word); its disks are lost.
 */
export type NodeAdmin = 'active' | 'draining' | 'drained' | 'gone';

export interface NodeRecord {
  readonly id: NodeId;
  /** Changes when Mesos registers the host anew; the reservation labels are the identity. */
  readonly agentId: string;
  readonly hostname: string;
  readonly zone: string | null;
  readonly region: string | null;
  readonly attributes: Readonly<Record<string, string>>;
  readonly admin: NodeAdmin;
  readonly executorId: string;
  /**
   * How often a launch started its executor anew, 0 when absent: Mesos' word on an executor's end holds for
   * the tasks of that run alone. Durable, since such a word may come to a later manager.
   */
  readonly executorRun?: number;
  /**
   * Places (`mount:/mnt/a`) of disks that an operator emptied and had given back: not claimed again
   * until this list is cleared or the agent registers anew.
   */
  readonly withheldPlaces?: readonly string[];
  /** Tiers that executors found, by place, of disks there that are ours or were: known at the next claim. */
  readonly tiers?: Readonly<Record<string, DiskTier>>;
  /**
   * Static reservations (to roles above ours) below those of our cpus and memory there; none when missing. One
   * kind per node and for ever, since their shape is part of what Mesos wants equal.
   */
  readonly shareBase?: readonly ReservationInfo[];
  /** How the executor of that id was started: Mesos wants it equal for as long as it runs. */
  readonly artefact?: ExecutorArtefact;
  readonly dataAddress: string | null;
  /** Where peers ask this node for lease grants (DESIGN 5). */
  readonly grantAddress: string | null;
  /** No executor that knows this grants the node a lease: it is being shut out (DESIGN 5). */
  readonly isFenced: boolean;
  /** Maintenance window in wall time, when Mesos announced one. */
  readonly unavailableFromMs: number | null;
  readonly unavailableUntilMs: number | null;
  /** The node is being emptied, or kept empty, for that window (maintenance.ts); null or missing: not. */
  readonly evacuation?: { readonly sinceMs: number } | null;
  /** Since when an operator drains the agent in Mesos (DRAIN_AGENT): a planned outage; null or missing: not. */
  readonly outageSinceMs?: number | null;
  /** An operator wants everything on this node given back (decommission.ts); null or missing: nobody does. */
  readonly decommission?: { readonly sinceMs: number } | null;
  readonly joinedAtMs: number;
  /**
   * The map version in which the node entered the map: it counts in majorities of peers from then on
   * (DESIGN 5). null before its executor's first hello.
   */
  readonly registeredAtVersion: number | null;
  /** The map version in which the node left the map for good (admin `gone`). */
  readonly removedAtVersion: number | null;
}

export type DiskKind = 'mount' | 'path' | 'root';
export type DiskTier = 'nvme' | 'ssd' | 'hdd';

/**
 * claiming: an accept call with RESERVE, CREATE and LAUNCH is on its way (or was lost). launched: its
 * task was sent. serving: its store is open. failed: taken out after an error, stays visible.
 * releasing: its data has left; task is being stopped, volume destroyed. lost: on a node that is gone.
 */
export type DiskPhase =
  | 'claiming'
  | 'launched'
  | 'serving'
  | 'down'
  | 'failed'
  | 'releasing'
  | 'lost';

export interface DiskRecord {
  readonly id: DiskId;
  readonly node: NodeId;
  readonly pool: string;
  readonly uuid: string;
  readonly kind: DiskKind;
  readonly tier: DiskTier;
  /** Root of the MOUNT or PATH source; null for the agent's root disk. */
  readonly sourceRoot: string | null;
  /** As reserved from Mesos (whole MiB there). */
  readonly sizeBytes: number;
  readonly persistenceId: string;
  readonly containerPath: string;
  readonly phase: DiskPhase;
  readonly phaseSinceMs: number;
  /** Of the current or last task; a new one with every launch. */
  readonly taskId: string | null;
  readonly taskAttempt: number;
  /** The run of the node's executor (NodeRecord) that `taskId` was launched into; 0 when absent. */
  readonly executorRun?: number;
  readonly error: string;
  /** Operator asked to move everything off this disk. */
  readonly isDraining: boolean;
  /** Taken out for its errors (disk-out.ts): emptied, and kept so until it is readmitted. */
  readonly out?: { readonly sinceMs: number; readonly reason: string } | null;
  /** It leaves its PGs, is stopped, and its volume becomes larger (growth.ts); null or missing: not now. */
  readonly growth?: {
    readonly addBytes: number;
    readonly sinceMs: number;
    readonly reason: string;
  } | null;
  /** An operator replaces this disk by another one on the same node (disk-replace.ts). */
  readonly replacement?: ReplacementRecord | null;
  /** The memory of its store (DiskReport) that PG records take for granted; absent before the first. */
  readonly incarnation?: number;
  /**
   * Nobody has looked into its directory yet: a whole MOUNT disk may hold data of others, so its volume is
   * not destroyed before an executor has opened an (empty) store there.
   */
  readonly isUnexamined?: boolean;
  /** Its directory holds something that is not ours: the volume is kept, and nothing in it is touched. */
  readonly foreign?: ForeignFinding | null;
  /** The disk whose number stands in the labels of its reservation, when it was found in that one's place. */
  readonly reservedAs?: DiskId;
  /** Its pool does not want it any more: it is emptied, then goes to pool `to`, or back to Mesos. */
  readonly unselected?: { readonly to: string | null; readonly reason: string } | null;
}

export interface ReplacementRecord {
  readonly sinceMs: number;
  /** The only place (`mount:/mnt/b`) that may take over; null: any that is offered. */
  readonly place: string | null;
  /** The disk that takes over; null before it is claimed. */
  readonly by: DiskId | null;
}

export interface PoolRecord {
  readonly name: string;
  /** Which disks it takes; absent: what `tier`, `attributes` and the manager's options say. */
  readonly selector?: PoolSelector;
  /** A disk that several pools would take goes to the one with the highest priority, 0 when absent. */
  readonly priority?: number;
  /** It is being deleted: its disks leave, it takes none. */
  readonly isLeaving?: boolean;
  readonly tier: DiskTier | null;
  readonly attributes: Readonly<Record<string, string>>;
  readonly defaultReplicas: number;
  readonly failureDomain: 'node' | 'zone';
  /** PGs per replica count in use; fixed, a power of two. */
  readonly pgCount: number;
  /** Disks claimed on a node as soon as it is offered; null for all. The rest waits for expansion. */
  readonly claimPerNode: number | null;
  /** Nodes claimed as soon as they are offered; null for all. The rest waits for expansion. */
  readonly claimNodes: number | null;
  readonly expandAtRatio: number;
  readonly fullAtRatio: number;
  /** Auto-expand stops at this many disks; null for no bound. */
  readonly diskCountMax: number | null;
  readonly expandCooldownMs: number;
  readonly isAutoExpand: boolean;
  readonly lastExpandAtMs: number;
  /** Used bytes, hour by hour, oldest first (forecast.ts); missing before the first. */
  readonly usage?: readonly UsageSample[];
  /** The last request to the capacity hook (capacity-hook.ts); null or missing before the first. */
  readonly hook?: HookRecord | null;
  /** A disk is at the hard limit: allocating writes to the pool's volumes get ENOSPC. */
  readonly isFull: boolean;
}

/** Wall time in milliseconds, and bytes that were used then. */
export type UsageSample = readonly [atMs: number, usedBytes: number];

/** See capacity-hook.ts. Times are wall time. */
export interface HookRecord {
  readonly key: string;
  readonly state: 'idle' | 'asked' | 'promised' | 'waiting';
  /** Disks asked for. */
  readonly count: number;
  readonly attempts: number;
  readonly askedAtMs: number;
  /** Not asked before this: cool-down after a promise, back-off after a failure. */
  readonly nextAtMs: number;
  /** What it said, or why it failed. */
  readonly message: string;
  readonly dayStartedAtMs: number;
  readonly disksToday: number;
}

/** PGs with one replica count of one pool: `pgBase` … `pgBase + pgCount - 1`. */
export interface PgFamilyRecord {
  readonly pool: string;
  readonly replicas: number;
  readonly pgBase: number;
  readonly pgCount: number;
  readonly minInSync: number;
}

export interface PgRecord {
  readonly id: PgId;
  readonly epoch: number;
  readonly inSync: readonly DiskId[];
  readonly joining: readonly DiskId[];
  /** Where the plan wants it; inSync becomes this in the end. */
  readonly target: readonly DiskId[];
  /** Of `inSync`: lost their memory, serve nothing (suspects.ts). Absent when there is none. */
  readonly suspects?: readonly DiskId[];
  /** See MapPg; absent when suspects never had to be trusted. */
  readonly compareEpoch?: number;
}

export type VolumePhase = 'ready' | 'deleting';

export interface VolumeRecord {
  readonly id: VolumeId;
  readonly name: string;
  readonly pool: string;
  readonly sizeBytes: number;
  readonly replicas: number;
  readonly pgBase: number;
  readonly pgCount: number;
  readonly pgOffset: number;
  readonly pgStride: number;
  readonly layer: number;
  readonly generation: number;
  readonly attachedTo: NodeId | null;
  /** Detach was asked for: the gateway closes, then `attachedTo` becomes null. */
  readonly isDetaching: boolean;
  readonly phase: VolumePhase;
  readonly durability: Durability;
  readonly createdAtMs: number;
}

export type JobKind =
  | 'rebuild'
  | 'rebalance'
  | 'drain'
  | 'expand'
  | 'delete'
  | 'scrub'
  | 'apply'
  | 'decommission'
  | 'replace'
  | 'upgrade'
  | 'uninstall';
/** paused: by an operator; only a job of kind `apply` can be. */
export type JobPhase = 'running' | 'paused' | 'done' | 'failed' | 'cancelled';

export interface JobRecord {
  readonly id: JobId;
  readonly kind: JobKind;
  readonly phase: JobPhase;
  /** What it is about: `n3`, `default`, … */
  readonly subject: string;
  readonly reason: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  readonly movesTotal: number;
  readonly movesDone: number;
  readonly totalBytes: number;
  readonly doneBytes: number;
  /** Facts worth keeping: `fillDeviationRatio`, `fairShareBytes`, … */
  readonly figures: Readonly<Record<string, number>>;
  /** Of a scrub. */
  readonly scope?: ScrubScope;
}

/** When a PG was last scrubbed, and how far the scrub that runs is with it. */
export interface ScrubRecord {
  readonly pg: PgId;
  /** The last scrub that looked at it. */
  readonly job: JobId;
  /** Replicas that this scrub is done with. */
  readonly doneDisks: readonly DiskId[];
  /** When all its replicas were done, in wall time; null: never. */
  readonly lastAtMs: number | null;
}

export type EventSeverity = 'info' | 'warning' | 'error';

export interface EventRecord {
  readonly id: number;
  readonly atMs: number;
  readonly severity: EventSeverity;
  /** `disk.failed`, `pool.expanded`, `node.down`, … */
  readonly kind: string;
  /** One sentence for a person, with the reason. */
  readonly message: string;
  readonly subject: string;
  /** The notice of a node that it was made from: the same one makes no second event. */
  readonly origin?: NoticeOrigin;
}

export interface NoticeOrigin {
  readonly node: NodeId;
  readonly source: string;
  readonly sequence: number;
}
