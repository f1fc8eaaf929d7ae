/**
 * All that can happen to the manager (`Event`) and all that it can do (`Effect`).
 *
 * Order of one step (DESIGN 11): `step(state, event, now)` changes facts and returns effects; the shell
 * commits the changed facts as one transaction; only then the effects leave, in the order
 * given: Mesos calls, messages to executors, answers to API callers. When the commit fails nothing
 * leaves, and the process stops leading.
 */
import type { StorageError } from '../../shared/base/errors.ts';
import type { DiskId, JobId, NodeId, VolumeId } from '../../shared/base/ids.ts';
import type { SchedulerCall, SchedulerEvent } from '../../shared/mesos/scheduler-messages.ts';
import type { Announcement } from '../../shared/model/announcement.ts';
import type { CapacityOutcome, CapacityRequest } from '../../shared/model/capacity-hook.ts';
import type { Durability } from '../../shared/model/cluster-map.ts';
import type { NodeHello, NodeReport } from '../../shared/model/node-report.ts';
import type { NewPool, PoolDocument, PoolSettings } from '../../shared/model/pool-settings.ts';
import type { ScrubOrder, ScrubScope } from '../../shared/model/scrub.ts';

export type Event =
  /** Planners run. About four times a second. */
  | { readonly kind: 'tick' }
  /** Anything on the subscription, in Mesos' own form. */
  | { readonly kind: 'mesos'; readonly event: SchedulerEvent }
  | { readonly kind: 'mesos-disconnected'; readonly reason: string }
  /** An executor opened a control session. */
  | { readonly kind: 'node-hello'; readonly session: string; readonly hello: NodeHello }
  | {
      readonly kind: 'node-report';
      readonly session: string;
      readonly sequence: number;
      readonly report: NodeReport;
    }
  | { readonly kind: 'node-closed'; readonly session: string; readonly reason: string }
  | { readonly kind: 'capacity-answer'; readonly key: string; readonly outcome: CapacityOutcome }
  | { readonly kind: 'command'; readonly requestId: string; readonly command: Command };

/** `call` without `framework_id`, which the Mesos adapter adds. */
export type Effect =
  | { readonly kind: 'mesos-call'; readonly call: SchedulerCall }
  /** The session is this node's from now on: it gets the full map, then deltas. */
  | { readonly kind: 'welcome'; readonly session: string; readonly node: NodeId }
  | { readonly kind: 'refuse'; readonly session: string; readonly reason: string }
  /** Answers a report: the lease runs `durationMs` from the moment the node sent that report. */
  | {
      readonly kind: 'lease';
      readonly session: string;
      readonly sequence: number;
      readonly durationMs: number;
    }
  | { readonly kind: 'close-session'; readonly session: string; readonly reason: string }
  /** Tells the executor that answers grants at `to` where this manager is. May get lost. */
  | { readonly kind: 'announce'; readonly to: string; readonly announcement: Announcement }
  /** Everything that the session's node shall scrub now. */
  | { readonly kind: 'scrubs'; readonly session: string; readonly orders: readonly ScrubOrder[] }
  /** Ask the operator's hook for disks; exactly one `capacity-answer` event follows. */
  | { readonly kind: 'capacity-hook'; readonly request: CapacityRequest }
  | { readonly kind: 'reply'; readonly requestId: string; readonly result: CommandResult }
  /** Stop leading, with an explanation (another scheduler took over, framework removed, …). */
  | {
      readonly kind: 'abdicate';
      readonly reason: string;
      /** Leading again would end in the same way until an operator acts: the process ends. */
      readonly isPermanent?: boolean;
    };

export type CommandResult =
  | { readonly kind: 'done'; readonly id: number | null }
  | { readonly kind: 'failed'; readonly error: StorageError };

/** What operators ask for. Raw input: every field is validated in the core, which knows the limits. */
export type Command =
  | {
      readonly kind: 'create-volume';
      readonly name: string;
      readonly sizeBytes: number;
      readonly replicas: number | null;
      readonly pool: string | null;
      /** `flush` when not given. */
      readonly durability?: Durability | null;
    }
  | {
      readonly kind: 'update-volume';
      readonly volume: VolumeId;
      readonly changes: { readonly durability?: Durability };
    }
  | { readonly kind: 'delete-volume'; readonly volume: VolumeId; readonly isForced: boolean }
  | {
      readonly kind: 'attach-volume';
      readonly volume: VolumeId;
      /** null: the manager picks the node. */
      readonly node: NodeId | null;
      /** The operator's word that the node it is attached to is dead. */
      readonly isForced: boolean;
    }
  | { readonly kind: 'detach-volume'; readonly volume: VolumeId; readonly isForced: boolean }
  | { readonly kind: 'drain-node'; readonly node: NodeId }
  | { readonly kind: 'activate-node'; readonly node: NodeId }
  /** The operator's word that the node will never come back. */
  | { readonly kind: 'forget-node'; readonly node: NodeId }
  /** Empty it, destroy its volumes, give its reservations back, forget it. */
  | { readonly kind: 'decommission-node'; readonly node: NodeId }
  | { readonly kind: 'drain-disk'; readonly disk: DiskId }
  /** `place`: only that one (`/mnt/b`, `mount:/mnt/b`) may take over; null: any on the same node. */
  | { readonly kind: 'replace-disk'; readonly disk: DiskId; readonly place: string | null }
  | { readonly kind: 'upgrade'; readonly action: UpgradeAction }
  /** `name`: of the cluster, typed by the operator; with volumes left `isForced` as well. */
  | { readonly kind: 'uninstall'; readonly name: string; readonly isForced: boolean }
  | { readonly kind: 'activate-disk'; readonly disk: DiskId }
  /** Let a disk that was taken out for its errors hold data again. */
  | { readonly kind: 'readmit-disk'; readonly disk: DiskId }
  /** Rebuild although much is away at once (brake.ts). */
  | { readonly kind: 'release-brake' }
  | { readonly kind: 'cancel-job'; readonly job: JobId }
  /** `isScheduled`: by the clock, not by an operator. */
  | {
      readonly kind: 'start-scrub';
      readonly scope: ScrubScope;
      readonly isScheduled: boolean;
    }
  | { readonly kind: 'create-pool'; readonly pool: NewPool }
  | { readonly kind: 'update-pool'; readonly pool: string; readonly changes: PoolSettings }
  | { readonly kind: 'delete-pool'; readonly pool: string }
  /** null: bring the disks in line with the pools as they are. */
  | { readonly kind: 'apply-pools'; readonly document: PoolDocument | null }
  | { readonly kind: 'pause-job'; readonly job: JobId }
  | { readonly kind: 'resume-job'; readonly job: JobId };

