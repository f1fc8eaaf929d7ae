/**
 * Between the stream and its consumer: events are decoded as soon as their bytes arrive (the master
 * buffers without bound for a slow reader) and wait here, in order, while the consumer commits. When it
 * falls too far behind the subscription is dropped: reconciliation brings back what mattered.
 */
import { BoundedQueue } from '../../shared/base/bounded-queue.ts';
import type { SchedulerEvent } from '../../shared/mesos/scheduler-messages.ts';

/** A failover of a large cluster brings an update per task at once: tens of thousands. */
const EVENTS_WAITING_MAX = 100_000;

/** A consumer that fails ends the process: its rejection is nobody's to handle. */
export class EventQueue {
  readonly #consume: (event: SchedulerEvent) => undefined | Promise<void>;
  readonly #onBroken: (reason: string) => void;
  #waiting = new BoundedQueue<SchedulerEvent>(EVENTS_WAITING_MAX);
  #isRunning = false;

  constructor(
    consume: (event: SchedulerEvent) => undefined | Promise<void>,
    onBroken: (reason: string) => void,
  ) {
    this.#consume = consume;
    this.#onBroken = onBroken;
  }

  push(event: SchedulerEvent): void {
    if (!this.#waiting.push(event)) {
      this.#onBroken(`${EVENTS_WAITING_MAX} events wait to be handled`);
      return;
    }
    if (!this.#isRunning) void this.#run();
  }

  /** Forgets what waits: it belongs to a subscription that ended. */
  clear(): void {
    this.#waiting = new BoundedQueue<SchedulerEvent>(EVENTS_WAITING_MAX);
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      for (;;) {
        const event = this.#waiting.shift();
        if (event === undefined) return;
        const pending = this.#consume(event);
        if (pending !== undefined) await pending;
      }
    } finally {
      this.#isRunning = false;
    }
  }
}
