/**
 * One direction of a reliable link between two simulated hosts: everything arrives in order after a
 * random delay; behind a blocked way it waits, as TCP repeats what was lost; a host without power
 * swallows it.
 */
import type { Prng } from '../../../shared/base/prng.ts';
import type { Clock } from '../../../shared/ports.ts';
import type { SimulatedNetwork } from './simulated-network.ts';

export interface PathModules {
  readonly clock: Clock;
  readonly random: Prng;
  readonly network: SimulatedNetwork;
}

/** How often a blocked way is tried again. */
const RETRY_MS = 50;

export class OrderedPath {
  readonly #from: string;
  readonly #to: string;
  readonly #modules: PathModules;
  readonly #delayMsMax: () => number;
  #lastArrivalMs = 0;
  #waiting: (() => void)[] = [];

  constructor(from: string, to: string, delayMsMax: () => number, modules: PathModules) {
    this.#from = from;
    this.#to = to;
    this.#delayMsMax = delayMsMax;
    this.#modules = modules;
  }

  send(arrive: () => void): void {
    const { clock, random } = this.#modules;
    const delayMs = 0.05 + random.fraction() * this.#delayMsMax();
    this.#lastArrivalMs = Math.max(clock.now() + delayMs, this.#lastArrivalMs);
    clock.after(this.#lastArrivalMs - clock.now(), () => {
      if (this.#waiting.length > 0 || this.#isBlocked()) this.#hold(arrive);
      else this.#arrive(arrive);
    });
  }

  #isBlocked(): boolean {
    return this.#modules.network.isBlocked(this.#from, this.#to);
  }

  #arrive(action: () => void): void {
    if (this.#modules.network.host(this.#to).isUp) action();
  }

  #hold(action: () => void): void {
    this.#waiting.push(action);
    if (this.#waiting.length > 1) return;
    const retry = (): void => {
      if (this.#isBlocked()) {
        this.#modules.clock.after(RETRY_MS, retry);
        return;
      }
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const held of waiting) this.#arrive(held);
    };
    this.#modules.clock.after(RETRY_MS, retry);
  }
}