export const UPGRADE_ACTIONS = ['start', 'pause', 'resume', 'rollback'] as const;
export type UpgradeAction = (typeof UPGRADE_ACTIONS)[number];

/** Settings of the manager; fixed while it leads. All durations in milliseconds. */
export interface ManagerOptions {
  readonly clusterName: string;
  readonly role: string;
  readonly principal: string;
  readonly user: string;
  /** Ids of clusters whose reservations in our role are no sign of a lost store (mesos/lost-store.ts). */
  readonly ignoredClusters?: readonly string[];
  readonly webuiUrl: string | null;
  readonly failoverTimeoutSeconds: number;
  /** DESIGN 5: 4000. */
  readonly leaseMs: number;
  /** A node that was silent for this long is fenced; well below the lease. */
  readonly silentMs: number;
  /** Added to every lease before it counts as run out: for clocks that run at different speeds. */
  readonly leaseMarginMs: number;
  /** A member that failed on a living node is removed after this; a restart of its process is faster. */
  readonly memberFailureMs: number;
  /**
   * How long a PG whose other members lost their memory waits for one that is away and may have it;
   * default five minutes.
   */
  readonly suspectWaitMs?: number;
  /** Replicas of a node that went away move elsewhere after this. */
  readonly rebuildAfterMs: number;
  /** The same for a node that an operator drains in Mesos (DRAIN_AGENT); default half an hour. */
  readonly plannedOutageMs?: number;
  /** A mass failure within this engages the brake (brake.ts); 0: never; missing: ten minutes. */
  readonly brakeWindowMs?: number;
  /** A disk that was taken out for its errors comes back after this; null or missing: by an operator only. */
  readonly diskReadmitAfterMs?: number | null;
  /** Per node, for rebuild, rebalance and drain together. */
  readonly resyncBytesPerSecond: number;
  readonly concurrentJoinsPerDisk: number;
  readonly defaultPgCount: number;
  /** See PoolRecord. */
  readonly claimPerNode: number | null;
  readonly claimNodes: number | null;
  readonly expandAtRatio: number;
  readonly fullAtRatio: number;
  readonly expandCooldownMs: number;
  /** A pool that would be full within this is expanded before it reaches `expandAtRatio`; 0 or missing: not. */
  readonly expandLeadMs?: number;
  /** What attaches disks when offers have none (capacity-hook.ts); null or missing: nothing does. */
  readonly capacityHook?: CapacityHookOptions | null;
  /** Thin volumes may add up to this many times the pool's usable capacity. */
  readonly overcommitRatio: number;
  /** What is carved from a PATH or root disk for one of ours; null or missing for all of it. */
  readonly carveBytes?: number | null;
  /** Whether the agents' root disks (their work directories) may be used. */
  readonly isRootDiskAllowed?: boolean;
  /** `host:port` of the control server as executors reach it. */
  readonly controlAddress: string;
  readonly executor: ExecutorArtefact;
  /** Other versions that this scheduler can still start: for nodes that are not upgraded yet, and for rolling back. */
  readonly earlierExecutors?: readonly ExecutorArtefact[];
}

export interface CapacityHookOptions {
  /** After a promise it is left alone for so long. */
  readonly cooldownMs: number;
  /** Disks that it is asked for in one pool within 24 hours, at most. */
  readonly disksPerDay: number;
  /** For one answer. */
  readonly deadlineMs: number;
  readonly isDryRun: boolean;
}

/** The operator's way to attach disks. */
export interface CapacityHookPort {
  /** Calls back exactly once, within the hook's deadline. */
  ask(request: CapacityRequest, done: (outcome: CapacityOutcome) => void): void;
}

/** How Mesos starts our executor: equal for one executor id, for ever (MESOS 1.11). */
export interface ExecutorArtefact {
  /** Part of the executor id: another artefact, another id. */
  readonly version: string;
  readonly command: string;
  /** Fetched into the sandbox; empty in development, where `command` names a path. */
  readonly uris: readonly { readonly value: string; readonly sha256: string }[];
  /** Docker image in which Mesos' own containerizer runs it; missing for none. */
  readonly image?: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly cpus: number;
  readonly memoryMb: number;
  readonly taskCpus: number;
  readonly taskMemoryMb: number;
}
