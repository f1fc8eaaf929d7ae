/** What the operator API says of jobs and events. */
import { formatJob } from '../../../shared/base/ids.ts';
import type { EventView, JobView } from '../../../shared/model/api-views.ts';
import { doneBytesOf, rateOf } from '../jobs/job-progress.ts';
import type { EventRecord, JobRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

/** All jobs that are kept, in order of number. */
export function jobViews(state: State, now: Now): JobView[] {
  return [...state.facts.jobs.values()]
    .sort((a, b) => a.id - b.id)
    .map((job) => jobView(state, job, now));
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

function jobView(state: State, job: JobRecord, now: Now): JobView {
  const isRunning = job.phase === 'running';
  const doneBytes = isRunning ? doneBytesOf(state, job) : job.doneBytes;
  const totalBytes = Math.max(job.totalBytes, doneBytes);
  const seconds = Math.max(0, ((job.endedAtMs ?? now.wallMs) - job.startedAtMs) / 1000);
  const mean = seconds > 0 && doneBytes > 0 ? doneBytes / seconds : null;
  // While it runs what counts is how it goes now; nothing moves: no estimate.
  const bytesPerSecond = isRunning ? rateOf(state, job) : mean;
  const leftBytes = totalBytes - doneBytes;
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
    totalBytes,
    doneBytes,
    progressRatio: progress(job, doneBytes, totalBytes),
    bytesPerSecond,
    etaSeconds: isRunning && bytesPerSecond !== null ? leftBytes / bytesPerSecond : null,
    figures: job.figures,
  };
}

/** By bytes where there are any, else by moves; an ended job that was done is whole. */
function progress(job: JobRecord, doneBytes: number, totalBytes: number): number {
  if (job.phase === 'done') return 1;
  if (totalBytes > 0) return doneBytes / totalBytes;
  return job.movesTotal === 0 ? 0 : Math.min(1, job.movesDone / job.movesTotal);
}
