/**
 * Why something that an agent offered was not taken: typed at the place that decides (`mesos/offers.ts`,
 * `pools/selection.ts`), kept per agent until its next offer, and shown by `cistern node explain`.
 */
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import type { DiskKind } from '../records.ts';

export type PassKind =
  /** Of the whole agent. */
  | 'not-reconciled'
  | 'strange-labels'
  | 'lost-store'
  | 'maintenance'
  | 'cool-down'
  | 'node-not-active'
  | 'node-away'
  | 'executor-in-doubt'
  | 'resources'
  /** Of one disk. */
  | 'role'
  | 'kind'
  | 'size'
  | 'path'
  | 'tier'
  | 'attribute'
  | 'root-without-consent'
  | 'share-reached'
  | 'disks-per-node-reached'
  | 'node-count-reached'
  | 'place-taken'
  | 'withheld'
  | 'own-nodes-first'
  | 'paused'
  | 'foreign-data'
  | 'nothing-wanted';

export interface PassReason {
  readonly kind: PassKind;
  /** The pool that did not want it; null when it is not about a pool. */
  readonly pool: string | null;
  /** One sentence without its end, with what was asked for and what there is. */
  readonly message: string;
}

/** One disk resource of an offer, and what came of it. */
export interface SeenDisk {
  /** null: a kind that is never used (RAW, BLOCK). */
  readonly kind: DiskKind | null;
  readonly root: string | null;
  readonly sizeBytes: number;
  /** free: could have been taken. ours: carries our labels. foreign: reserved to others, or not ours to take. */
  readonly owner: 'free' | 'ours' | 'foreign';
  /** The disk it is, or that it was claimed for in this step. */
  readonly disk: DiskId | null;
  /** Why it was not taken, one reason per pool that looked at it; empty when it was, or is ours. */
  readonly reasons: readonly PassReason[];
}

/** One agent as its last offer showed it. Observed only: a new manager begins without. */
export interface SeenAgent {
  readonly agentId: string;
  readonly hostname: string;
  readonly node: NodeId | null;
  readonly attributes: Readonly<Record<string, string>>;
  readonly zone: string | null;
  readonly region: string | null;
  /** On the manager's clock. */
  readonly atMs: number;
  readonly answer: 'accepted' | 'declined';
  /** Why nothing of it was taken, whatever its disks are; null when its disks were looked at. */
  readonly reason: PassReason | null;
  readonly disks: readonly SeenDisk[];
  /** What became of its offers before, newest first; at most SEEN_EARLIER_MAX. */
  readonly earlier: readonly SeenAnswer[];
}

/** What became of one offer. */
export interface SeenAnswer {
  readonly atMs: number;
  readonly answer: 'accepted' | 'declined';
  /** One sentence. */
  readonly why: string;
}

/** Enough to see a pattern; a declined agent offers again after seconds to an hour. */
export const SEEN_EARLIER_MAX = 5;
/** Agents that are remembered; more than a master of any size that we plan for has. */
export const SEEN_AGENTS_MAX = 8192;
/** Disks of one agent that are remembered. */
export const SEEN_DISKS_MAX = 64;
