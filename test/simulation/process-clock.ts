/**
 * The clock of one simulated process: its timers die with it. It may run a little faster or slower than
 * simulated time, as the clocks of real machines do.
 */
import type { Clock, Timer } from '../../shared/ports.ts';

/** Rounding must not make a timer fire before its time on the process's own clock. */
const ROUNDING_MS = 1e-6;

export class ProcessClock implements Clock {
  readonly #clock: Clock;
  readonly #rate: number;
  #isDead = false;

  constructor(clock: Clock, rate = 1) {
    this.#clock = clock;
    this.#rate = rate;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  kill(): void {
    this.#isDead = true;
  }

  now(): number {
    return this.#clock.now() * this.#rate;
  }

  wall(): number {
    return this.#clock.wall();
  }

  after(ms: number, action: () => void): Timer {
    return this.#clock.after(Math.max(0, ms) / this.#rate + ROUNDING_MS, () => {
      if (!this.#isDead) action();
    });
  }
}
