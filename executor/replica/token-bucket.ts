/**
 * A limit in bytes per second for background work. Callers queue in order; a bucket may be overdrawn
 * by one item, so that no item is too large for it. 0 stops everything until the limit changes.
 */
import type { Clock, Timer } from '../../shared/ports.ts';

/** What may be taken at once after a rest: enough to keep the pipe full between two timers. */
const BURST_SECONDS = 0.1;

export class TokenBucket {
  readonly #clock: Clock;
  #bytesPerSecond: number;
  #tokens = 0;
  #filledMs: number;
  #waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  #timer: Timer | null = null;

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#filledMs = clock.now();
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  setLimit(bytesPerSecond: number): void {
    this.#fill();
    this.#bytesPerSecond = bytesPerSecond;
    this.#timer?.cancel();
    this.#timer = null;
    this.#serve();
  }

  /** Calls `go` when the bytes may be moved; maybe at once. */
  take(bytes: number, go: () => void): void {
    this.#waiting.push({ bytes, go });
    if (this.#waiting.length === 1) this.#serve();
  }

  #fill(): void {
    const now = this.#clock.now();
    const earned = ((now - this.#filledMs) / 1000) * this.#bytesPerSecond;
    this.#filledMs = now;
    this.#tokens = Math.min(this.#tokens + earned, this.#bytesPerSecond * BURST_SECONDS);
  }

  #serve(): void {
    if (this.#timer !== null) return;
    this.#fill();
    while (this.#waiting.length > 0 && this.#tokens > 0) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#tokens -= next.bytes;
      next.go();
    }
    if (this.#waiting.length === 0 || this.#bytesPerSecond === 0) return;
    // Never shorter than a millisecond: a very high limit must not become a busy loop.
    const waitMs = Math.max(1, (-this.#tokens / this.#bytesPerSecond) * 1000 + 1);
    this.#timer = this.#clock.after(waitMs, () => {
      this.#timer = null;
      this.#serve();
    });
  }
}
