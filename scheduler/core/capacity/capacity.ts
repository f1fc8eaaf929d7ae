/**
 * Room: what a pool has, what is used, what is kept back for rebuilding, and what follows from it: the hard
 * limit (allocating writes get ENOSPC before a disk is really full) and the wish for more disks
 * (DESIGN 10). Which disks those are is for the offers to say; this file says how many, and why.
 */
import { type DiskId, formatDisk, type NodeId } from '../../../shared/base/ids.ts';
import { formatBytes, formatDuration } from '../../../shared/base/units.ts';
import type { CapacityView } from '../../../shared/model/api-views.ts';
import type { NodeReport } from '../../../shared/model/node-report.ts';
import { diskUse } from '../disks/disk-use.ts';
import { recordEvent } from '../events.ts';
import { endJob, findRunningJob, startJob } from '../jobs/jobs.ts';
import { isNodeMapped } from '../map.ts';
import { memberCount } from '../members/members.ts';
import { isNodeUp } from '../nodes/node-life.ts';
import type { DiskRecord, JobRecord, PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { missingByForecast, takeSample } from './forecast.ts';

const CAPACITY_INTERVAL_MS = 1000;
/** A pool is no longer full this far below the limit, so that it does not flap around it. */
const FULL_HYSTERESIS = 0.02;
/** An expansion aims below the threshold that asked for it, so that the next one is not due at once. */
const EXPAND_AIM = 0.9;
/** PGs are whole: disks differ a little in fill without lacking room where it is needed. */
const UNEVEN_RATIO = 0.1;
/** An expansion that got no disk for so long is explained in an event. */
const EXPAND_EXPLAIN_MS = 60_000;

/** Once a second: the hard limit and the wish for expansion of every pool. */
export function superviseCapacity(state: State, now: Now): void {
  if (now.ms < state.work.nextCapacityAtMs) return;
  state.work.nextCapacityAtMs = now.ms + CAPACITY_INTERVAL_MS;
  for (const pool of state.facts.pools.values()) {
    superviseFull(state, pool, now);
    sample(state, state.facts.pools.get(pool.name), now);
    superviseExpansion(state, state.facts.pools.get(pool.name), now);
  }
}

/** A manager that starts has not heard of all disks yet: what they hold would be missing. */
function sample(state: State, pool: PoolRecord, now: Now): void {
  const disks = countedDisks(state, pool.name);
  if (disks.length === 0 || disks.some((disk) => !state.disks.has(disk.id))) return;
  takeSample(state, pool, capacityOf(state, pool, disks, 0).usedBytes, now);
}

/** After a report: a disk at the limit is acted upon at once, not at the next look. */
export function checkFull(state: State, report: NodeReport, now: Now): void {
  for (const { id, capacityBytes, usedBytes } of report.disks) {
    const name = state.facts.disks.find(id)?.pool;
    const pool = name === undefined ? undefined : state.facts.pools.find(name);
    if (pool === undefined || pool.isFull || usedBytes < capacityBytes * pool.fullAtRatio) continue;
    superviseFull(state, pool, now);
  }
}

/** Disks that count: those that serve, and those expected back. */
export function countedDisks(state: State, pool: string): DiskRecord[] {
  return [...state.facts.disks.values()].filter((disk) => {
    if (disk.pool !== pool) return false;
    const use = diskUse(state, disk);
    if (use === 'serving' || use === 'away') return true;
    // A leaving disk counts while its data is there: what it holds still has to go somewhere.
    return use === 'leaving' && disk.phase === 'serving' && memberCount(state, disk.id) > 0;
  });
}

export function poolCapacity(state: State, pool: PoolRecord): CapacityView {
  let provisionedBytes = 0;
  for (const volume of state.facts.volumes.values()) {
    if (volume.pool === pool.name && volume.phase === 'ready') provisionedBytes += volume.sizeBytes;
  }
  return capacityOf(state, pool, countedDisks(state, pool.name), provisionedBytes);
}

/** Capacity of some disks of a pool; the reserve is meaningful for all of them together. */
export function capacityOf(
  state: State,
  pool: PoolRecord,
  disks: readonly DiskRecord[],
  provisionedBytes: number,
): CapacityView {
  let rawBytes = 0;
  let usedBytes = 0;
  const byDomain = new Map<string, number>();
  for (const disk of disks) {
    const observed = state.disks.get(disk.id);
    const capacity = observed?.capacityBytes ?? disk.sizeBytes;
    rawBytes += capacity;
    usedBytes += Math.min(capacity, observed?.usedBytes ?? 0);
    const domain = domainOf(state, pool, disk.node);
    byDomain.set(domain, (byDomain.get(domain) ?? 0) + capacity);
  }
  const freeBytes = rawBytes - usedBytes;
  // With no domain to spare the largest one cannot be rebuilt elsewhere: keeping room helps nobody.
  const isSpare = byDomain.size > pool.defaultReplicas;
  const largest = isSpare ? Math.max(0, ...byDomain.values()) : 0;
  const reserveBytes = Math.min(freeBytes, largest);
  const allowed = rawBytes * pool.fullAtRatio - usedBytes - reserveBytes;
  return {
    rawBytes,
    usedBytes,
    freeBytes,
    reserveBytes,
    usableBytes: Math.max(0, Math.floor(allowed / pool.defaultReplicas)),
    provisionedBytes,
    usedRatio: rawBytes === 0 ? 0 : usedBytes / rawBytes,
  };
}

function domainOf(state: State, pool: PoolRecord, id: NodeId): string {
  const zone = state.facts.nodes.find(id)?.zone ?? null;
  return pool.failureDomain === 'zone' && zone !== null ? `zone ${zone}` : `node ${id}`;
}

/** A PG's write fails when one of its disks is full, so a single disk at the limit counts. */
function superviseFull(state: State, pool: PoolRecord, now: Now): void {
  const limit = pool.isFull ? pool.fullAtRatio - FULL_HYSTERESIS : pool.fullAtRatio;
  let fullest: DiskRecord | null = null;
  let ratio = 0;
  for (const disk of countedDisks(state, pool.name)) {
    const observed = state.disks.get(disk.id);
    if (observed === undefined || observed.capacityBytes === 0) continue;
    if (memberCount(state, disk.id) === 0) continue;
    const fill = observed.usedBytes / observed.capacityBytes;
    if (fill <= ratio) continue;
    ratio = fill;
    fullest = disk;
  }
  const isFull = fullest !== null && ratio >= limit;
  if (isFull === pool.isFull) return;
  state.facts.pools.update(pool.name, { isFull });
  // Executors see the limit with each volume.
  for (const volume of state.facts.volumes.values()) {
    if (volume.pool === pool.name && volume.phase === 'ready') state.facts.volumes.put(volume);
  }
  const message = isFull
    ? `Pool "${pool.name}" is full: disk d${fullest?.id ?? 0} is ${percent(ratio)} used, the limit is ${percent(pool.fullAtRatio)}; writes that need new space get ENOSPC, everything else goes on`
    : `Pool "${pool.name}" has room again: its fullest disk is ${percent(ratio)} used`;
  const kind = isFull ? 'pool.full' : 'pool.has-room';
  recordEvent(
    state,
    { severity: isFull ? 'error' : 'info', kind, message, subject: pool.name },
    now,
  );
}

function superviseExpansion(state: State, pool: PoolRecord, now: Now): void {
  const serving = countedDisks(state, pool.name);
  const running = findRunningJob(state, 'expand', pool.name);
  const need = disksNeeded(state, pool, serving);
  if (running !== null) followExpansion(state, { pool, job: running, serving, need }, now);
  else if (need.count > 0) beginExpansion(state, { pool, serving, need }, now);
}

interface Need {
  /** Disks to add so that the pool is below its threshold again; 0 when it is. */
  readonly count: number;
  readonly usedRatio: number;
  /** What is beyond the threshold, as the beginning of a sentence. */
  readonly fact: string;
}

function disksNeeded(state: State, pool: PoolRecord, serving: readonly DiskRecord[]): Need {
  const { rawBytes, usedBytes, usedRatio } = capacityOf(state, pool, serving, 0);
  const threshold = `the threshold is ${percent(pool.expandAtRatio)}`;
  const fact = `pool "${pool.name}" is ${percent(usedRatio)} used, ${threshold}`;
  if (rawBytes === 0) return { count: 0, usedRatio: 0, fact };
  // Disks that are on their way count as if they were there: nothing is asked for twice.
  const comingBytes = comingDisks(state, pool.name).reduce((sum, disk) => sum + disk.sizeBytes, 0);
  if (usedBytes / (rawBytes + comingBytes) < pool.expandAtRatio) {
    const fullest = fullestByPlan(state, pool);
    const isUneven = fullest !== null && fullest.ratio > usedRatio + UNEVEN_RATIO;
    if (!isUneven || comingBytes > 0) {
      const fill = { usedBytes, rawBytes: rawBytes + comingBytes };
      const forecast = missingByForecast(state, pool, fill);
      if (forecast === null) return { count: 0, usedRatio, fact };
      const more = Math.ceil((forecast.bytes * serving.length) / rawBytes);
      return { count: Math.max(1, more), usedRatio, fact: forecast.fact };
    }
    const planned = `disk ${formatDisk(fullest.disk)} of pool "${pool.name}" is to hold ${percent(fullest.ratio)} of its size, ${threshold}`;
    return { count: 1, usedRatio, fact: planned };
  }
  const missing = usedBytes / (pool.expandAtRatio * EXPAND_AIM) - rawBytes - comingBytes;
  const meanBytes = rawBytes / serving.length;
  return { count: Math.max(1, Math.ceil(missing / meanBytes)), usedRatio, fact };
}

/**
 * The disk that the plan fills most, when that is beyond the threshold. A pool may have room as a whole
 * and none where it is needed: on the last domain that is left for the second replica of every PG. Asked
 * only while data has to move: else what disks hold is what they will hold, and reports of different
 * moments would be compared.
 */
function fullestByPlan(
  state: State,
  pool: PoolRecord,
): { readonly disk: DiskId; readonly ratio: number } | null {
  if (state.work.unsettled.size === 0) return null;
  const planned = new Map<DiskId, number>();
  for (const pg of state.facts.pgs.values()) {
    const bytes = state.pgBytes.get(pg.id) ?? 0;
    if (bytes === 0) continue;
    for (const disk of pg.target) planned.set(disk, (planned.get(disk) ?? 0) + bytes);
  }
  let fullest: { readonly disk: DiskId; readonly ratio: number } | null = null;
  for (const [disk, bytes] of planned) {
    const record = state.facts.disks.find(disk);
    if (record === undefined || record.pool !== pool.name) continue;
    const ratio = bytes / (state.disks.get(disk)?.capacityBytes ?? record.sizeBytes);
    if (ratio >= (fullest?.ratio ?? pool.expandAtRatio)) fullest = { disk, ratio };
  }
  return fullest;
}

/** Disks that were claimed and will serve soon: on nodes that are up, or whose executor is yet to start. */
export function comingDisks(state: State, pool: string): DiskRecord[] {
  return [...state.facts.disks.values()].filter((disk) => {
    if (disk.pool !== pool || diskUse(state, disk) !== 'unborn') return false;
    if (disk.phase !== 'claiming' && disk.phase !== 'launched') return false;
    const node = state.facts.nodes.find(disk.node);
    return node !== undefined && (!isNodeMapped(node) || isNodeUp(state, node));
  });
}

interface Begin {
  readonly pool: PoolRecord;
  readonly serving: readonly DiskRecord[];
  readonly need: Need;
}

function beginExpansion(state: State, begin: Begin, now: Now): void {
  const { pool, serving, need } = begin;
  const { fact } = need;
  const known = serving.length + comingDisks(state, pool.name).length;
  const allowed = pool.diskCountMax === null ? need.count : pool.diskCountMax - known;
  const refusal = !pool.isAutoExpand
    ? 'automatic expansion is switched off for it'
    : allowed <= 0
      ? `it may have at most ${pool.diskCountMax} disks and has ${known}`
      : null;
  if (refusal !== null) {
    sayOnce(state, pool, 'pool.not-expanded', `Not expanded although ${fact}: ${refusal}`, now);
    return;
  }
  if (now.ms < (state.work.expandAfterMs.get(pool.name) ?? Number.NEGATIVE_INFINITY)) return;
  const wanted = Math.min(need.count, allowed);
  const reason = `${fact}: ${wanted} more ${wanted === 1 ? 'disk is' : 'disks are'} wanted`;
  startJob(
    state,
    {
      kind: 'expand',
      subject: pool.name,
      reason,
      movesTotal: wanted,
      figures: {
        disksBefore: known,
        disksWanted: wanted,
        usedRatioBefore: need.usedRatio,
      },
    },
    now,
  );
  state.expansion.set(pool.name, { diskCount: wanted, reason });
  state.work.expandAfterMs.set(pool.name, now.ms + pool.expandCooldownMs);
  state.facts.pools.update(pool.name, { lastExpandAtMs: now.wallMs });
  const message = `Expanding because ${reason}`;
  recordEvent(
    state,
    { severity: 'info', kind: 'pool.expanding', message, subject: pool.name },
    now,
  );
}

interface Expansion extends Begin {
  readonly job: JobRecord;
}

function followExpansion(state: State, expansion: Expansion, now: Now): void {
  const { pool, job, serving, need } = expansion;
  const goal = (job.figures['disksBefore'] ?? 0) + (job.figures['disksWanted'] ?? 0);
  const gained = Math.max(0, serving.length - (job.figures['disksBefore'] ?? 0));
  if (gained !== job.movesDone) {
    state.facts.jobs.update(job.id, { movesDone: Math.min(gained, job.movesTotal) });
  }
  if (serving.length >= goal) {
    finishExpansion(state, expansion, 'done', now);
    return;
  }
  const coming = comingDisks(state, pool.name).length;
  if (!pool.isAutoExpand || (need.count === 0 && coming === 0)) {
    const hasMore = gained > 0 || (job.figures['grownBytes'] ?? 0) > 0;
    finishExpansion(state, expansion, hasMore ? 'done' : 'cancelled', now);
    return;
  }
  const open = Math.max(0, goal - serving.length - coming);
  if (open === 0) state.expansion.delete(pool.name);
  else state.expansion.set(pool.name, { diskCount: open, reason: job.reason });
  const waited = now.wallMs - job.startedAtMs;
  if (open > 0 && waited >= EXPAND_EXPLAIN_MS) {
    const message = `Still waiting for ${open} of ${job.movesTotal} disks after ${formatDuration(EXPAND_EXPLAIN_MS)}: ${whyNoDisk(state, pool)}`;
    sayOnce(state, pool, 'pool.expand-waiting', message, now);
  }
}

function finishExpansion(
  state: State,
  expansion: Expansion,
  phase: 'done' | 'cancelled',
  now: Now,
): void {
  const { pool, serving, need } = expansion;
  state.expansion.delete(pool.name);
  const job = state.facts.jobs.get(expansion.job.id);
  const { rawBytes } = capacityOf(state, pool, serving, 0);
  endJob(state, job, { phase, figures: { usedRatioAfter: need.usedRatio } }, now);
  const message =
    phase === 'done'
      ? `Pool "${pool.name}" was expanded to ${serving.length} disks (${formatBytes(rawBytes)}), ${percent(need.usedRatio)} used`
      : `Expansion of pool "${pool.name}" is no longer needed: ${percent(need.usedRatio)} used`;
  const kind = phase === 'done' ? 'pool.expanded' : 'pool.expand-cancelled';
  recordEvent(state, { severity: 'info', kind, message, subject: pool.name }, now);
}

function whyNoDisk(state: State, pool: PoolRecord): string {
  const { isSubscribed, disconnectReason, passedOver } = state.mesos;
  if (!isSubscribed) return `Mesos cannot be asked, ${disconnectReason}`;
  for (const [hostname, why] of passedOver) return `free disks on "${hostname}" were left: ${why}`;
  return `Mesos offers no unclaimed disk that fits pool "${pool.name}"; add one, or free a reservation`;
}

/** For conditions that last: one event (a warning) while nothing else of the kind was said of the pool for long. */
export function sayOnce(
  state: State,
  pool: PoolRecord,
  kind: string,
  message: string,
  now: Now,
): void {
  const key = `${kind} ${pool.name}`;
  const last = state.work.saidAtMs.get(key);
  if (last !== undefined && now.ms - last < REPEAT_MS) return;
  state.work.saidAtMs.set(key, now.ms);
  recordEvent(state, { severity: 'warning', kind, message, subject: pool.name }, now);
}

/** A lasting condition is said again so often. */
const REPEAT_MS = 900_000;

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(1).replace(/\.0$/, '')} %`;
}
