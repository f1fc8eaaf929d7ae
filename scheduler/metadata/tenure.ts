/**
 * How long a process may count on its seat at a coordination service: from the last moment at which the
 * service is known to have heard of it, for nine tenths of the session. Counted here, on the monotonic
 * clock, by a timer and again at every question: a process that was stopped beyond its session knows when
 * it goes on, before anybody tells it.
 */
import { StorageError } from '../../shared/base/errors.ts';
import type { Clock, Timer } from '../../shared/ports.ts';

/** The rest is for clocks that run at another pace, and for the service's own ticks. */
const SHARE = 0.9;

export class Tenure {
  readonly lost: Promise<string>;
  readonly #clock: Clock;
  readonly #sessionMs: number;
  readonly #settle: (reason: string) => void;
  #confirmedAtMs: number;
  #endReason: string | null = null;
  #timer: Timer;

  /** `confirmedAtMs`: when the request was sent whose answer says that the session lives. */
  constructor(clock: Clock, sessionMs: number, confirmedAtMs: number) {
    this.#clock = clock;
    this.#sessionMs = sessionMs;
    this.#confirmedAtMs = confirmedAtMs;
    let settle: (reason: string) => void = () => undefined;
    this.lost = new Promise((resolve) => {
      settle = resolve;
    });
    this.#settle = settle;
    this.#timer = this.#watch();
  }

  /** An answer to what was sent at `sentAtMs` came: the service holds the session. */
  confirm(sentAtMs: number): void {
    this.#confirmedAtMs = Math.max(this.#confirmedAtMs, sentAtMs);
  }

  /** Why this process cannot count on leading any more; null while it can. */
  get endReason(): string | null {
    if (this.#endReason === null && this.#leftMs() <= 0) {
      this.end(
        `The metadata store did not confirm the session for ${Math.round(this.#clock.now() - this.#confirmedAtMs)} ms (of ${this.#sessionMs} ms)`,
      );
    }
    return this.#endReason;
  }

  assertHolds(): void {
    const reason = this.endReason;
    if (reason !== null) throw new StorageError('conflict', `Leadership is over: ${reason}`);
  }

  /** The first reason counts. */
  end(reason: string): void {
    if (this.#endReason !== null) return;
    this.#endReason = reason;
    this.#timer.cancel();
    this.#settle(reason);
  }

  #leftMs(): number {
    return this.#confirmedAtMs + this.#sessionMs * SHARE - this.#clock.now();
  }

  #watch(): Timer {
    return this.#clock.after(Math.max(1, this.#leftMs()), () => {
      if (this.endReason === null) this.#timer = this.#watch();
    });
  }
}
