/**
 * Jobs: what the cluster works on, for people to follow: rebuild, rebalance, drain, expand, delete. A job
 * steers nothing: the planners look at facts, and jobs count what comes of it.
 *
 *   rebuild, rebalance   one of each per pool at a time, made when a plan needs moves
 *   drain                one per node or disk, made by the operator's command
 *   expand, delete       made by capacity.ts and volumes.ts, which also end them
 *   scrub                one at a time, made by a command (scrubs.ts)
 *   apply                one at a time, made by a command (pools/pool-apply.ts)
 */
import { type DiskId, jobId, type PgId } from '../../../shared/base/ids.ts';
import type { JoinReport } from '../../../shared/model/node-report.ts';
import type { ScrubScope } from '../../../shared/model/scrub.ts';
import { diskUse } from '../disks/disk-use.ts';
import { recordEvent } from '../events.ts';
import { fairShareBytes, placedDeviationRatio } from '../fairness.ts';
import { familyOf } from '../members/members.ts';
import { isDiskServing } from '../nodes/node-life.ts';
import type { JobKind, JobPhase, JobRecord, PgRecord, PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

/** Ended jobs that stay in the store. */
const ENDED_JOBS_MAX = 200;
/** Counting walks over all PGs that move. */
const JOBS_INTERVAL_MS = 1000;

export interface NewJob {
  readonly kind: JobKind;
  readonly subject: string;
  readonly reason: string;
  readonly movesTotal?: number;
  readonly totalBytes?: number;
  readonly figures?: Readonly<Record<string, number>>;
  readonly scope?: ScrubScope;
}

export function startJob(state: State, job: NewJob, now: Now): JobRecord {
  const record: JobRecord = {
    id: jobId(state.facts.allocate('nextJob')),
    kind: job.kind,
    phase: 'running',
    subject: job.subject,
    reason: job.reason,
    startedAtMs: now.wallMs,
    endedAtMs: null,
    movesTotal: job.movesTotal ?? 0,
    movesDone: 0,
    totalBytes: job.totalBytes ?? 0,
    doneBytes: 0,
    figures: job.figures ?? {},
    ...(job.scope === undefined ? {} : { scope: job.scope }),
  };
  state.facts.jobs.put(record);
  forgetOldJobs(state);
  return record;
}

export function endJob(
  state: State,
  job: JobRecord,
  end: { readonly phase: JobPhase; readonly figures?: Readonly<Record<string, number>> },
  now: Now,
): void {
  const figures = { ...job.figures, ...end.figures };
  state.facts.jobs.update(job.id, { phase: end.phase, endedAtMs: now.wallMs, figures });
}

export function findRunningJob(state: State, kind: JobKind, subject: string): JobRecord | null {
  for (const job of state.facts.jobs.values()) {
    if (job.phase === 'running' && job.kind === kind && job.subject === subject) return job;
  }
  return null;
}

/**
 * A PG is about to gain an in-sync member: counts for the job it belongs to. `copiedBytes` is what really went
 * over: less than the PG holds when the disk had most of it already.
 */
export function creditMove(state: State, pg: PgRecord, copiedBytes: number): void {
  const kind = moveKind(state, pg);
  if (kind === 'drain') return;
  const job = findRunningJob(state, kind, familyOf(state, pg.id).pool);
  if (job === null) return;
  const bytes = state.pgBytes.get(pg.id) ?? 0;
  state.facts.jobs.update(job.id, {
    movesDone: job.movesDone + 1,
    // What really went over; the record also keeps how much the groups hold that are in place now.
    doneBytes: job.doneBytes + copiedBytes,
    figures: {
      ...job.figures,
      copiedBytes: (job.figures['copiedBytes'] ?? 0) + copiedBytes,
      heldBytes: (job.figures['heldBytes'] ?? 0) + bytes,
    },
  });
}

/** Targets of a pool changed: the jobs that will bring the PGs there begin or grow. */
export function noteReplan(state: State, pool: PoolRecord, cause: string, now: Now): void {
  const counts = countMoves(state).get(pool.name);
  if (counts === undefined) return;
  if (counts.rebuild.moves > 0 && findRunningJob(state, 'rebuild', pool.name) === null) {
    const reason = `${cause}: ${counts.rebuild.moves} replicas are copied from those that are left`;
    const rebuild = {
      kind: 'rebuild',
      subject: pool.name,
      reason,
      ...totals(counts.rebuild),
    } as const;
    sayStarted(state, startJob(state, rebuild, now), now);
  }
  if (counts.rebalance.moves === 0) return;
  const running = findRunningJob(state, 'rebalance', pool.name);
  const fair = (running?.figures['heldBytes'] ?? 0) + fairShareBytes(state, pool.name);
  const figures = { fairShareBytes: fair, pgReplicasToMove: counts.rebalance.moves };
  if (running === null) {
    const reason = `${cause}: replicas move until every disk has its fair share`;
    const job = startJob(
      state,
      { kind: 'rebalance', subject: pool.name, reason, ...totals(counts.rebalance), figures },
      now,
    );
    sayStarted(state, job, now);
  } else {
    state.facts.jobs.update(running.id, { figures: { ...running.figures, ...figures } });
  }
}

/** Every tick, at most once a second: starts, counts and ends the jobs that follow the PGs. */
export function followMoves(state: State, now: Now): void {
  const { work } = state;
  if (!work.isJobsDirty || now.ms < work.nextJobsAtMs) return;
  work.isJobsDirty = false;
  work.nextJobsAtMs = now.ms + JOBS_INTERVAL_MS;
  const counts = countMoves(state);
  for (const pool of state.facts.pools.values()) {
    const ofPool = counts.get(pool.name) ?? noMoves();
    followKind(state, { pool, kind: 'rebuild', left: ofPool.rebuild }, now);
    followKind(state, { pool, kind: 'rebalance', left: ofPool.rebalance }, now);
  }
}

/**
 * `rebuild`: redundancy is lost, or about to be: a member that no longer serves still counts as in sync
 * until its lease has run out. `drain`: a serving member should leave. `rebalance`: the rest.
 */
export function moveKind(state: State, pg: PgRecord): 'rebuild' | 'drain' | 'rebalance' {
  const serving = pg.inSync.filter((id) => isServing(state, id));
  if (serving.length < familyOf(state, pg.id).replicas) return 'rebuild';
  const isDrained = serving.some((id) => {
    return !pg.target.includes(id) && diskUse(state, state.facts.disks.get(id)) === 'leaving';
  });
  return isDrained ? 'drain' : 'rebalance';
}

function isServing(state: State, id: DiskId): boolean {
  const disk = state.facts.disks.find(id);
  return disk !== undefined && isDiskServing(state, disk);
}

interface MoveCount {
  moves: number;
  /** Of joins that run and know how much they have to copy. */
  joinBytes: number;
  /** Sizes of the groups of all others. */
  waitingBytes: number;
}

interface MoveCounts {
  readonly rebuild: MoveCount;
  readonly drain: MoveCount;
  readonly rebalance: MoveCount;
}

function noMoves(): MoveCounts {
  return {
    rebuild: { moves: 0, joinBytes: 0, waitingBytes: 0 },
    drain: { moves: 0, joinBytes: 0, waitingBytes: 0 },
    rebalance: { moves: 0, joinBytes: 0, waitingBytes: 0 },
  };
}

/** What is left to copy, per pool and kind. */
function countMoves(state: State): ReadonlyMap<string, MoveCounts> {
  const counts = new Map<string, MoveCounts>();
  const joins = joinsByPg(state);
  for (const id of state.work.unsettled) {
    const pg = state.facts.pgs.get(id);
    const missing = missingMoves(state, id, pg);
    if (missing === 0) continue;
    const { pool } = familyOf(state, id);
    const ofPool = counts.get(pool) ?? noMoves();
    counts.set(pool, ofPool);
    const count = ofPool[moveKind(state, pg)];
    count.moves += missing;
    const known = joins.get(id) ?? [];
    for (const join of known) count.joinBytes += join.totalBytes;
    count.waitingBytes += Math.max(0, missing - known.length) * (state.pgBytes.get(id) ?? 0);
  }
  return counts;
}

/** Joins that run and have counted what they have to copy. */
function joinsByPg(state: State): ReadonlyMap<PgId, readonly JoinReport[]> {
  const joins = new Map<PgId, JoinReport[]>();
  for (const observed of state.nodes.values()) {
    for (const join of observed.report?.joins ?? []) {
      const isRunning = state.facts.pgs.find(join.pg)?.joining.includes(join.disk) === true;
      if (isRunning && join.totalBytes > 0) {
        joins.set(join.pg, [...(joins.get(join.pg) ?? []), join]);
      }
    }
  }
  return joins;
}

/** Target disks that are not in sync and could be: one that is away is waited for. */
function missingMoves(state: State, id: PgId, pg: PgRecord): number {
  let missing = 0;
  for (const diskId of pg.target) {
    if (pg.inSync.includes(diskId)) continue;
    const disk = state.facts.disks.find(diskId);
    if (disk !== undefined && diskUse(state, disk) === 'serving') missing += 1;
  }
  return Math.min(missing, familyOf(state, id).replicas);
}

interface Follow {
  readonly pool: PoolRecord;
  readonly kind: 'rebuild' | 'rebalance';
  readonly left: MoveCount;
}

function followKind(state: State, follow: Follow, now: Now): void {
  const { pool, kind, left } = follow;
  const job = findRunningJob(state, kind, pool.name);
  if (job === null) {
    if (left.moves === 0) return;
    const reason =
      kind === 'rebuild'
        ? `${left.moves} replicas are missing: they are copied from those that are left`
        : `${left.moves} replicas are not where the plan wants them`;
    const figures =
      kind === 'rebalance' ? { fairShareBytes: fairShareBytes(state, pool.name) } : {};
    const made = startJob(
      state,
      { kind, subject: pool.name, reason, ...totals(left), figures },
      now,
    );
    sayStarted(state, made, now);
    return;
  }
  if (left.moves === 0) {
    finishMoves(state, job, pool, now);
    return;
  }
  const movesTotal = job.movesDone + left.moves;
  const totalBytes = expectedBytes(job, left);
  if (movesTotal === job.movesTotal && totalBytes === job.totalBytes) return;
  state.facts.jobs.update(job.id, { movesTotal, totalBytes });
}

/**
 * Bytes that a job has to copy in all: what it has copied, what running joins say, and for the rest the size
 * of the groups, by as much as groups needed so far.
 */
function expectedBytes(job: JobRecord, left: Readonly<MoveCount>): number {
  const held = job.figures['heldBytes'] ?? 0;
  const ratio = held > 0 ? Math.min(1, job.doneBytes / held) : 1;
  return Math.round(job.doneBytes + left.joinBytes + left.waitingBytes * ratio);
}

function finishMoves(state: State, job: JobRecord, pool: PoolRecord, now: Now): void {
  const done = state.facts.jobs.update(job.id, {
    movesTotal: job.movesDone,
    totalBytes: job.doneBytes,
  });
  const figures = job.kind === 'rebalance' ? balanceFigures(state, done, pool) : {};
  endJob(state, done, { phase: 'done', figures }, now);
  const message = `${job.kind} of pool "${pool.name}" is done: ${done.movesDone} replicas copied`;
  recordEvent(
    state,
    {
      severity: 'info',
      kind: `${job.kind}.done`,
      message: capitalize(message),
      subject: pool.name,
    },
    now,
  );
}

function balanceFigures(
  state: State,
  job: JobRecord,
  pool: PoolRecord,
): Readonly<Record<string, number>> {
  const fair = job.figures['fairShareBytes'] ?? 0;
  // Both count whole groups: what a disk should hold, and what it was given.
  const held = job.figures['heldBytes'] ?? 0;
  return {
    movedBytes: held,
    movedOverFairShareRatio: fair === 0 ? 0 : held / fair,
    fillDeviationRatio: placedDeviationRatio(state, pool.name),
  };
}

function totals(count: MoveCount): { readonly movesTotal: number; readonly totalBytes: number } {
  return { movesTotal: count.moves, totalBytes: count.joinBytes + count.waitingBytes };
}

function sayStarted(state: State, job: JobRecord, now: Now): void {
  recordEvent(
    state,
    {
      severity: 'info',
      kind: `${job.kind}.started`,
      message: `${capitalize(job.kind)} of pool "${job.subject}" begins because ${job.reason}`,
      subject: job.subject,
    },
    now,
  );
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function forgetOldJobs(state: State): void {
  const { jobs } = state.facts;
  if (jobs.size <= ENDED_JOBS_MAX) return;
  for (const job of jobs.values()) {
    if (job.phase === 'running' || job.phase === 'paused') continue;
    jobs.delete(job.id);
    if (jobs.size <= ENDED_JOBS_MAX) return;
  }
}
