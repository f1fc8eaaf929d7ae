/** What the operator API says of a pool's future: its forecast, and what was asked of the capacity hook. */
import type { CapacityHookView, ForecastView } from '../../../shared/model/api-views.ts';
import { countedDisks, poolCapacity } from '../capacity/capacity.ts';
import { describeForecast, forecastOf } from '../capacity/forecast.ts';
import type { PoolRecord } from '../records.ts';
import type { State } from '../state.ts';

export function forecastView(state: State, pool: PoolRecord): ForecastView | null {
  // Before all disks were heard of, what they hold is missing.
  if (countedDisks(state, pool.name).some((disk) => !state.disks.has(disk.id))) return null;
  const { usedBytes, rawBytes } = poolCapacity(state, pool);
  const forecast = forecastOf(state, pool, { usedBytes, limitBytes: rawBytes * pool.fullAtRatio });
  if (forecast === null) return null;
  return {
    bytesPerDay: Math.round(forecast.bytesPerDay),
    fullInSeconds: forecast.fullInMs === null ? null : Math.round(forecast.fullInMs / 1000),
    sampleCount: forecast.sampleCount,
    spanSeconds: Math.round(forecast.spanMs / 1000),
    basis: describeForecast(forecast),
    leadSeconds: (state.options.expandLeadMs ?? 0) / 1000,
  };
}

export function capacityHookView(state: State, pool: PoolRecord): CapacityHookView | null {
  const { hook } = pool;
  if (hook === undefined || hook === null) return null;
  return {
    state: hook.state,
    key: hook.key,
    diskCount: hook.count,
    attempts: hook.attempts,
    askedAt: new Date(hook.askedAtMs).toISOString(),
    nextAt: hook.nextAtMs === 0 ? null : new Date(hook.nextAtMs).toISOString(),
    message: hook.message,
    disksToday: hook.disksToday,
    disksPerDay: state.options.capacityHook?.disksPerDay ?? 0,
  };
}
