/**
 * Prometheus metrics of the scheduler, in one place. Figures of the cluster are read from the views
 * when Prometheus asks, so they cost nothing in between and cannot disagree with the API.
 * Names: `cistern_<noun>_<unit>[_total]`, base units. Labels are ids of things whose number is
 * bounded by configuration (nodes, disks, pools), or are cut off (volumes).
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { CapacityView, IoView, PoolView } from '../shared/model/api-views.ts';
import type { ManagerPort } from './api/manager-port.ts';

/** Longer is no forecast any more. */
const FORECAST_SECONDS_MAX = 10 * 365 * 86_400;
/** Attached volumes with series of their own; the sums over all are always there. */
const VOLUMES_MAX = 500;
/** From a read out of memory (a millisecond) to an attach that waits its default (15 s) and longer. */
const REQUEST_SECONDS_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 15, 60];

export interface RequestObservation {
  readonly method: string;
  /** The pattern (`/v1/volumes/:volume`), never the path: paths are not bounded. */
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
}

export interface SchedulerMetrics {
  /** Other parts of the scheduler add their own here, by the same naming rule. */
  readonly registry: Registry;
  observeRequest(observation: RequestObservation): void;
  observeStreams(count: number): void;
}

export function createMetrics(manager: ManagerPort): SchedulerMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'cistern_' });
  addLeadership(registry, manager);
  addCluster(registry, manager);
  addCapacity(registry, manager);
  addPlaces(registry, manager);
  addIo(registry, manager);
  const requests = new Counter({
    name: 'cistern_api_requests_total',
    help: 'Requests that the operator API answered',
    labelNames: ['method', 'route', 'status'],
    registers: [registry],
  });
  const seconds = new Histogram({
    name: 'cistern_api_request_duration_seconds',
    help: 'Time until the operator API had answered',
    labelNames: ['method', 'route'],
    buckets: REQUEST_SECONDS_BUCKETS,
    registers: [registry],
  });
  const streams = new Gauge({
    name: 'cistern_api_streams_count',
    help: 'Open streams of server-sent events',
    registers: [registry],
  });
  return {
    registry,
    observeStreams: (count) => streams.set(count),
    observeRequest({ method, route, status, seconds: taken }) {
      requests.inc({ method, route, status: `${Math.floor(status / 100)}xx` });
      seconds.observe({ method, route }, taken);
    },
  };
}

/** `null`: nothing was measured; there is no sample then. */
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number | null];

interface GaugeOptions {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  readonly manager: ManagerPort;
  readonly read: () => Iterable<Sample>;
}

/** A gauge that is read when asked for; empty while this scheduler does not lead. */
function addGauge(registry: Registry, options: GaugeOptions): void {
  const { name, help, labelNames, manager, read } = options;
  const gauge = new Gauge({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      this.reset();
      if (!manager.leadership().isLeading) return;
      for (const [labels, value] of read()) {
        if (value !== null) gauge.set({ ...labels }, value);
      }
    },
  });
}

function addLeadership(registry: Registry, manager: ManagerPort): void {
  new Gauge({
    name: 'cistern_scheduler_leading_info',
    help: '1 while this scheduler leads the cluster',
    registers: [registry],
    collect() {
      this.set(manager.leadership().isLeading ? 1 : 0);
    },
  });
}

