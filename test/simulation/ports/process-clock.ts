/**
 * The clock of one simulated process: its timers die with it. While the process is stopped (as by
 * SIGSTOP, or starved by its machine) nothing that waits for it happens; all of it does, late and in
 * order, when it goes on.
 */
import type { Clock, Timer } from '../../../shared/ports.ts';

export class ProcessClock implements Clock {
  readonly #clock: Clock;
  #isDead = false;
  /** What waits for a stopped process; null while it runs. */
  #held: (() => void)[] | null = null;

  /** `clock`: of the machine. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get isStopped(): boolean {
    return this.#held !== null;
  }

  kill(): void {
    this.#isDead = true;
    this.#held = null;
  }

  stop(): void {
    if (!this.#isDead) this.#held ??= [];
  }

  goOn(): void {
    const held = this.#held;
    this.#held = null;
    // Each in a turn of its own, before anything that comes later.
    for (const action of held ?? []) this.#clock.after(0, action);
  }

  /** At once, or when the process goes on; never when it is dead. */
  whenRunning(action: () => void): void {
    if (this.#isDead) return;
    if (this.#held === null) action();
    else this.#held.push(() => this.whenRunning(action));
  }

  now(): number {
    return this.#clock.now();
  }

  wall(): number {
    return this.#clock.wall();
  }

  after(ms: number, action: () => void): Timer {
    let isCancelled = false;
    const run = (): void => {
      if (!isCancelled) action();
    };
    const timer = this.#clock.after(ms, () => {
      if (this.#held === null) {
        if (!this.#isDead && !isCancelled) action();
      } else this.whenRunning(run);
    });
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }
}
