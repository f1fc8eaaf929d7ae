/**
 * The clock of one simulated machine: it runs a little faster or slower than simulated time, and its
 * pace may change. Never goes back.
 */
import type { Clock, Timer } from '../../../shared/ports.ts';

/** Rounding must not make a timer fire before its time on the machine's own clock. */
const ROUNDING_MS = 1e-6;

export class MachineClock implements Clock {
  readonly #clock: Clock;
  #rate: number;
  /** A moment of simulated time, and what this clock said then. */
  #sinceMs: number;
  #baseMs: number;

  constructor(clock: Clock, rate = 1) {
    this.#clock = clock;
    this.#rate = rate;
    this.#sinceMs = 0;
    this.#baseMs = 0;
  }

  /** 1.01: one percent too fast from now on. */
  setRate(rate: number): void {
    this.#baseMs = this.now();
    this.#sinceMs = this.#clock.now();
    this.#rate = rate;
  }

  now(): number {
    return this.#baseMs + (this.#clock.now() - this.#sinceMs) * this.#rate;
  }

  wall(): number {
    return this.#clock.wall();
  }

  after(ms: number, action: () => void): Timer {
    const dueMs = this.now() + Math.max(0, ms);
    let isCancelled = false;
    let timer: Timer;
    const arm = (): void => {
      const waitMs = (dueMs - this.now()) / this.#rate + ROUNDING_MS;
      timer = this.#clock.after(waitMs, () => {
        if (isCancelled) return;
        // The pace has changed meanwhile.
        if (this.now() < dueMs) arm();
        else action();
      });
    };
    arm();
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }
}
