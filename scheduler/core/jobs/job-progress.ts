/**
 * How far running jobs really are: bytes that went over the wire, not the size of what is now in place. A
 * disk that comes back has most of it already, so its groups are whole after a small part of their size.
 *
 * What a job has done never becomes less in people's eyes, even when a copy is given up and begins anew;
 * its rate is that of the last half minute, so that an estimate says what is true now; and a job that has not
 * moved for a while is known as such (explain-job.ts says why).
 */
import type { JobId } from '../../../shared/base/ids.ts';
import { familyOf } from '../members/members.ts';
import type { JobRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import type { JobProgress } from '../work.ts';
import { moveKind } from './jobs.ts';
import { findScrub, scrubbingBytes } from './scrubs.ts';

const LOOK_MS = 1_000;
/** Long enough to even out single extents, short enough to follow the load. */
const RATE_WINDOW_MS = 30_000;
/** A copy of one group takes seconds; a job that shows nothing for so long waits for something. */
const STUCK_MS = 60_000;

/** Every tick, once a second: takes a sample of each running job. */
export function followProgress(state: State, now: Now): void {
  const { work } = state;
  if (now.ms < work.nextProgressAtMs) return;
  work.nextProgressAtMs = now.ms + LOOK_MS;
  const running = [...state.facts.jobs.values()].filter((job) => job.phase === 'running');
  const known = new Set(running.map((job) => job.id));
  for (const id of work.jobProgress.keys()) if (!known.has(id)) work.jobProgress.delete(id);
  if (running.length === 0) return;
  // Joins say anew how much is left, and no fact changes with that.
  work.isJobsDirty = true;
  const copied = copiedByJoins(state);
  for (const job of running) {
    const bytes = job.doneBytes + (copied.get(`${job.kind} ${job.subject}`) ?? 0);
    work.jobProgress.set(job.id, advance(work.jobProgress.get(job.id), job, bytes, now.ms));
  }
}

/** Done so far as people see it; at least what the record says. */
export function doneBytesOf(state: State, job: JobRecord): number {
  return Math.max(job.doneBytes, state.work.jobProgress.get(job.id)?.bytes ?? 0);
}

/** Bytes per second lately; null when nothing moved or nobody has looked for long enough. */
export function rateOf(state: State, job: JobRecord): number | null {
  const progress = state.work.jobProgress.get(job.id);
  if (progress === undefined) return null;
  const seconds = (progress.atMs - progress.base.atMs) / 1000;
  const bytes = progress.bytes - progress.base.bytes;
  return seconds < 1 || bytes <= 0 ? null : bytes / seconds;
}

/** Since when (manager's clock) a running job has shown no progress, when that is long; else null. */
export function stuckSinceMs(state: State, id: JobId, now: Now): number | null {
  const progress = state.work.jobProgress.get(id);
  if (progress === undefined || now.ms - progress.changedAtMs < STUCK_MS) return null;
  return progress.changedAtMs;
}

function advance(
  known: JobProgress | undefined,
  job: JobRecord,
  bytes: number,
  nowMs: number,
): JobProgress {
  const point = { atMs: nowMs, bytes };
  if (known === undefined) {
    return { ...point, moves: job.movesDone, changedAtMs: nowMs, base: point, middle: point };
  }
  const best = Math.max(known.bytes, bytes);
  const hasMoved = best > known.bytes || job.movesDone > known.moves;
  // Two points that take turns: the rate is always over one to two windows.
  const isDue = nowMs - known.middle.atMs >= RATE_WINDOW_MS / 2;
  return {
    atMs: nowMs,
    bytes: best,
    moves: Math.max(known.moves, job.movesDone),
    changedAtMs: hasMoved ? nowMs : known.changedAtMs,
    base: isDue ? known.middle : known.base,
    middle: isDue ? { atMs: nowMs, bytes: best } : known.middle,
  };
}

/** What joins and scrubs that still run have done, per job that they belong to. */
function copiedByJoins(state: State): ReadonlyMap<string, number> {
  const copied = new Map<string, number>();
  for (const observed of state.nodes.values()) {
    for (const join of observed.report?.joins ?? []) {
      const pg = state.facts.pgs.find(join.pg);
      if (pg === undefined || !pg.joining.includes(join.disk)) continue;
      const key = `${moveKind(state, pg)} ${familyOf(state, pg.id).pool}`;
      copied.set(key, (copied.get(key) ?? 0) + join.doneBytes);
    }
  }
  const scrub = findScrub(state);
  if (scrub !== null) copied.set(`scrub ${scrub.subject}`, scrubbingBytes(state));
  return copied;
}
