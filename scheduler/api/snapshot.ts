/** One whole picture of the cluster for the dashboard, bounded in every list that can grow. */
import type { JobView, PgView } from '../../shared/model/api-views.ts';
import type { SnapshotView } from '../../shared/model/stream-view.ts';
import type { ManagerPort } from './manager-port.ts';

/** The dashboard lists this many; the API has them all. */
const UNHEALTHY_PGS_MAX = 50;
const ENDED_JOBS_MAX = 10;
/** A failure of many disks starts one job, not many; more running ones are not readable anyway. */
const RUNNING_JOBS_MAX = 50;
const EVENTS_MAX = 50;

export function takeSnapshot(manager: ManagerPort, at: string): SnapshotView {
  const cluster = manager.cluster();
  const pools = manager.pools();
  return {
    at,
    cluster,
    nodes: manager.nodes(),
    disks: manager.disks(),
    pools,
    volumes: manager.volumes(),
    attachments: manager.attachments(),
    jobs: selectJobs(manager.jobs()),
    pgSummary: {
      counts: cluster.pgs,
      byPool: pools.map((pool) => ({ pool: pool.name, counts: pool.pgs })),
      unhealthy: selectUnhealthy(manager),
    },
    events: manager.events(0, EVENTS_MAX),
  };
}

/** All running jobs, newest first, then the newest of those that ended. */
function selectJobs(jobs: readonly JobView[]): readonly JobView[] {
  const newestFirst = jobs.toSorted((one, other) => other.startedAt.localeCompare(one.startedAt));
  const running = newestFirst.filter((job) => job.state === 'running');
  const ended = newestFirst.filter((job) => job.state !== 'running');
  return [...running.slice(0, RUNNING_JOBS_MAX), ...ended.slice(0, ENDED_JOBS_MAX)];
}

function selectUnhealthy(manager: ManagerPort): readonly PgView[] {
  const { unavailable, degraded } = manager.cluster().pgs;
  // Listing PGs costs as much as there are; a healthy cluster does not pay for it every second.
  if (unavailable + degraded === 0) return [];
  return [...manager.pgs({ state: 'unavailable' }), ...manager.pgs({ state: 'degraded' })].slice(
    0,
    UNHEALTHY_PGS_MAX,
  );
}
