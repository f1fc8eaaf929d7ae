/**
 * When a pool will be full, if it goes on as it did. Once an hour the used bytes become a sample, two weeks of
 * them are kept with the pool, and the slope is the median of the slopes between all pairs of samples
 * (Theil and Sen), which a night of imports or a deleted volume does not bend. It is taken over the last day
 * and over everything, and the faster growth counts: being early costs a disk, being late costs writes.
 */
import { formatBytes, formatDuration } from '../../../shared/base/units.ts';
import type { PoolRecord, UsageSample } from '../records.ts';
import type { Now, State } from '../state.ts';
import type { PoolTrend } from '../work.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Late by less is not worth a gap. */
const SAMPLE_MS = HOUR_MS - 60_000;
/** Two weeks: a weekend is in it twice. Some 8 KiB in the pool's record. */
const SAMPLES_MAX = 336;
/** Fewer are no trend. */
const SAMPLES_MIN = 4;
/** Pairs that are looked at; of two weeks that is every third sample. */
const PAIRED_MAX = 120;
/** A pool that is emptier than this part of its threshold is not expanded for a forecast alone. */
const FORECAST_FROM_RATIO = 0.5;

export interface Forecast extends PoolTrend {
  /** Until the hard limit; null: not as things are. */
  readonly fullInMs: number | null;
}

/** Every look at the capacity: takes a sample when it is time. */
export function takeSample(state: State, pool: PoolRecord, usedBytes: number, now: Now): void {
  const samples = pool.usage ?? [];
  const last = samples.at(-1);
  const sinceMs = last === undefined ? Number.POSITIVE_INFINITY : now.wallMs - last[0];
  if (sinceMs >= 0 && sinceMs < SAMPLE_MS) return;
  // A clock that was set back makes what came before it useless.
  const kept = samples.filter(([atMs]) => atMs < now.wallMs);
  const usage = [...kept, [now.wallMs, usedBytes] as const].slice(-SAMPLES_MAX);
  state.facts.pools.update(pool.name, { usage });
  state.work.forecasts.delete(pool.name);
}

/** null: there are too few samples yet. `limitBytes`: what may be used before writes are refused. */
export function forecastOf(
  state: State,
  pool: PoolRecord,
  fill: { readonly usedBytes: number; readonly limitBytes: number },
): Forecast | null {
  const trend = trendOf(state, pool);
  if (trend === null) return null;
  const { bytesPerDay } = trend;
  const leftBytes = Math.max(0, fill.limitBytes - fill.usedBytes);
  const fullInMs = bytesPerDay <= 0 ? null : (leftBytes / bytesPerDay) * DAY_MS;
  return { ...trend, fullInMs };
}

/** Bytes that are missing to be further from full than the lead time; 0: none, and no reason to expand. */
export function missingByForecast(
  state: State,
  pool: PoolRecord,
  fill: { readonly usedBytes: number; readonly rawBytes: number },
): { readonly bytes: number; readonly fact: string } | null {
  const leadMs = state.options.expandLeadMs ?? 0;
  const { usedBytes, rawBytes } = fill;
  if (leadMs === 0 || usedBytes < rawBytes * pool.expandAtRatio * FORECAST_FROM_RATIO) return null;
  const limitBytes = rawBytes * pool.fullAtRatio;
  const forecast = forecastOf(state, pool, { usedBytes, limitBytes });
  if (forecast === null || forecast.fullInMs === null || forecast.fullInMs >= leadMs) return null;
  const laterBytes = usedBytes + forecast.bytesPerDay * (leadMs / DAY_MS);
  const fact = `pool "${pool.name}" will be full in ${formatDuration(forecast.fullInMs)}: ${describeForecast(forecast)}; the lead time is ${formatDuration(leadMs)}`;
  return { bytes: laterBytes / pool.fullAtRatio - rawBytes, fact };
}

/** For people: what the forecast is made of. */
export function describeForecast({
  bytesPerDay,
  sampleCount,
  spanMs,
  isOfLastDay,
}: PoolTrend): string {
  const span = isOfLastDay ? 'the last day' : `the last ${formatDuration(spanMs)}`;
  const growth =
    bytesPerDay < 0
      ? `it lost ${formatBytes(Math.round(-bytesPerDay))} a day`
      : `it grew by ${formatBytes(Math.round(bytesPerDay))} a day`;
  return `${growth} in ${span} (${sampleCount} hourly samples)`;
}

/** Made once for each sample: it looks at thousands of pairs. */
function trendOf(state: State, pool: PoolRecord): PoolTrend | null {
  const known = state.work.forecasts.get(pool.name);
  if (known !== undefined) return known;
  const made = makeTrend(pool.usage ?? []);
  state.work.forecasts.set(pool.name, made);
  return made;
}

function makeTrend(samples: readonly UsageSample[]): PoolTrend | null {
  const last = samples.at(-1);
  const first = samples[0];
  if (first === undefined || last === undefined || samples.length < SAMPLES_MIN) return null;
  const ofDay = samples.filter(([atMs]) => last[0] - atMs <= DAY_MS);
  const whole = slopeOf(samples);
  const recent = ofDay.length < SAMPLES_MIN ? whole : slopeOf(ofDay);
  const isOfLastDay = recent > whole && ofDay.length < samples.length;
  return {
    bytesPerDay: Math.max(whole, recent) * DAY_MS,
    sampleCount: isOfLastDay ? ofDay.length : samples.length,
    spanMs: isOfLastDay ? DAY_MS : last[0] - first[0],
    isOfLastDay,
  };
}

/** Bytes a millisecond: the median over pairs. */
export function slopeOf(samples: readonly UsageSample[]): number {
  const stride = Math.ceil(samples.length / PAIRED_MAX);
  const picked = samples.filter((_, index) => (samples.length - 1 - index) % stride === 0);
  const slopes: number[] = [];
  for (const [index, [atMs, bytes]] of picked.entries()) {
    for (const [laterMs, laterBytes] of picked.slice(index + 1)) {
      if (laterMs > atMs) slopes.push((laterBytes - bytes) / (laterMs - atMs));
    }
  }
  if (slopes.length === 0) return 0;
  slopes.sort((a, b) => a - b);
  const middle = Math.floor(slopes.length / 2);
  const upper = slopes[middle] ?? 0;
  return slopes.length % 2 === 1 ? upper : ((slopes[middle - 1] ?? 0) + upper) / 2;
}
