/**
 * Everything the manager knows: durable facts (facts.ts) and what it observes (sessions, leases,
 * reports, Mesos). After a restart the facts are loaded and the rest is observed anew.
 */
import type { DiskId, NodeId, PgId } from '../../shared/base/ids.ts';
import type { NodeHello, NodeReport } from '../../shared/model/node-report.ts';
import type { UsageBook } from './capacity/usage-book.ts';
import type { ManagerOptions } from './contract.ts';
import type { Facts } from './facts.ts';
import type { MesosState } from './mesos/mesos-state.ts';
import type { Work } from './work.ts';

/** What Mesos says of the executor: `dead` is its word that the container is gone. */
export type ExecutorLife = 'unknown' | 'running' | 'dead';

export interface ObservedNode {
  session: string | null;
  hello: NodeHello | null;
  report: NodeReport | null;
  /** On the manager's clock; -Infinity before the first. */
  lastReportAtMs: number;
  /**
   * On the manager's clock: every lease granted by this manager, by an earlier one, or by peers, has
   * certainly run out then. Infinity while peers may still grant (the node is not fenced yet).
   */
  leaseEndsAtMs: number;
  /** The map version that the fence became part of; null while not fenced. */
  fenceVersion: number | null;
  /** When enough executors had acknowledged the fence; null before. */
  fencedAtMs: number | null;
  mapVersion: number;
  executor: ExecutorLife;
  /** When this manager last granted a lease; a moment after its start while it has not: an earlier one may have. */
  leaseGrantedAtMs: number;
  /** On the manager's clock: no later than this the node's executor granted a peer a lease. */
  peerGrantAtMs: number;
  /** A lease is granted, and a fence lifted, only to a node that reports at least this map version. */
  requiredVersion: number;
  /** Since when the node is neither heard nor trusted to come back at once; null while it is up. */
  awaySinceMs: number | null;
}

export interface ObservedDisk {
  usedBytes: number;
  capacityBytes: number;
}

export interface State {
  readonly options: ManagerOptions;
  readonly term: number;
  /** The store was empty when this manager began. */
  readonly isNewCluster: boolean;
  readonly facts: Facts;
  readonly nodes: Map<NodeId, ObservedNode>;
  readonly disks: Map<DiskId, ObservedDisk>;
  /** Stored bytes per PG: the largest that any in-sync member reported. */
  readonly pgBytes: Map<PgId, number>;
  /** Stored bytes per volume and node. */
  readonly usage: UsageBook;
  /** Disks that each pool wants beyond those it has, and why: set by capacity, read by offers. */
  readonly expansion: Map<string, ExpansionWish>;
  readonly mesos: MesosState;
  /** What the planners remember between steps. */
  readonly work: Work;
  /** When this manager began to lead, on its clock. */
  readonly startedAtMs: number;
}

export interface ExpansionWish {
  readonly diskCount: number;
  readonly reason: string;
}

/** The instant at which a step happens: one pair for the whole step. */
export interface Now {
  /** Monotonic milliseconds. */
  readonly ms: number;
  /** Wall time in milliseconds, for records. */
  readonly wallMs: number;
}
