/** JSON schemas of everything the API answers (shared/model/api-views.ts, shared/model/stream-view.ts). */
import type {
  AttachmentView,
  BrakeView,
  CapacityHookView,
  CapacityView,
  ClusterView,
  DiskView,
  ErrorView,
  EventView,
  ForecastView,
  HealthReason,
  IoView,
  JobView,
  NodeView,
  PgCounts,
  PgView,
  PoolView,
  UninstallView,
  UpgradeView,
  VolumeView,
} from '../../shared/model/api-views.ts';
import type {
  CauseView,
  ExplainView,
  ExplanationView,
} from '../../shared/model/explanation-view.ts';
import {
  PLAN_STEP_KINDS,
  type PlanStepView,
  type PlanView,
} from '../../shared/model/pool-settings.ts';
import type { PgSummaryView, SnapshotView } from '../../shared/model/stream-view.ts';
import type { JsonSchema } from './json-schema.ts';
import {
  count,
  described,
  flag,
  list,
  nullable,
  nullableOneOf,
  number,
  objectSchema,
  oneOf,
  record,
  ref,
  text,
  time,
  viewSchema,
} from './json-schema.ts';
import { SELECTOR_FIELDS } from './pool-schemas.ts';

const ratio = described(number, 'Ratio, 0 to 1');
const bytes = described(number, 'Bytes');
const tiers = ['nvme', 'ssd', 'hdd'];
const healths = ['ok', 'degraded', 'critical'];
const severities = ['info', 'warning', 'error'];
export const PG_STATES = ['clean', 'degraded', 'misplaced', 'unavailable'] as const;

const reason = viewSchema<HealthReason>('HealthReason', {
  subject: text,
  message: text,
  next: described(text, 'What happens by itself, or the one thing an operator may do'),
});

const capacity = viewSchema<CapacityView>('Capacity', {
  rawBytes: bytes,
  usedBytes: bytes,
  freeBytes: bytes,
  reserveBytes: described(number, 'Part of free that is kept for rebuilding'),
  usableBytes: described(number, 'What new data can still take, after replication'),
  provisionedBytes: described(number, 'Sizes of all volumes together'),
  usedRatio: ratio,
});

const pgCounts = viewSchema<PgCounts>('PgCounts', {
  total: count,
  clean: count,
  degraded: count,
  misplaced: count,
  unavailable: count,
});

const io = viewSchema<IoView>('Io', {
  readOpsPerSecond: number,
  writeOpsPerSecond: number,
  readBytesPerSecond: number,
  writeBytesPerSecond: number,
  readLatencyMs: nullable(number),
  writeLatencyMs: nullable(number),
});

const brake = viewSchema<BrakeView>('Brake', {
  state: oneOf(['engaged', 'released']),
  reason: text,
  since: time,
});

const cluster = viewSchema<ClusterView>('Cluster', {
  clusterId: text,
  name: text,
  version: text,
  health: oneOf(healths),
  reasons: list(ref('HealthReason')),
  frameworkId: nullable(text),
  isMesosConnected: flag,
  brake: nullable(ref('Brake')),
  term: count,
  mapVersion: count,
  uptimeSeconds: number,
  nodeCount: count,
  nodesUp: count,
  diskCount: count,
  disksServing: count,
  volumeCount: count,
  attachedCount: count,
  pgs: ref('PgCounts'),
  capacity: ref('Capacity'),
  runningJobs: count,
  io: ref('Io'),
});

const node = viewSchema<NodeView>('Node', {
  id: text,
  hostname: text,
  agentId: text,
  zone: nullable(text),
  region: nullable(text),
  attributes: record(text),
  state: oneOf(['starting', 'up', 'down', 'fenced', 'draining', 'drained', 'gone']),
  stateReason: text,
  dataAddress: nullable(text),
  diskIds: list(text),
  attachedVolumes: list(text),
  capacity: ref('Capacity'),
  lastSeenAt: nullable(time),
  executorId: text,
  cpuSeconds: nullable(number),
  memoryBytes: nullable(number),
  backgroundBytes: record(bytes),
});

const disk = viewSchema<DiskView>('Disk', {
  id: text,
  uuid: text,
  node: text,
  hostname: text,
  pool: text,
  kind: oneOf(['mount', 'path', 'root']),
  tier: oneOf(tiers),
  sourceRoot: nullable(text),
  path: nullable(text),
  state: oneOf(['claiming', 'launched', 'serving', 'down', 'failed', 'releasing', 'lost']),
  error: text,
  isDraining: flag,
  leavingReason: described(text, 'Why it leaves its pool; empty while it does not'),
  foreign: described(text, 'What is in its directory and not ours; empty when there is nothing'),
  outReason: described(text, 'Why it was taken out for its errors; empty while it is not'),
  sizeBytes: bytes,
  usedBytes: bytes,
  usedRatio: ratio,
  pgCount: count,
  checksumErrorCount: count,
  taskId: nullable(text),
});

