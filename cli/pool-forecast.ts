/** A pool's future in words: days to full with their basis, and what became of asking the capacity hook. */
import { formatDuration } from '../shared/base/units.ts';
import type { CapacityHookView, PoolView } from '../shared/model/api-views.ts';
import { formatAge } from './figures.ts';

/** Farther away is nobody's concern today. */
const SOON_SECONDS = 30 * 86_400;

export function describeFuture({ forecast }: PoolView): string {
  if (forecast === null) return 'too early: one sample is taken each hour, four are needed';
  const { fullInSeconds, basis } = forecast;
  if (fullInSeconds === null) return `it does not become fuller: ${basis}`;
  return `full in ${formatDuration(fullInSeconds * 1000)}: ${basis}`;
}

/** Pools that will be full within a month, soonest first. */
export function describeSoonFull(pools: readonly PoolView[]): readonly string[] {
  const secondsOf = ({ forecast }: PoolView): number =>
    forecast?.fullInSeconds ?? Number.POSITIVE_INFINITY;
  return pools
    .filter((pool) => secondsOf(pool) < SOON_SECONDS)
    .sort((a, b) => secondsOf(a) - secondsOf(b))
    .map((pool) => `pool "${pool.name}" is ${describeFuture(pool)}`);
}

export function describeHook(hook: CapacityHookView, nowMs: number): string {
  const { state, diskCount, message, attempts } = hook;
  const said = message === '' ? '' : `: ${message}`;
  const when = `${formatAge(hook.askedAt, nowMs)} for ${diskCount} disks`;
  const bound = `${hook.disksToday} of ${hook.disksPerDay} for today`;
  if (state === 'asked') return `asked ${when}, no answer yet (${bound})`;
  if (state === 'promised') return `asked ${when}, promised${said} (${bound})`;
  if (state === 'waiting') return `asked ${when}, failed ${attempts} times${said} (${bound})`;
  return `asked ${when}, no longer needed (${bound})`;
}