function addCluster(registry: Registry, manager: ManagerPort): void {
  const add = (name: string, help: string, read: () => number) =>
    addGauge(registry, { name, help, labelNames: [], manager, read: () => [[{}, read()]] });
  add('cistern_cluster_term_count', 'Term of the leading manager', () => manager.cluster().term);
  add('cistern_cluster_uptime_seconds', 'Since this manager began to lead', () => {
    return manager.cluster().uptimeSeconds;
  });
  add('cistern_mesos_connected_info', '1 while subscribed to the Mesos master', () =>
    manager.cluster().isMesosConnected ? 1 : 0,
  );
  add('cistern_brake_engaged_info', '1 while re-replication waits after a mass failure', () =>
    manager.cluster().brake?.state === 'engaged' ? 1 : 0,
  );
  add('cistern_cluster_reasons_count', 'Reasons why the cluster is not healthy', () => {
    return manager.cluster().reasons.length;
  });
  addGauge(registry, {
    name: 'cistern_cluster_health_info',
    help: '1 for the health that the cluster has',
    labelNames: ['health'],
    manager,
    read: () => {
      const { health } = manager.cluster();
      return ['ok', 'degraded', 'critical'].map((name) => [
        { health: name },
        name === health ? 1 : 0,
      ]);
    },
  });
  addGauge(registry, {
    name: 'cistern_jobs_running_count',
    help: 'Running jobs',
    labelNames: ['kind'],
    manager,
    read: () =>
      countBy(
        'kind',
        manager.jobs().filter((job) => job.state === 'running'),
        (job) => job.kind,
      ),
  });
}

function addCapacity(registry: Registry, manager: ManagerPort): void {
  const parts: readonly (readonly [string, string, (capacity: CapacityView) => number])[] = [
    ['raw', 'Size of all disks', (capacity) => capacity.rawBytes],
    ['used', 'Space taken on disks', (capacity) => capacity.usedBytes],
    ['free', 'Space free on disks, reserve included', (capacity) => capacity.freeBytes],
    ['reserve', 'Part of free that is kept for rebuilding', (capacity) => capacity.reserveBytes],
    ['usable', 'What new data can still take', (capacity) => capacity.usableBytes],
    ['provisioned', 'Sizes of all volumes', (capacity) => capacity.provisionedBytes],
  ];
  for (const [part, help, read] of parts) {
    addGauge(registry, {
      name: `cistern_pool_${part}_bytes`,
      help: `${help}, per pool`,
      labelNames: ['pool'],
      manager,
      read: () => manager.pools().map((pool) => [{ pool: pool.name }, read(pool.capacity)]),
    });
  }
  addGauge(registry, {
    name: 'cistern_pool_fill_deviation_ratio',
    help: "Largest distance of a disk's fill from the mean, as a ratio of the mean",
    labelNames: ['pool'],
    manager,
    read: () => manager.pools().map((pool) => [{ pool: pool.name }, pool.fillDeviationRatio]),
  });
  addGrowth(registry, manager);
  addGauge(registry, {
    name: 'cistern_pgs_count',
    help: 'Placement groups by state',
    labelNames: ['pool', 'state'],
    manager,
    read: () =>
      manager.pools().flatMap(({ name, pgs }): readonly Sample[] => [
        [{ pool: name, state: 'clean' }, pgs.clean],
        [{ pool: name, state: 'degraded' }, pgs.degraded],
        [{ pool: name, state: 'misplaced' }, pgs.misplaced],
        [{ pool: name, state: 'unavailable' }, pgs.unavailable],
      ]),
  });
}

/** Where pools are going, and whether the capacity hook does what it should. */
function addGrowth(registry: Registry, manager: ManagerPort): void {
  const add = (name: string, help: string, read: (pool: PoolView) => number | null) =>
    addGauge(registry, {
      name,
      help,
      labelNames: ['pool'],
      manager,
      read: () => manager.pools().map((pool) => [{ pool: pool.name }, read(pool)]),
    });
  add(
    'cistern_pool_growth_bytes',
    'Growth a day, by the forecast; none: too few samples',
    (pool) => {
      return pool.forecast?.bytesPerDay ?? null;
    },
  );
  add('cistern_pool_full_in_seconds', 'Forecast until writes are refused; none: not', (pool) => {
    const seconds = pool.forecast?.fullInSeconds ?? null;
    return seconds === null ? null : Math.min(seconds, FORECAST_SECONDS_MAX);
  });
  add('cistern_capacity_hook_failures_count', 'Attempts in a row that got no disks', (pool) => {
    const { capacityHook: hook } = pool;
    if (hook === null) return null;
    return hook.state === 'waiting' ? hook.attempts : Math.max(0, hook.attempts - 1);
  });
  add('cistern_capacity_hook_disks_count', 'Disks the hook was asked for within a day', (pool) => {
    return pool.capacityHook?.disksToday ?? null;
  });
}

