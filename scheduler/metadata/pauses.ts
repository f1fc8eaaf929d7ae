/** Waits that end early when the store is closed, and growing ones between attempts. */
import { StorageError } from '../../shared/base/errors.ts';
import type { Clock } from '../../shared/ports.ts';

/** Between attempts to campaign while the service is away. */
const BACKOFF_MIN_MS = 250;
const BACKOFF_MAX_MS = 5_000;

export class BackOff {
  #ms = BACKOFF_MIN_MS;

  next(): number {
    const ms = this.#ms;
    this.#ms = Math.min(2 * ms, BACKOFF_MAX_MS);
    return ms;
  }
}

export class Pauses {
  readonly #clock: Clock;
  readonly #name: string;
  readonly #wakers = new Set<() => void>();
  #isClosed = false;

  /** `name`: of the store, for messages. */
  constructor(clock: Clock, name: string) {
    this.#clock = clock;
    this.#name = name;
  }

  /** So long, or until woken by what `arm` arranges, or by `close`. */
  async pause(ms: number, arm?: (wake: () => void) => Promise<void>): Promise<void> {
    let wake: () => void = () => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const timer = this.#clock.after(ms, wake);
    this.#wakers.add(wake);
    try {
      await arm?.(wake);
      await woken;
    } finally {
      timer.cancel();
      this.#wakers.delete(wake);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const wake of this.#wakers) wake();
  }

  /** Throws `unavailable` after `close`. */
  assertOpen(): void {
    if (this.#isClosed) {
      throw new StorageError('unavailable', `Metadata store "${this.#name}" is closed`);
    }
  }
}
