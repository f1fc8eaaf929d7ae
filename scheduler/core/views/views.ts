/**
 * What the operator API says of the cluster, its pools and PGs (shared/model/api-views.ts); nodes and disks
 * are in node-views.ts, volumes in volume-views.ts, jobs and events in job-views.ts. Views only read:
 * they are made of state on request and kept by nobody.
 */
import { formatDisk, formatPg, type PgId } from '../../../shared/base/ids.ts';
import type {
  CapacityView,
  ClusterView,
  PgView,
  PoolView,
} from '../../../shared/model/api-views.ts';
import { countedDisks, poolCapacity } from '../capacity/capacity.ts';
import { clusterHealth } from '../explain/health.ts';
import { fillDeviationRatio } from '../fairness.ts';
import { addCounts, countFamily, pgState, pgsOf, servingSet } from '../members/pg-state.ts';
import { isDiskServing, isNodeUp } from '../nodes/node-life.ts';
import { selectorOf } from '../pools/selection.ts';
import type { PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { capacityHookView, forecastView } from './growth-views.ts';
import { ioOf, sumIo } from './rates.ts';

export function clusterView(state: State, now: Now): ClusterView {
  const { facts, mesos, options } = state;
  const serving = servingSet(state);
  const families = [...facts.families.values()];
  const nodes = [...facts.nodes.values()].filter((node) => node.admin !== 'gone');
  const disks = [...facts.disks.values()];
  const volumes = [...facts.volumes.values()].filter((volume) => volume.phase === 'ready');
  const attached = volumes.filter((volume) => volume.attachedTo !== null);
  return {
    clusterId: facts.cluster.clusterId,
    name: facts.cluster.name,
    version: options.executor.version,
    ...clusterHealth(state, now),
    frameworkId: facts.cluster.frameworkId,
    isMesosConnected: mesos.isSubscribed,
    brake: brakeView(state),
    term: state.term,
    mapVersion: facts.cluster.mapVersion,
    uptimeSeconds: Math.max(0, (now.ms - state.startedAtMs) / 1000),
    nodeCount: nodes.length,
    nodesUp: nodes.filter((node) => isNodeUp(state, node)).length,
    diskCount: disks.length,
    disksServing: disks.filter((disk) => isDiskServing(state, disk)).length,
    volumeCount: volumes.length,
    attachedCount: attached.length,
    pgs: addCounts(families.map((family) => countFamily(state, family, serving))),
    capacity: addCapacity([...facts.pools.values()].map((pool) => poolCapacity(state, pool))),
    runningJobs: [...facts.jobs.values()].filter((job) => job.phase === 'running').length,
    io: sumIo(attached.map((volume) => ioOf(state, volume.id, now.ms))),
  };
}

export function poolViews(state: State): PoolView[] {
  const serving = servingSet(state);
  return [...state.facts.pools.values()].map((pool) => poolView(state, pool, serving));
}

/** Absent fields do not filter. `disk` (`d7`): PGs that have it in sync, joining or as a target. */
export interface PgSelection {
  readonly pool?: string;
  readonly state?: PgView['state'];
  readonly disk?: string;
}

export function pgViews(state: State, selection: PgSelection): PgView[] {
  const serving = servingSet(state);
  const views: PgView[] = [];
  for (const family of state.facts.families.values()) {
    if (selection.pool !== undefined && selection.pool !== family.pool) continue;
    for (const pg of pgsOf(state, family)) {
      const stateOfPg = pgState(pg, family, serving);
      if (selection.state !== undefined && selection.state !== stateOfPg) continue;
      const inSync = pg.inSync.map(formatDisk);
      const joining = pg.joining.map(formatDisk);
      const target = pg.target.map(formatDisk);
      const { disk } = selection;
      if (disk !== undefined && ![...inSync, ...joining, ...target].includes(disk)) continue;
      views.push({
        id: formatPg(pg.id),
        pool: family.pool,
        replicas: family.replicas,
        epoch: pg.epoch,
        state: stateOfPg,
        inSync,
        joining,
        target,
        bytes: state.pgBytes.get(pg.id) ?? 0,
        lastScrubAt: lastScrubAt(state, pg.id),
      });
    }
  }
  return views;
}

function lastScrubAt(state: State, pg: PgId): string | null {
  const atMs = state.facts.scrubs.find(pg)?.lastAtMs ?? null;
  return atMs === null ? null : new Date(atMs).toISOString();
}

/** Sums; the ratio is that of the sums. */
export function addCapacity(list: readonly CapacityView[]): CapacityView {
  const sum = (field: keyof CapacityView): number =>
    list.reduce((total, capacity) => total + capacity[field], 0);
  const rawBytes = sum('rawBytes');
  const usedBytes = sum('usedBytes');
  return {
    rawBytes,
    usedBytes,
    freeBytes: sum('freeBytes'),
    reserveBytes: sum('reserveBytes'),
    usableBytes: sum('usableBytes'),
    provisionedBytes: sum('provisionedBytes'),
    usedRatio: rawBytes === 0 ? 0 : usedBytes / rawBytes,
  };
}

function brakeView(state: State): ClusterView['brake'] {
  const brake = state.facts.cluster.brake ?? null;
  if (brake === null) return null;
  const { reason, sinceMs, isReleased } = brake;
  return {
    state: isReleased ? 'released' : 'engaged',
    reason,
    since: new Date(sinceMs).toISOString(),
  };
}

function poolView(
  state: State,
  pool: PoolRecord,
  serving: ReturnType<typeof servingSet>,
): PoolView {
  const { facts } = state;
  const families = [...facts.families.values()].filter((family) => family.pool === pool.name);
  const volumes = [...facts.volumes.values()].filter(
    (volume) => volume.pool === pool.name && volume.phase === 'ready',
  );
  return {
    name: pool.name,
    tier: pool.tier,
    defaultReplicas: pool.defaultReplicas,
    failureDomain: pool.failureDomain,
    pgCount: pool.pgCount,
    diskIds: countedDisks(state, pool.name).map((disk) => formatDisk(disk.id)),
    volumeCount: volumes.length,
    pgs: addCounts(families.map((family) => countFamily(state, family, serving))),
    capacity: poolCapacity(state, pool),
    expandAtRatio: pool.expandAtRatio,
    fullAtRatio: pool.fullAtRatio,
    isAutoExpand: pool.isAutoExpand,
    isFull: pool.isFull,
    diskCountMax: pool.diskCountMax,
    expandCooldownSeconds: pool.expandCooldownMs / 1000,
    claimPerNode: pool.claimPerNode,
    claimNodes: pool.claimNodes,
    lastExpandAt: pool.lastExpandAtMs === 0 ? null : new Date(pool.lastExpandAtMs).toISOString(),
    forecast: forecastView(state, pool),
    capacityHook: capacityHookView(state, pool),
    fillDeviationRatio: fillDeviationRatio(state, pool.name),
    selector: selectorOf(pool, state.options),
    priority: pool.priority ?? 0,
    isLeaving: pool.isLeaving === true,
  };
}
