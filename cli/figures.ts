/** Words, colours and bars for figures: one way to show each, in all commands. */
import { formatBytes, formatDuration } from '../shared/base/units.ts';
import type {
  CapacityView,
  Health,
  HealthReason,
  IoView,
  JobView,
  PgCounts,
} from '../shared/model/api-views.ts';
import type { Colors } from './terminal.ts';

/** States by what they mean for an operator; what is not named here is in between. */
const GOOD = new Set(['ok', 'up', 'serving', 'clean', 'attached', 'done', 'ready', 'active']);
const BAD = new Set(['critical', 'down', 'failed', 'lost', 'unavailable', 'fenced', 'error']);

export function colorState(state: string, colors: Colors): string {
  if (GOOD.has(state)) return colors.green(state);
  return BAD.has(state) ? colors.red(state) : colors.yellow(state);
}

export function healthSign(health: Health, colors: Colors): string {
  const signs = { ok: '✔', degraded: '▲', critical: '✖' } as const;
  return colorHealth(`${signs[health]} ${health}`, health, colors);
}

function colorHealth(text: string, health: Health, colors: Colors): string {
  if (health === 'ok') return colors.green(text);
  return health === 'degraded' ? colors.yellow(text) : colors.red(text);
}

/** What is wrong, and on the next line what happens about it. */
export function reasonLines(
  reasons: readonly HealthReason[],
  health: Health,
  colors: Colors,
): readonly string[] {
  return reasons.flatMap((reason) => [
    `${colorHealth('•', health, colors)} ${reason.message}`,
    `  ${colors.dim('→')} ${reason.next}`,
  ]);
}

/** `0.4235` → `42 %`; small but not zero is never shown as zero. */
export function formatRatio(ratio: number): string {
  const percent = ratio * 100;
  if (percent > 0 && percent < 1) return '<1 %';
  return `${Math.floor(percent + 1e-9)} %`;
}

export function formatCount(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 0 });
}

export function plural(value: number, noun: string): string {
  return `${formatCount(value)} ${noun}${value === 1 ? '' : 's'}`;
}

export function formatLatency(ms: number | null): string {
  if (ms === null) return '–';
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

export function formatIo(io: IoView): string {
  if (io.readOpsPerSecond + io.writeOpsPerSecond === 0) return 'idle';
  const read = `${formatCount(io.readOpsPerSecond)} reads/s ${formatBytes(io.readBytesPerSecond)}/s ${formatLatency(io.readLatencyMs)}`;
  const write = `${formatCount(io.writeOpsPerSecond)} writes/s ${formatBytes(io.writeBytesPerSecond)}/s ${formatLatency(io.writeLatencyMs)}`;
  return `${read} · ${write}`;
}

export function formatPgs(pgs: PgCounts, colors: Colors): string {
  const parts = (['clean', 'misplaced', 'degraded', 'unavailable'] as const)
    .filter((state) => pgs[state] > 0)
    .map((state) => {
      const text = `${formatCount(pgs[state])} ${state}`;
      return state === 'misplaced'
        ? colors.cyan(text)
        : text.replace(state, colorState(state, colors));
    });
  return parts.length === 0 ? 'none yet' : parts.join(', ');
}

export function formatBar(ratio: number, width: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, ratio)) * width);
  return '█'.repeat(filled) + '░'.repeat(width - filled);
}

/** used █, free ░, reserve ▒ at the end of free: the order in which space is taken. */
export function formatCapacityBar(capacity: CapacityView, width: number): string {
  if (capacity.rawBytes === 0) return '░'.repeat(width);
  const used = Math.round((capacity.usedBytes / capacity.rawBytes) * width);
  const reserve = Math.round((capacity.reserveBytes / capacity.rawBytes) * width);
  const free = Math.max(0, width - used - reserve);
  return ('█'.repeat(used) + '░'.repeat(free) + '▒'.repeat(reserve)).slice(0, width);
}

export function formatJobProgress(job: JobView): string {
  const parts = [`${formatBytes(job.doneBytes)} of ${formatBytes(job.totalBytes)}`];
  if (job.bytesPerSecond !== null) parts.push(`${formatBytes(job.bytesPerSecond)}/s`);
  if (job.state === 'running') {
    parts.push(
      job.etaSeconds === null
        ? 'time left unknown'
        : `${formatDuration(job.etaSeconds * 1000)} left`,
    );
  }
  return parts.join(', ');
}

/** How long ago, for people: `3m 12s ago`. */
export function formatAge(iso: string, nowMs: number): string {
  return `${formatDuration(Math.max(0, nowMs - Date.parse(iso)))} ago`;
}

/** Local time of day, with the date when it is not today's. */
export function formatTime(iso: string, nowMs: number): string {
  const at = new Date(iso);
  const pad = (value: number) => String(value).padStart(2, '0');
  const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  if (at.toDateString() === new Date(nowMs).toDateString()) return clock;
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock}`;
}