const selector: JsonSchema = {
  $id: 'PoolSelector',
  ...objectSchema(SELECTOR_FIELDS, Object.keys(SELECTOR_FIELDS)),
};

const planStep = viewSchema<PlanStepView>('PlanStep', {
  kind: oneOf(PLAN_STEP_KINDS),
  pool: text,
  toPool: described(nullable(text), 'Where a disk goes; null: back to Mesos'),
  node: nullable(text),
  hostname: nullable(text),
  disk: nullable(text),
  place: described(nullable(text), 'Kind and root of the disk, like mount:/mnt/a'),
  sizeBytes: nullable(number),
  replicasToMove: count,
  dataBytes: bytes,
  reason: text,
});

const plan = viewSchema<PlanView>('Plan', {
  steps: list(ref('PlanStep')),
  replicasToMove: count,
  dataBytes: bytes,
  notes: described(list(text), 'What the plan does not know, or cannot do'),
  job: described(nullable(text), 'The job that carries it out now'),
});

const forecast = viewSchema<ForecastView>('Forecast', {
  bytesPerDay: number,
  fullInSeconds: described(nullable(number), 'Until writes are refused; null: not as things are'),
  sampleCount: count,
  spanSeconds: number,
  basis: described(text, 'What it is made of'),
  leadSeconds: described(number, 'A pool that is full sooner is expanded; 0: it is not'),
});

const capacityHook = viewSchema<CapacityHookView>('CapacityHook', {
  state: oneOf(['idle', 'asked', 'promised', 'waiting']),
  key: described(text, 'The same for every attempt to get the same disks'),
  diskCount: count,
  attempts: count,
  askedAt: time,
  nextAt: described(nullable(time), 'Not asked again before'),
  message: described(text, 'What it said, or why it failed'),
  disksToday: count,
  disksPerDay: count,
});

const pool = viewSchema<PoolView>('Pool', {
  name: text,
  tier: nullableOneOf(tiers),
  defaultReplicas: count,
  failureDomain: oneOf(['node', 'zone']),
  pgCount: count,
  diskIds: list(text),
  volumeCount: count,
  pgs: ref('PgCounts'),
  capacity: ref('Capacity'),
  expandAtRatio: ratio,
  fullAtRatio: ratio,
  isAutoExpand: flag,
  isFull: flag,
  diskCountMax: nullable(count),
  expandCooldownSeconds: number,
  claimPerNode: nullable(count),
  claimNodes: nullable(count),
  lastExpandAt: nullable(time),
  forecast: nullable(ref('Forecast')),
  capacityHook: nullable(ref('CapacityHook')),
  fillDeviationRatio: number,
  selector: ref('PoolSelector'),
  priority: count,
  isLeaving: flag,
});

const pg = viewSchema<PgView>('Pg', {
  id: text,
  pool: text,
  replicas: count,
  epoch: count,
  state: oneOf(PG_STATES),
  inSync: list(text),
  joining: list(text),
  target: list(text),
  bytes,
  lastScrubAt: nullable(text),
});

const attachment = viewSchema<AttachmentView>('Attachment', {
  volume: text,
  volumeName: text,
  node: text,
  hostname: text,
  generation: count,
  state: oneOf(['waiting', 'opening', 'serving', 'paused', 'closing']),
  reason: described(text, 'Why it does not serve yet'),
  unixUri: described(nullable(text), 'For clients on that node'),
  tcpUri: nullable(text),
  clientCount: count,
  io: ref('Io'),
});

const volume = viewSchema<VolumeView>('Volume', {
  id: text,
  name: text,
  pool: text,
  sizeBytes: bytes,
  replicas: count,
  usedBytes: described(number, 'Stored bytes, counted once'),
  durability: described(
    oneOf(['flush', 'writethrough']),
    'Which acked writes survive power loss of all nodes: the flushed ones, or all',
  ),
  state: oneOf(['ready', 'attached', 'attaching', 'detaching', 'deleting']),
  health: oneOf(healths),
  reasons: list(ref('HealthReason')),
  attachment: nullable(ref('Attachment')),
  createdAt: time,
});

