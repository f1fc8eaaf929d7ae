/** Maintenance as the simulated master announces it: the windows of machines, inverse offers, and what was answered. */
import type {
  InverseOffer,
  SchedulerCall,
  SchedulerEvent,
} from '../../../shared/mesos/scheduler-messages.ts';
import type { Clock } from '../../../shared/ports.ts';
import type { Registered } from './mesos-records.ts';

interface Window {
  readonly unavailability: InverseOffer['unavailability'];
  readonly endMs: number;
  /** Not asked before this. */
  filteredUntilMs: number;
}

export interface MaintenanceSide {
  findHost(hostname: string): Registered | undefined;
  send(event: SchedulerEvent): void;
  rescind(entry: Registered): void;
}

export class MesosMaintenance {
  readonly #clock: Clock;
  readonly #master: MaintenanceSide;
  readonly #windows = new Map<string, Window>();
  /** Inverse offers that are not answered, with their host. */
  readonly #asked = new Map<string, string>();
  #count = 0;
  /** Told when the framework says that a machine may go. */
  onAccepted: (hostname: string) => void = () => undefined;

  constructor(clock: Clock, master: MaintenanceSide) {
    this.#clock = clock;
    this.#master = master;
  }

  /** Until the window of the machine is over; -Infinity without one. */
  endsInMs(hostname: string): number {
    const window = this.#windows.get(hostname);
    return window === undefined ? Number.NEGATIVE_INFINITY : window.endMs - this.#clock.wall();
  }

  announce(hostname: string, inMs: number, durationMs: number): void {
    const startMs = Math.round(this.#clock.wall() + inMs);
    this.#windows.set(hostname, {
      unavailability: {
        start: { nanoseconds: `${startMs}000000` },
        duration: { nanoseconds: `${Math.round(durationMs)}000000` },
      },
      endMs: startMs + durationMs,
      filteredUntilMs: 0,
    });
    this.#change(hostname);
  }

  /** The schedule has no such machine any more. */
  withdraw(hostname: string): void {
    if (this.#windows.delete(hostname)) this.#change(hostname);
  }

  /** Offers and inverse offers of the old schedule are taken back. */
  #change(hostname: string): void {
    for (const [id, host] of [...this.#asked]) {
      if (host !== hostname) continue;
      this.#asked.delete(id);
      this.#master.send({
        type: 'RESCIND_INVERSE_OFFER',
        rescind_inverse_offer: { inverse_offer_id: { value: id } },
      });
    }
    const entry = this.#master.findHost(hostname);
    if (entry === undefined) return;
    entry.model.unavailability = this.#windows.get(hostname)?.unavailability;
    entry.filteredUntilMs = 0;
    this.#master.rescind(entry);
  }

  /** A new subscription is asked anew. */
  forget(): void {
    this.#asked.clear();
    for (const window of this.#windows.values()) window.filteredUntilMs = 0;
  }

  /** With every allocation, while somebody is subscribed. */
  ask(): void {
    const outstanding = new Set(this.#asked.values());
    for (const [hostname, window] of this.#windows) {
      const entry = this.#master.findHost(hostname);
      if (entry === undefined || entry.lostSinceMs !== null || outstanding.has(hostname)) continue;
      if (window.filteredUntilMs > this.#clock.now()) continue;
      this.#count += 1;
      const id = `I${this.#count}`;
      this.#asked.set(id, hostname);
      const offer: InverseOffer = {
        id: { value: id },
        framework_id: { value: 'framework-1' },
        agent_id: { value: entry.agent.agentId },
        unavailability: window.unavailability,
      };
      this.#master.send({ type: 'INVERSE_OFFERS', inverse_offers: { inverse_offers: [offer] } });
    }
  }

  onAnswer(call: SchedulerCall): void {
    const answer = call.accept_inverse_offers ?? call.decline_inverse_offers;
    for (const { value } of answer?.inverse_offer_ids ?? []) {
      const hostname = this.#asked.get(value);
      const window = hostname === undefined ? undefined : this.#windows.get(hostname);
      this.#asked.delete(value);
      if (hostname === undefined || window === undefined) continue;
      window.filteredUntilMs = this.#clock.now() + (answer?.filters?.refuse_seconds ?? 5) * 1000;
      if (call.type === 'ACCEPT_INVERSE_OFFERS') this.onAccepted(hostname);
    }
  }
}
