/**
 * One message of `GET /v1/stream`: everything the dashboard draws, whole, so that a client that
 * missed some needs only the next one.
 */
import type {
  AttachmentView,
  ClusterView,
  DiskView,
  EventView,
  JobView,
  NodeView,
  PgCounts,
  PgView,
  PoolView,
  VolumeView,
} from './api-views.ts';

export interface PgSummaryView {
  readonly counts: PgCounts;
  readonly byPool: readonly { readonly pool: string; readonly counts: PgCounts }[];
  /** PGs that are degraded or unavailable, the worst first; bounded (see scheduler/api/snapshot.ts). */
  readonly unhealthy: readonly PgView[];
}

export interface SnapshotView {
  /** When the scheduler made it, ISO 8601. */
  readonly at: string;
  readonly cluster: ClusterView;
  readonly nodes: readonly NodeView[];
  readonly disks: readonly DiskView[];
  readonly pools: readonly PoolView[];
  readonly volumes: readonly VolumeView[];
  readonly attachments: readonly AttachmentView[];
  /** All running ones, and the newest of those that ended; bounded. */
  readonly jobs: readonly JobView[];
  readonly pgSummary: PgSummaryView;
  /** The newest, in order of id; bounded. */
  readonly events: readonly EventView[];
}