const job = viewSchema<JobView>('Job', {
  id: text,
  kind: oneOf([
    'rebuild',
    'rebalance',
    'drain',
    'expand',
    'delete',
    'scrub',
    'apply',
    'decommission',
    'replace',
    'upgrade',
    'uninstall',
  ]),
  state: oneOf(['running', 'paused', 'done', 'failed', 'cancelled']),
  subject: text,
  reason: text,
  startedAt: time,
  endedAt: nullable(time),
  movesTotal: count,
  movesDone: count,
  totalBytes: bytes,
  doneBytes: bytes,
  progressRatio: ratio,
  bytesPerSecond: nullable(number),
  etaSeconds: nullable(number),
  figures: record(number),
});

const upgrade = viewSchema<UpgradeView>('Upgrade', {
  state: oneOf(['none', 'available', 'running', 'paused', 'stopped', 'done']),
  version: described(text, 'What this scheduler brings'),
  target: nullable(text),
  previous: nullable(text),
  isRollback: flag,
  reason: described(text, 'Why it does not get on; empty while it does'),
  nodes: list({
    type: 'object',
    additionalProperties: false,
    required: ['node', 'hostname', 'version', 'state'],
    properties: {
      node: text,
      hostname: text,
      version: text,
      state: oneOf(['done', 'current', 'waiting']),
    },
  }),
});

const uninstall = viewSchema<UninstallView>('Uninstall', {
  state: oneOf(['none', 'releasing', 'tearing-down', 'done']),
  clusterName: text,
  blockers: described(list(text), 'Why it would be refused without force'),
  steps: list({
    type: 'object',
    additionalProperties: false,
    required: ['name', 'state', 'detail'],
    properties: {
      name: oneOf(['volumes', 'disks', 'executors', 'verify', 'teardown']),
      state: oneOf(['waiting', 'running', 'done']),
      detail: text,
    },
  }),
});

const event = viewSchema<EventView>('Event', {
  id: count,
  at: time,
  severity: oneOf(severities),
  kind: text,
  message: text,
  subject: text,
});

const SINCE = 'null: not known, it may have begun before this manager led';

const cause = viewSchema<CauseView>('Cause', {
  subject: text,
  message: text,
  since: described(nullable(time), SINCE),
});

const explanation = viewSchema<ExplanationView>('Explanation', {
  subject: text,
  kind: oneOf(['cluster', 'mesos', 'node', 'disk', 'pool', 'pg', 'volume', 'job']),
  state: described(text, "The word that the subject's own view has for it"),
  severity: oneOf(['notice', 'degraded', 'critical']),
  message: text,
  since: described(nullable(time), SINCE),
  causes: described(list(ref('Cause')), 'Nearest first, the root last'),
  next: described(text, 'What happens next by itself'),
  by: described(nullable(time), 'By when; null when nobody can know'),
  noDeadline: described(text, 'Why nobody can know by when; empty when `by` is given'),
  action: described(text, 'The one safe thing that an operator may do'),
  command: described(nullable(text), 'The exact command for it'),
});

const explain = viewSchema<ExplainView>('Explain', {
  at: time,
  subject: nullable(text),
  explanations: described(list(ref('Explanation')), 'Worst first; empty when all is green'),
  omittedCount: count,
});

const error = viewSchema<ErrorView>('Error', {
  code: text,
  message: text,
  details: { type: 'object', additionalProperties: true },
});

const pgSummary = viewSchema<PgSummaryView>('PgSummary', {
  counts: ref('PgCounts'),
  byPool: list({
    type: 'object',
    additionalProperties: false,
    required: ['pool', 'counts'],
    properties: { pool: text, counts: ref('PgCounts') },
  }),
  unhealthy: list(ref('Pg')),
});

const snapshot = viewSchema<SnapshotView>('Snapshot', {
  at: time,
  cluster: ref('Cluster'),
  nodes: list(ref('Node')),
  disks: list(ref('Disk')),
  pools: list(ref('Pool')),
  volumes: list(ref('Volume')),
  attachments: list(ref('Attachment')),
  jobs: list(ref('Job')),
  pgSummary: ref('PgSummary'),
  events: list(ref('Event')),
});

/** In order of use: a schema comes after those it refers to. */
export const VIEW_SCHEMAS: readonly JsonSchema[] = [
  reason,
  capacity,
  pgCounts,
  io,
  brake,
  cluster,
  node,
  disk,
  selector,
  planStep,
  plan,
  forecast,
  capacityHook,
  pool,
  pg,
  attachment,
  volume,
  job,
  upgrade,
  uninstall,
  event,
  cause,
  explanation,
  explain,
  error,
  pgSummary,
  snapshot,
];
