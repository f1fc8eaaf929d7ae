/**
 * The stand-in's clock: real time, with Mesos' own intervals divided by `scale` so that tests need
 * not wait for 75 s of missed pings. Not scaled: what real processes need (an executor's grace
 * period and its window to come back), since those processes do not run faster.
 */

export type Cancel = () => void;

export class Timing {
  readonly scale: number;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(scale: number) {
    this.scale = scale;
  }

  /** Mesos' milliseconds as real ones. */
  scaled(ms: number): number {
    return ms / this.scale;
  }

  /** Runs `action` after `ms` of Mesos' time. */
  after(ms: number, action: () => void): Cancel {
    return this.afterReal(this.scaled(ms), action);
  }

  /** Runs `action` after `ms` of real time. Timers never keep the process alive by themselves. */
  afterReal(ms: number, action: () => void): Cancel {
    // setTimeout cannot wait longer than a signed 32-bit number of milliseconds; that is 24 days.
    const bounded = Math.min(Math.max(0, ms), 0x7fffffff);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, bounded);
    this.#timers.add(timer);
    return () => {
      clearTimeout(timer);
      this.#timers.delete(timer);
    };
  }

  /** Runs `action` every `ms` of Mesos' time. */
  every(ms: number, action: () => void): Cancel {
    const timer = setInterval(action, Math.max(1, this.scaled(ms)));
    this.#timers.add(timer);
    return () => {
      clearInterval(timer);
      this.#timers.delete(timer);
    };
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}

/** Seconds since 1970, as statuses carry them. */
export function nowSeconds(): number {
  return Date.now() / 1000;
}

/** Nanoseconds since 1970 as decimal digits: they do not fit a double. */
export function nowNanoseconds(): string {
  return `${BigInt(Date.now()) * 1_000_000n}`;
}

/** As Mesos prints a duration, for messages and environment variables. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  if (ms % 60_000 === 0) return `${ms / 60_000}mins`;
  return `${ms / 1000}secs`;
}

/** Milliseconds of a DurationInfo, or of nothing. */
export function durationMs(
  duration: { readonly nanoseconds: number | string } | undefined,
): number | undefined {
  return duration === undefined ? undefined : Number(duration.nanoseconds) / 1e6;
}
