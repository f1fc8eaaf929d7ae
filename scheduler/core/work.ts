/**
 * What the manager remembers between steps beside facts and observations: indexes derived from the
 * facts, and flags that say which planner has something to do. Nothing here is durable; a manager that
 * starts makes it anew from the facts (bootstrap.ts), and `checkInvariants` compares the indexes with
 * their source.
 */
import type { DiskId, JobId, NodeId, PgId, VolumeId } from '../../shared/base/ids.ts';
import type { IoView } from '../../shared/model/api-views.ts';
import type { AttachmentReport } from '../../shared/model/node-report.ts';
import type { ScrubPosition } from '../../shared/model/scrub.ts';
import type { WaitReason } from './placement/move-plan.ts';

/** Of the scrub that runs (scrubs.ts); made anew from the facts when it is missing. */
export interface ScrubWork {
  readonly job: JobId;
  /** PGs still to be looked at, per disk, in order. */
  readonly queues: Map<DiskId, PgId[]>;
  readonly positions: Map<string, ScrubPosition>;
}

/** A command that is answered later: when what it waits for has happened, or at its deadline. */
export interface PendingCommand {
  readonly requestId: string;
  readonly kind: 'attach' | 'detach';
  readonly volume: VolumeId;
  /** attach: where to. */
  readonly node: NodeId | null;
  /** When it was asked for, and when it is given up; on the manager's clock. */
  readonly sinceMs: number;
  readonly deadlineMs: number;
}

/** Failures of a disk or node that came and went, on the manager's clock (trust.ts). */
export interface Distrust {
  readonly failures: number;
  readonly lastAtMs: number;
  readonly pauseMs: number;
  /** No new replicas before this. */
  readonly untilMs: number;
}

/** Samples of a running job (job-progress.ts). */
export interface JobProgress {
  readonly atMs: number;
  /** Never less than before. */
  readonly bytes: number;
  readonly moves: number;
  /** When bytes or moves last became more. */
  readonly changedAtMs: number;
  /** The rate is that since `base`; `middle` is the next base. */
  readonly base: { readonly atMs: number; readonly bytes: number };
  readonly middle: { readonly atMs: number; readonly bytes: number };
}

/** Checksum errors of a disk, as last reported, and how full the bucket is (disk-out.ts). */
export interface DiskErrors {
  readonly count: number;
  readonly level: number;
  readonly atMs: number;
}

/**
 * What a disk is good for (disk-use.ts). unborn: claimed, never held anything. serving: takes and gives
 * data. away: out of reach for a short while, keeps its place. leaving: what it holds goes elsewhere.
 */
export type DiskUse = 'unborn' | 'serving' | 'away' | 'leaving';

export type IoCounters = Pick<
  AttachmentReport,
  'generation' | 'readOps' | 'writeOps' | 'readBytes' | 'writeBytes' | 'readMicros' | 'writeMicros'
>;

/** How fast a pool fills, and what that is made of (forecast.ts). */
export interface PoolTrend {
  /** 0 or less: it does not become fuller. */
  readonly bytesPerDay: number;
  readonly sampleCount: number;
  readonly spanMs: number;
  /** It grew faster then than before. */
  readonly isOfLastDay: boolean;
}

/** Counters of an attachment as reported at one time on the manager's clock. */
export interface IoPoint {
  readonly atMs: number;
  readonly counters: IoCounters;
}

/** What rates.ts keeps of one attachment. */
export interface IoSample {
  readonly base: IoPoint;
  readonly last: IoPoint;
  readonly io: IoView;
}

/** How far the notices of one node have been taken; the budget bounds its events (notices.ts). */
export interface NoticesSeen {
  source: string;
  sequence: number;
  minuteSinceMs: number;
  recordedInMinute: number;
  /** Findings that made no event of their own, not yet told of. */
  untold: number;
}

