/**
 * Pools as operators declare them, one by one or all in one document, and the plan of what that changes. The
 * manager checks all of it (`scheduler/core/pools/pool-settings.ts`).
 */
import type { PoolSelector } from './pool-selector.ts';

/** What is not given stays as it is; for a new pool it is the default. */
export interface PoolSettings {
  readonly expandAtRatio?: number;
  readonly fullAtRatio?: number;
  readonly diskCountMax?: number | null;
  readonly expandCooldownMs?: number;
  readonly isAutoExpand?: boolean;
  readonly claimPerNode?: number | null;
  readonly claimNodes?: number | null;
  readonly defaultReplicas?: number;
  readonly failureDomain?: 'node' | 'zone';
  readonly priority?: number;
  readonly selector?: Partial<PoolSelector>;
}

/** `pgCount` is for ever, so it can be given for a new pool only. */
export interface NewPool extends PoolSettings {
  readonly name: string;
  readonly pgCount?: number;
}

export interface PoolDocument {
  /** A selector that is given is whole: what it leaves out is the default, not what was there. */
  readonly pools: readonly NewPool[];
  /** Pools that are not named are deleted (never the default one). */
  readonly isWhole: boolean;
}

export const PLAN_STEP_KINDS = [
  'create-pool',
  'change-pool',
  'delete-pool',
  'move-disk',
  'release-disk',
  'claim-disk',
] as const;

export interface PlanStepView {
  readonly kind: (typeof PLAN_STEP_KINDS)[number];
  readonly pool: string;
  /** Where a disk goes; null when it goes back to Mesos, or the step is about something else. */
  readonly toPool: string | null;
  /** `n3`; null for an agent that is no node yet, and for steps about pools. */
  readonly node: string | null;
  readonly hostname: string | null;
  /** `d7`; null for a disk that is yet to be claimed. */
  readonly disk: string | null;
  /** `mount:/mnt/a`, `root:`. */
  readonly place: string | null;
  readonly sizeBytes: number | null;
  /** What has to be copied elsewhere first. */
  readonly replicasToMove: number;
  readonly dataBytes: number;
  readonly reason: string;
}

export interface PlanView {
  /** In the order in which they are carried out; disks that are claimed come as Mesos offers them. */
  readonly steps: readonly PlanStepView[];
  readonly replicasToMove: number;
  readonly dataBytes: number;
  /** What the plan does not know, or cannot do. */
  readonly notes: readonly string[];
  /** The job that carries it out now; null when none does. */
  readonly job: string | null;
}
