/** How figures are written: one way for each kind, on the whole page. */
import type { DiskView, Health, JobView, NodeView } from '../shared/model/api-views.ts';

export { formatBytes, formatDuration } from '../shared/base/units.ts';

/** How a thing looks: good, needs attention soon, needs it now, in between, or of no account. */
export type Tone = 'good' | 'warn' | 'bad' | 'info' | 'idle';

export const HEALTH_TONES: Readonly<Record<Health, Tone>> = {
  ok: 'good',
  degraded: 'warn',
  critical: 'bad',
};

export const NODE_TONES: Readonly<Record<NodeView['state'], Tone>> = {
  starting: 'info',
  up: 'good',
  down: 'bad',
  fenced: 'bad',
  draining: 'info',
  drained: 'idle',
  gone: 'idle',
};

export const DISK_TONES: Readonly<Record<DiskView['state'], Tone>> = {
  claiming: 'info',
  launched: 'info',
  serving: 'good',
  down: 'bad',
  failed: 'bad',
  releasing: 'info',
  lost: 'bad',
};

export const JOB_TONES: Readonly<Record<JobView['state'], Tone>> = {
  running: 'info',
  done: 'good',
  failed: 'bad',
  cancelled: 'idle',
  paused: 'warn',
};

/** Small but not zero is never shown as zero, and almost full never as full. */
export function formatRatio(ratio: number): string {
  const percent = ratio * 100;
  if (percent > 0 && percent < 1) return '<1 %';
  return `${Math.floor(percent + 1e-9)} %`;
}

/** `1234` → `1,234`; from 10,000 on `12.3k`. */
export function formatCount(value: number): string {
  if (value >= 1_000_000) return `${(value / 1_000_000).toFixed(1)}M`;
  if (value >= 10_000) return `${(value / 1000).toFixed(1)}k`;
  return Math.round(value).toLocaleString('en-US');
}

export function plural(value: number, noun: string): string {
  return `${formatCount(value)} ${noun}${value === 1 ? '' : 's'}`;
}

export function formatLatency(ms: number | null): string {
  if (ms === null) return '–';
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** Time of day; with the day when it is not today. */
export function formatTime(iso: string, now: Date): string {
  const at = new Date(iso);
  const clock = at.toLocaleTimeString('en-GB');
  if (at.toDateString() === now.toDateString()) return clock;
  return `${at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} ${clock.slice(0, 5)}`;
}
