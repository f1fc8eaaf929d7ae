/** Work in progress with its end in sight, then what ended lately. */
import type { JobView } from '../shared/model/api-views.ts';
import { formatBytes, formatDuration, formatRatio, formatTime, JOB_TONES } from './figures.ts';
import { html, type Markup } from './html.ts';

const ENDED_MAX = 3;

interface JobsProps {
  readonly jobs: readonly JobView[];
  readonly at: string;
}

export function JobsPanel({ jobs, at }: JobsProps): Markup {
  const running = jobs.filter((job) => job.state === 'running');
  const ended = jobs.filter((job) => job.state !== 'running').slice(0, ENDED_MAX);
  return html`<section class="panel panel-jobs" aria-labelledby="jobs-title">
    <h2 id="jobs-title">Jobs <span class="count">${running.length === 0 ? 'none running' : `${running.length} running`}</span></h2>
    ${running.map((job) => html`<${RunningJob} key=${job.id} job=${job} />`)}
    ${
      ended.length > 0 &&
      html`<ul class="ended">${ended.map(
        (job) => html`<li key=${job.id}>
          <span class="tag tone-${JOB_TONES[job.state]}">${job.state}</span>
          <span>${job.kind} ${job.subject} <span class="muted small">· ${formatBytes(job.doneBytes)}${describeEnd(job, at)}</span></span>
        </li>`,
      )}</ul>`
    }
  </section>`;
}

function RunningJob({ job }: { job: JobView }): Markup {
  const left =
    job.etaSeconds === null ? 'time left unknown' : `${formatDuration(job.etaSeconds * 1000)} left`;
  const rate = job.bytesPerSecond === null ? '' : ` at ${formatBytes(job.bytesPerSecond)}/s`;
  return html`<div class="job" data-job=${job.id}>
    <p class="job-line"><strong>${job.kind} ${job.subject}</strong><span class="muted small">${job.id}</span>
      <span class="grow"></span><span class="job-ratio">${formatRatio(job.progressRatio)}</span><span class="muted">${left}</span></p>
    <progress max="1" value=${job.progressRatio} aria-label=${`${job.kind} ${job.subject}: ${formatRatio(job.progressRatio)}, ${left}`}></progress>
    <p class="muted small">${formatBytes(job.doneBytes)} of ${formatBytes(job.totalBytes)}${rate}, ${job.movesDone} of ${job.movesTotal} moves · ${job.reason}</p>
  </div>`;
}

function describeEnd(job: JobView, at: string): string {
  if (job.endedAt === null) return '';
  const tookMs = Math.max(0, Date.parse(job.endedAt) - Date.parse(job.startedAt));
  return ` in ${formatDuration(tookMs)}, ${formatTime(job.endedAt, new Date(at))}`;
}
