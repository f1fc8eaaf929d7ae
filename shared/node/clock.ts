/**
 * The real clock. `now()` counts on the system-wide monotonic clock, so that two processes of one
 * machine agree on it (an executor tells its data process until when a lease runs).
 */
import type { Clock, Timer } from '../ports.ts';

/** performance.now() starts at zero in every process; this is the distance to the system's zero. */
const offsetMs = Number(process.hrtime.bigint() / 1000n) / 1000 - performance.now();

export const systemClock: Clock = {
  now: () => performance.now() + offsetMs,
  wall: () => Date.now(),
  after(ms: number, action: () => void): Timer {
    const timer = setTimeout(action, ms);
    return { cancel: () => clearTimeout(timer) };
  },
};
