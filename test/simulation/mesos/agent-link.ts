/**
 * The connection between the simulated Mesos master and one agent. As on a TCP connection, words arrive in
 * the order in which they were sent, late or not, each way on its own; what is under way when the
 * connection breaks is lost. Who may still be heard then is decided by the master (simulated-mesos.ts).
 */
import type { Prng } from '../../../shared/base/prng.ts';
import type { Clock } from '../../../shared/ports.ts';

type Way = 'up' | 'down';

export class AgentLink {
  readonly #clock: Clock;
  readonly #random: Prng;
  readonly #delayMsMax: () => number;
  readonly #lastArrivalMs: Record<Way, number> = { up: 0, down: 0 };
  #connection = 0;

  constructor(modules: { clock: Clock; random: Prng; delayMsMax: () => number }) {
    this.#clock = modules.clock;
    this.#random = modules.random;
    this.#delayMsMax = modules.delayMsMax;
  }

  /** From the agent to the master. */
  up(arrive: () => void): void {
    this.#send('up', arrive);
  }

  /** From the master to the agent. */
  down(arrive: () => void): void {
    this.#send('down', arrive);
  }

  break(): void {
    this.#connection += 1;
    const nowMs = this.#clock.now();
    this.#lastArrivalMs.up = nowMs;
    this.#lastArrivalMs.down = nowMs;
  }

  #send(way: Way, arrive: () => void): void {
    const connection = this.#connection;
    const nowMs = this.#clock.now();
    const dueMs = nowMs + this.#random.fraction() * this.#delayMsMax();
    const arrivalMs = Math.max(dueMs, this.#lastArrivalMs[way]);
    this.#lastArrivalMs[way] = arrivalMs;
    this.#clock.after(arrivalMs - nowMs, () => {
      if (connection === this.#connection) arrive();
    });
  }
}
