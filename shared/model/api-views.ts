/**
 * What the operator API says: the answers under `/v1`, made by `scheduler/core/views/views.ts`, drawn by the
 * CLI and the dashboard. Ids are in their readable form (`n3`, `d7`, `v5`, `pg12`, `j4`); sizes are
 * bytes; times are ISO 8601.
 */

import type { PoolSelector } from './pool-selector.ts';

/** ok: nothing to do. degraded: works, redundancy is being restored. critical: I/O waits or data is at risk. */
export type Health = 'ok' | 'degraded' | 'critical';

/** One reason why something is not green: what, since when, what happens by itself. */
export interface HealthReason {
  readonly subject: string;
  readonly message: string;
  /** What the cluster does about it by itself, or the one thing an operator may do. */
  readonly next: string;
}

/** Adds up: raw = used + free + reserve is not double counted (reserve is part of free). */
export interface CapacityView {
  readonly rawBytes: number;
  readonly usedBytes: number;
  readonly freeBytes: number;
  /** Part of free kept for rebuilding the largest failure domain. */
  readonly reserveBytes: number;
  /** What new data can still take, after replication, up to the hard limit. */
  readonly usableBytes: number;
  /** Sizes of all volumes together (thin). */
  readonly provisionedBytes: number;
  readonly usedRatio: number;
}

export interface PgCounts {
  readonly total: number;
  readonly clean: number;
  /** Fewer replicas in sync than wanted. */
  readonly degraded: number;
  /** All replicas in sync, but not where the plan wants them. */
  readonly misplaced: number;
  /** Fewer in sync than needed for writes. */
  readonly unavailable: number;
}

/** engaged: re-replication waits. released: an operator lets it go on; it ends when enough came back. */
export interface BrakeView {
  readonly state: 'engaged' | 'released';
  readonly reason: string;
  readonly since: string;
}

export interface ClusterView {
  readonly clusterId: string;
  readonly name: string;
  readonly version: string;
  readonly health: Health;
  readonly reasons: readonly HealthReason[];
  readonly frameworkId: string | null;
  readonly isMesosConnected: boolean;
  /** The brake on mass failure; null while it holds nothing back and none was released. */
  readonly brake: BrakeView | null;
  readonly term: number;
  readonly mapVersion: number;
  readonly uptimeSeconds: number;
  readonly nodeCount: number;
  readonly nodesUp: number;
  readonly diskCount: number;
  readonly disksServing: number;
  readonly volumeCount: number;
  readonly attachedCount: number;
  readonly pgs: PgCounts;
  readonly capacity: CapacityView;
  readonly runningJobs: number;
  /** Sums over all attachments, over the last few seconds. */
  readonly io: IoView;
}

export interface IoView {
  readonly readOpsPerSecond: number;
  readonly writeOpsPerSecond: number;
  readonly readBytesPerSecond: number;
  readonly writeBytesPerSecond: number;
  readonly readLatencyMs: number | null;
  readonly writeLatencyMs: number | null;
}

export interface NodeView {
  readonly id: string;
  readonly hostname: string;
  readonly agentId: string;
  readonly zone: string | null;
  readonly region: string | null;
  readonly attributes: Readonly<Record<string, string>>;
  /** up: session and lease. down: neither. starting: claimed, executor not heard yet. */
  readonly state: 'starting' | 'up' | 'down' | 'fenced' | 'draining' | 'drained' | 'gone';
  readonly stateReason: string;
  readonly dataAddress: string | null;
  readonly diskIds: readonly string[];
  readonly attachedVolumes: readonly string[];
  readonly capacity: CapacityView;
  readonly lastSeenAt: string | null;
  readonly executorId: string;
  readonly cpuSeconds: number | null;
  readonly memoryBytes: number | null;
  /** Bytes that background work has moved or read there, by class, since its data process started. */
  readonly backgroundBytes: Readonly<Record<string, number>>;
}

export interface DiskView {
  readonly id: string;
  readonly uuid: string;
  readonly node: string;
  readonly hostname: string;
  readonly pool: string;
  readonly kind: 'mount' | 'path' | 'root';
  readonly tier: 'nvme' | 'ssd' | 'hdd';
  readonly sourceRoot: string | null;
  readonly path: string | null;
  readonly state: 'claiming' | 'launched' | 'serving' | 'down' | 'failed' | 'releasing' | 'lost';
  readonly error: string;
  readonly isDraining: boolean;
  /** Why it was taken out for its errors; empty while it is not. */
  readonly outReason: string;
  /** Why it leaves its pool; empty while it does not. */
  readonly leavingReason: string;
  /** What was found in its directory that is not ours, where, and what to do; empty when there is nothing. */
  readonly foreign: string;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  readonly usedRatio: number;
  readonly pgCount: number;
  readonly checksumErrorCount: number;
  readonly taskId: string | null;
}

/** When a pool will be full if it goes on as it did, and what that is made of. */
export interface ForecastView {
  /** 0 or less: it does not become fuller. */
  readonly bytesPerDay: number;
  /** Until writes that need new space are refused; null: not as things are. */
  readonly fullInSeconds: number | null;
  readonly sampleCount: number;
  readonly spanSeconds: number;
  /** One sentence: growth, span, samples. */
  readonly basis: string;
  /** A pool that will be full sooner than this is expanded; 0: a forecast alone is no reason. */
  readonly leadSeconds: number;
}