export interface Work {
  /** PGs that have the disk as a member, in sync or joining. */
  readonly pgsOfDisk: Map<DiskId, Set<PgId>>;
  /** In how many PGs' targets the disk is. */
  readonly targetsOfDisk: Map<DiskId, number>;
  /**
   * PGs with suspects (suspects.ts): since when this manager knows it, and when it last heard of another
   * one in the PG.
   */
  readonly suspectPgs: Map<PgId, { readonly sinceMs: number; readonly latestMs: number }>;
  /** PGs whose members are not what their target says. */
  readonly unsettled: Set<PgId>;
  /** PGs whose target is shorter than their replica count: there are too few disks to choose from. */
  readonly shortTargets: Set<PgId>;
  /** Pools whose placement has to be planned again, with the cause of the last change. */
  readonly replan: Map<string, string>;
  /** When each pool may be planned again. */
  readonly replanAfterMs: Map<string, number>;
  /** Whether members, targets or joins changed since the moves were planned. */
  isMovesDirty: boolean;
  /** Whether moves or their bytes changed since the jobs were counted. */
  isJobsDirty: boolean;
  readonly nodeOfSession: Map<string, NodeId>;
  readonly pending: PendingCommand[];
  /** Volumes being detached, with the map version that told the gateway so. */
  readonly detaching: Map<VolumeId, number>;
  /** When an event was recorded, by kind, subject and message: the same one is not repeated soon. */
  readonly recentEvents: Map<string, number>;
  readonly distrust: Map<DiskId, Distrust>;
  readonly nodeDistrust: Map<NodeId, Distrust>;
  readonly diskErrors: Map<DiskId, DiskErrors>;
  /** Whose disks are emptied now for a change of pools (pool-apply.ts); null: nobody's. */
  applyTurn: NodeId | null;
  /** Disks with a growth on record (growth.ts): at most one. */
  readonly growing: Set<DiskId>;
  /** Growth of each pool (forecast.ts), made anew with every sample; null: too few samples. */
  readonly forecasts: Map<string, PoolTrend | null>;
  /** When a disk whose growth led nowhere may be tried again. */
  readonly growAfterMs: Map<DiskId, number>;
  /** Offers that showed a stopped disk's volume as it was. */
  readonly growAttempts: Map<DiskId, number>;
  /** Since when a node that is taken out has no disk any more, as far as this manager has seen (decommission.ts). */
  readonly emptySinceMs: Map<NodeId, number>;
  /** Since when everything has been whole, for upgrades; null: it is not, or nobody has looked (upgrade.ts). */
  wholeSinceMs: number | null;
  /** Since when no disk is left of a cluster that is uninstalled, as far as this manager has seen. */
  bareSinceMs: number | null;
  /** Nodes to which nothing new shall come: their maintenance is near (maintenance.ts). */
  readonly avoidedNodes: Set<NodeId>;
  /** What each disk was good for when it was last looked at (disk-use.ts): a change plans anew. */
  readonly diskUses: Map<DiskId, DiskUse>;
  /** Since when a disk that holds or should hold PGs is out of reach. */
  readonly diskAwaySinceMs: Map<DiskId, number>;
  /** Why each pool's placement is not as its policy asks; empty when it is. */
  readonly explanations: Map<string, readonly string[]>;
  /** What PGs that should move waited for when moves were last planned. */
  moveWaits: ReadonlyMap<PgId, WaitReason>;
  readonly ioSamples: Map<VolumeId, IoSample>;
  /** When leases were last looked at; -Infinity before the first time. */
  leasesSeenAtMs: number;
  /** Which notices of each node have become events (notices.ts). */
  readonly notices: Map<NodeId, NoticesSeen>;
  /** Of the scrub that runs (scrubs.ts). */
  scrub: ScrubWork | null;
  /** Nobody is fenced for silence before this: it was the manager that did not listen. */
  patienceUntilMs: number;
  /** Clock times at which slower planners are due. */
  nextCapacityAtMs: number;
  nextMovesAtMs: number;
  nextJobsAtMs: number;
  nextProgressAtMs: number;
  readonly jobProgress: Map<JobId, JobProgress>;
  /** When each pool may ask for another expansion. */
  readonly expandAfterMs: Map<string, number>;
  /** When a lasting condition was last put into an event, by its kind and subject. */
  readonly saidAtMs: Map<string, number>;
  /** When executors that did not say hello yet are told of this manager again, and how long after that (announce.ts). */
  announceAtMs: number;
  announceWaitMs: number;
}

export function createWork(): Work {
  return {
    pgsOfDisk: new Map(),
    targetsOfDisk: new Map(),
    suspectPgs: new Map(),
    unsettled: new Set(),
    shortTargets: new Set(),
    replan: new Map(),
    replanAfterMs: new Map(),
    isMovesDirty: true,
    isJobsDirty: true,
    nodeOfSession: new Map(),
    pending: [],
    detaching: new Map(),
    recentEvents: new Map(),
    distrust: new Map(),
    nodeDistrust: new Map(),
    diskErrors: new Map(),
    applyTurn: null,
    forecasts: new Map(),
    growing: new Set(),
    growAfterMs: new Map(),
    growAttempts: new Map(),
    emptySinceMs: new Map(),
    wholeSinceMs: null,
    bareSinceMs: null,
    avoidedNodes: new Set(),
    diskUses: new Map(),
    diskAwaySinceMs: new Map(),
    explanations: new Map(),
    moveWaits: new Map(),
    ioSamples: new Map(),
    notices: new Map(),
    scrub: null,
    leasesSeenAtMs: Number.NEGATIVE_INFINITY,
    patienceUntilMs: Number.NEGATIVE_INFINITY,
    nextCapacityAtMs: Number.NEGATIVE_INFINITY,
    nextMovesAtMs: Number.NEGATIVE_INFINITY,
    nextJobsAtMs: Number.NEGATIVE_INFINITY,
    nextProgressAtMs: Number.NEGATIVE_INFINITY,
    jobProgress: new Map(),
    expandAfterMs: new Map(),
    saidAtMs: new Map(),
    announceAtMs: Number.NEGATIVE_INFINITY,
    announceWaitMs: 0,
  };
}
