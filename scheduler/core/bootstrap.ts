/**
 * The state with which a manager begins its term: the facts of the store, or those of a new cluster.
 * Everything observed starts empty, and cautious: leases of an earlier manager count as running.
 */
import { StorageError } from '../../shared/base/errors.ts';
import type { StoreEntry } from '../../shared/ports.ts';
import { UsageBook } from './capacity/usage-book.ts';
import type { ManagerOptions } from './contract.ts';
import { recordEvent } from './events.ts';
import { Facts } from './facts.ts';
import { indexPg } from './members/members.ts';
import { createMesosState } from './mesos/mesos-state.ts';
import { observedNode } from './nodes/node-life.ts';
import { restoreNotices } from './notices.ts';
import type { ClusterRecord, PoolRecord } from './records.ts';
import type { Now, State } from './state.ts';
import { createWork } from './work.ts';

export const DEFAULT_POOL = 'default';
/** Two copies survive any single failure, and a cluster of two nodes can hold them. */
const DEFAULT_REPLICAS = 2;

export interface Setup {
  readonly options: ManagerOptions;
  /** Everything in the metadata store; empty for a new cluster. */
  readonly entries: readonly StoreEntry[];
  readonly term: number;
  /** Used only when the store is empty. */
  readonly newClusterId: string;
}

/**
 * Throws `corrupt` when the store cannot be read, `foreign-data` when it is another cluster's. The
 * facts of a new cluster are all changed: the shell commits them before anything else.
 */
export function createState(setup: Setup, now: Now): State {
  const { options, term } = setup;
  const loaded = Facts.load(setup.entries);
  if (loaded !== null && loaded.cluster.name !== options.clusterName) {
    throw new StorageError(
      'foreign-data',
      `Metadata store holds cluster "${loaded.cluster.name}", this scheduler is for cluster "${options.clusterName}"`,
      { found: loaded.cluster.name, expected: options.clusterName },
    );
  }
  const facts = loaded ?? new Facts(newCluster(setup, now));
  const state: State = {
    options,
    term,
    isNewCluster: loaded === null,
    facts,
    nodes: new Map(),
    disks: new Map(),
    pgBytes: new Map(),
    usage: new UsageBook(),
    expansion: new Map(),
    mesos: createMesosState(now.ms),
    work: createWork(),
    startedAtMs: now.ms,
  };
  if (loaded === null) begin(state, now);
  restoreObservations(state, now);
  restoreNotices(state);
  for (const pg of facts.pgs.values()) indexPg(state, pg);
  for (const pool of facts.pools.values()) state.work.replan.set(pool.name, 'manager started');
  return state;
}

function newCluster(setup: Setup, now: Now): ClusterRecord {
  return {
    clusterId: setup.newClusterId,
    name: setup.options.clusterName,
    frameworkId: null,
    nextNode: 1,
    nextDisk: 1,
    nextVolume: 1,
    nextPg: 0,
    nextJob: 1,
    nextEvent: 1,
    mapVersion: 0,
    votersSettledVersion: 0,
    createdAtMs: now.wallMs,
  };
}

function begin(state: State, now: Now): void {
  const { options, facts } = state;
  const pool: PoolRecord = {
    name: DEFAULT_POOL,
    tier: null,
    attributes: {},
    defaultReplicas: DEFAULT_REPLICAS,
    failureDomain: 'node',
    pgCount: options.defaultPgCount,
    claimPerNode: options.claimPerNode,
    claimNodes: options.claimNodes,
    expandAtRatio: options.expandAtRatio,
    fullAtRatio: options.fullAtRatio,
    diskCountMax: null,
    expandCooldownMs: options.expandCooldownMs,
    isAutoExpand: true,
    lastExpandAtMs: 0,
    isFull: false,
  };
  facts.pools.put(pool);
  recordEvent(
    state,
    {
      severity: 'info',
      kind: 'cluster.created',
      message: `Cluster "${options.clusterName}" begins with pool "${DEFAULT_POOL}": the metadata store was empty`,
      subject: 'cluster',
    },
    now,
  );
}

/** A fence outlives the manager that made it; who acknowledged it is asked again. */
function restoreObservations(state: State, now: Now): void {
  for (const node of state.facts.nodes.values()) {
    const observed = observedNode(state, node.id);
    observed.awaySinceMs = now.ms;
    if (node.isFenced) observed.fenceVersion = state.facts.cluster.mapVersion;
  }
  for (const disk of state.facts.disks.values()) {
    if ((disk.growth ?? null) !== null) state.work.growing.add(disk.id);
  }
  for (const volume of state.facts.volumes.values()) {
    if (volume.isDetaching) state.work.detaching.set(volume.id, state.facts.cluster.mapVersion);
  }
}