/** The last request to the operator's capacity hook. */
export interface CapacityHookView {
  readonly state: 'idle' | 'asked' | 'promised' | 'waiting';
  readonly key: string;
  readonly diskCount: number;
  readonly attempts: number;
  readonly askedAt: string;
  /** Not asked again before this; null: it may be. */
  readonly nextAt: string | null;
  readonly message: string;
  readonly disksToday: number;
  readonly disksPerDay: number;
}

export interface PoolView {
  readonly name: string;
  readonly tier: 'nvme' | 'ssd' | 'hdd' | null;
  readonly defaultReplicas: number;
  readonly failureDomain: 'node' | 'zone';
  readonly pgCount: number;
  readonly diskIds: readonly string[];
  readonly volumeCount: number;
  readonly pgs: PgCounts;
  readonly capacity: CapacityView;
  readonly expandAtRatio: number;
  readonly fullAtRatio: number;
  readonly isAutoExpand: boolean;
  readonly isFull: boolean;
  readonly diskCountMax: number | null;
  readonly expandCooldownSeconds: number;
  readonly claimPerNode: number | null;
  readonly claimNodes: number | null;
  readonly lastExpandAt: string | null;
  /** null: too few samples yet; one is taken each hour. */
  readonly forecast: ForecastView | null;
  /** null: there is no hook, or it was never asked. */
  readonly capacityHook: CapacityHookView | null;
  /** Largest distance of a disk's fill from the mean fill, as a ratio of the mean. */
  readonly fillDeviationRatio: number;
  /** Which disks it takes; `priority` decides between pools that would take the same. */
  readonly selector: PoolSelector;
  readonly priority: number;
  /** It is being deleted. */
  readonly isLeaving: boolean;
}

export interface PgView {
  readonly id: string;
  readonly pool: string;
  readonly replicas: number;
  readonly epoch: number;
  readonly state: 'clean' | 'degraded' | 'misplaced' | 'unavailable';
  readonly inSync: readonly string[];
  readonly joining: readonly string[];
  readonly target: readonly string[];
  readonly bytes: number;
  /** When all its replicas were last scrubbed; null: never. */
  readonly lastScrubAt: string | null;
}

export interface AttachmentView {
  readonly volume: string;
  readonly volumeName: string;
  readonly node: string;
  readonly hostname: string;
  readonly generation: number;
  readonly state: 'waiting' | 'opening' | 'serving' | 'paused' | 'closing';
  readonly reason: string;
  /** `nbd+unix:///name?socket=…`, on that node. */
  readonly unixUri: string | null;
  readonly tcpUri: string | null;
  readonly clientCount: number;
  readonly io: IoView;
}

export interface VolumeView {
  readonly id: string;
  readonly name: string;
  readonly pool: string;
  readonly sizeBytes: number;
  readonly replicas: number;
  /** Stored once, without replication. */
  readonly usedBytes: number;
  readonly durability: 'flush' | 'writethrough';
  readonly state: 'ready' | 'attached' | 'attaching' | 'detaching' | 'deleting';
  readonly health: Health;
  readonly reasons: readonly HealthReason[];
  readonly attachment: AttachmentView | null;
  readonly createdAt: string;
}

export interface JobView {
  readonly id: string;
  readonly kind:
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
  readonly state: 'running' | 'paused' | 'done' | 'failed' | 'cancelled';
  readonly subject: string;
  readonly reason: string;
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly movesTotal: number;
  readonly movesDone: number;
  readonly totalBytes: number;
  readonly doneBytes: number;
  readonly progressRatio: number;
  readonly bytesPerSecond: number | null;
  readonly etaSeconds: number | null;
  readonly figures: Readonly<Record<string, number>>;
}

export interface UpgradeNodeView {
  readonly node: string;
  readonly hostname: string;
  readonly version: string;
  /** done: runs the target. current: is being restarted. waiting: its turn comes. */
  readonly state: 'done' | 'current' | 'waiting';
}

/** The executors' versions, and how far they are. */
export interface UpgradeView {
  /** none: all run what this scheduler brings. available: some do not, and nobody has started it. */
  readonly state: 'none' | 'available' | 'running' | 'paused' | 'stopped' | 'done';
  /** What this scheduler brings. */
  readonly version: string;
  /** Where it goes, and where a rollback goes; null while there was none. */
  readonly target: string | null;
  readonly previous: string | null;
  readonly isRollback: boolean;
  /** Why it is paused or stopped, or what it waits for; empty while it gets on. */
  readonly reason: string;
  readonly nodes: readonly UpgradeNodeView[];
}

export interface UninstallStepView {
  readonly name: 'volumes' | 'disks' | 'executors' | 'verify' | 'teardown';
  readonly state: 'waiting' | 'running' | 'done';
  /** What is there, or still left. */
  readonly detail: string;
}

/** What giving everything back means, and how far it is. */
export interface UninstallView {
  /** none: nobody asked for it. */
  readonly state: 'none' | 'releasing' | 'tearing-down' | 'done';
  readonly clusterName: string;
  /** Why it would be refused without force; empty when it would not. */
  readonly blockers: readonly string[];
  readonly steps: readonly UninstallStepView[];
}

export interface EventView {
  readonly id: number;
  readonly at: string;
  readonly severity: 'info' | 'warning' | 'error';
  readonly kind: string;
  readonly message: string;
  readonly subject: string;
}

/** Every error answer. */
export interface ErrorView {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}