function addPlaces(registry: Registry, manager: ManagerPort): void {
  addGauge(registry, {
    name: 'cistern_nodes_count',
    help: 'Nodes by state',
    labelNames: ['state'],
    manager,
    read: () => countBy('state', manager.nodes(), (node) => node.state),
  });
  addGauge(registry, {
    name: 'cistern_node_background_bytes',
    help: 'Moved or read by background work since the data process started',
    labelNames: ['node', 'class'],
    manager,
    read: () =>
      manager.nodes().flatMap(({ id, backgroundBytes }) =>
        Object.entries(backgroundBytes).map(([name, value]): Sample => {
          return [{ node: id, class: name }, value];
        }),
      ),
  });
  addGauge(registry, {
    name: 'cistern_disks_count',
    help: 'Disks by state',
    labelNames: ['state'],
    manager,
    read: () => countBy('state', manager.disks(), (disk) => disk.state),
  });
  addGauge(registry, {
    name: 'cistern_disk_size_bytes',
    help: 'Size of a disk',
    labelNames: ['disk', 'node'],
    manager,
    read: () => manager.disks().map((disk) => [{ disk: disk.id, node: disk.node }, disk.sizeBytes]),
  });
  addGauge(registry, {
    name: 'cistern_disk_used_bytes',
    help: 'Space taken on a disk',
    labelNames: ['disk', 'node'],
    manager,
    read: () => manager.disks().map((disk) => [{ disk: disk.id, node: disk.node }, disk.usedBytes]),
  });
  addGauge(registry, {
    name: 'cistern_disk_checksum_errors_count',
    help: 'Checksum mismatches found on a disk so far',
    labelNames: ['disk', 'node'],
    manager,
    read: () =>
      manager.disks().map((disk) => [{ disk: disk.id, node: disk.node }, disk.checksumErrorCount]),
  });
}

function addIo(registry: Registry, manager: ManagerPort): void {
  const rates: readonly (readonly [string, string, (io: IoView) => number | null])[] = [
    ['read_ops', 'Reads per second', (io) => io.readOpsPerSecond],
    ['write_ops', 'Writes per second', (io) => io.writeOpsPerSecond],
    ['read_bytes', 'Bytes read per second', (io) => io.readBytesPerSecond],
    ['write_bytes', 'Bytes written per second', (io) => io.writeBytesPerSecond],
    ['read_latency_seconds', 'Mean latency of reads', (io) => toSeconds(io.readLatencyMs)],
    ['write_latency_seconds', 'Mean latency of writes', (io) => toSeconds(io.writeLatencyMs)],
  ];
  for (const [part, help, read] of rates) {
    const suffix = part.endsWith('_seconds') ? part : `${part}_per_second`;
    addGauge(registry, {
      name: `cistern_cluster_${suffix}`,
      help: `${help}, over all attachments, in the last seconds`,
      labelNames: [],
      manager,
      read: () => [[{}, read(manager.cluster().io)]],
    });
    addGauge(registry, {
      name: `cistern_volume_${suffix}`,
      help: `${help}, of an attached volume, in the last seconds`,
      labelNames: ['volume'],
      manager,
      read: () =>
        manager
          .attachments()
          .slice(0, VOLUMES_MAX)
          .map((attachment) => [{ volume: attachment.volume }, read(attachment.io)]),
    });
  }
}

function toSeconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}

function countBy<Item>(
  label: string,
  items: readonly Item[],
  read: (item: Item) => string,
): readonly Sample[] {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(read(item), (counts.get(read(item)) ?? 0) + 1);
  return [...counts].map(([value, total]) => [{ [label]: value }, total]);
}
