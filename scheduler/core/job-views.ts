/** What the operator API says of jobs and events. */
import { formatJob } from '../../shared/base/ids.ts';
import type { EventView, JobView } from '../../shared/model/api-views.ts';
import { moveKind } from './jobs.ts';
import { familyOf } from './members.ts';
import type { EventRecord, JobRecord } from './records.ts';
import type { Now, State } from './state.ts';

/** All jobs that are kept, in order of number. */
export function jobViews(state: State, now: Now): JobView[] {
  const copied = copiedBytes(state);
  return [...state.facts.jobs.values()]
    .sort((a, b) => a.id - b.id)
    .map((job) => jobView(job, copied.get(`${job.kind} ${job.subject}`) ?? 0, now));
}

/** Events with an id above `sinceId`, in order; when there are more than `limit`, the newest. */
export function eventViews(state: State, sinceId: number, limit: number): EventView[] {
  const { events, cluster } = state.facts;
  const found: EventRecord[] = [];
  for (let id = cluster.nextEvent - 1; id > sinceId && found.length < limit; id -= 1) {
    const event = events.find(id);
    // Numbers are consecutive and the oldest go first: a gap is the end.
    if (event === undefined) break;
    found.push(event);
  }
  return found.reverse().map((event) => ({
    id: event.id,
    at: new Date(event.atMs).toISOString(),
    severity: event.severity,
    kind: event.kind,
    message: event.message,
    subject: event.subject,
  }));
}

function jobView(job: JobRecord, runningBytes: number, now: Now): JobView {
  const isRunning = job.phase === 'running';
  const doneBytes = isRunning
    ? Math.min(job.totalBytes, job.doneBytes + runningBytes)
    : job.doneBytes;
  const seconds = Math.max(0, ((job.endedAtMs ?? now.wallMs) - job.startedAtMs) / 1000);
  const bytesPerSecond = seconds > 0 && doneBytes > 0 ? doneBytes / seconds : null;
  const leftBytes = job.totalBytes - doneBytes;
  return {
    id: formatJob(job.id),
    kind: job.kind,
    state: job.phase,
    subject: job.subject,
    reason: job.reason,
    startedAt: new Date(job.startedAtMs).toISOString(),
    endedAt: job.endedAtMs === null ? null : new Date(job.endedAtMs).toISOString(),
    movesTotal: job.movesTotal,
    movesDone: job.movesDone,
    totalBytes: job.totalBytes,
    doneBytes,
    progressRatio: progress(job, doneBytes),
    bytesPerSecond,
    etaSeconds: isRunning && bytesPerSecond !== null ? leftBytes / bytesPerSecond : null,
    figures: job.figures,
  };
}

/** By bytes where there are any, else by moves; an ended job that was done is whole. */
function progress(job: JobRecord, doneBytes: number): number {
  if (job.phase === 'done') return 1;
  if (job.totalBytes > 0) return Math.min(1, doneBytes / job.totalBytes);
  return job.movesTotal === 0 ? 0 : Math.min(1, job.movesDone / job.movesTotal);
}

/** What joins that are still running have copied, per job that they belong to. */
function copiedBytes(state: State): ReadonlyMap<string, number> {
  const copied = new Map<string, number>();
  for (const observed of state.nodes.values()) {
    for (const join of observed.report?.joins ?? []) {
      const pg = state.facts.pgs.find(join.pg);
      if (pg === undefined || !pg.joining.includes(join.disk)) continue;
      const key = `${moveKind(state, pg)} ${familyOf(state, pg.id).pool}`;
      copied.set(key, (copied.get(key) ?? 0) + join.doneBytes);
    }
  }
  return copied;
}
