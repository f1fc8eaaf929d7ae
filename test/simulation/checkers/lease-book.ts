/**
 * Until when each machine may serve at the latest, from the messages of the control links alone: a
 * lease counts from when the report left that it answers, grants from when they were asked for. The
 * book is generous where it cannot know (clocks that run slow, which majority counts), so that what it
 * calls too late is too late.
 */
import type { ManagerMessage, NodeMessage } from '../../../shared/model/control.ts';
import type { Clock } from '../../../shared/ports.ts';
import type { DurableFacts } from './durable-facts.ts';
import type { ControlObserver } from './observed-ports.ts';

/**
 * Clocks run slow by at most 2 %, which makes a lease longer by 2.05 %; a millisecond for the ways inside
 * a machine.
 */
const SKEW = 0.0205;
const SLACK_MS = 1;

export class LeaseBook implements ControlObserver {
  readonly #clock: Clock;
  readonly #facts: DurableFacts;
  readonly #untilMs = new Map<string, number>();
  /** By link: when each report left. */
  readonly #sentAtMs = new WeakMap<object, Map<number, number>>();
  readonly #leaseMs = new Map<string, number>();
  /** By host and moment of asking: how many have granted. */
  readonly #grants = new Map<string, number>();

  constructor(clock: Clock, facts: DurableFacts) {
    this.#clock = clock;
    this.#facts = facts;
  }

  isHeld(host: string, atMs: number): boolean {
    return atMs <= (this.#untilMs.get(host) ?? Number.NEGATIVE_INFINITY);
  }

  endOf(host: string): number {
    return this.#untilMs.get(host) ?? Number.NEGATIVE_INFINITY;
  }

  onSent(link: object, message: NodeMessage): void {
    if (message.kind !== 'report') return;
    const sent = this.#sentAtMs.get(link) ?? new Map<number, number>();
    this.#sentAtMs.set(link, sent);
    sent.set(message.sequence, this.#clock.now());
  }

  onDelivered(link: object, host: string, message: ManagerMessage): void {
    if (message.kind === 'welcome') this.#leaseMs.set(host, message.leaseMs);
    if (message.kind !== 'lease') return;
    const sentAtMs = this.#sentAtMs.get(link)?.get(message.sequence);
    if (sentAtMs !== undefined) this.#extend(host, sentAtMs, message.durationMs);
  }

  onGranted(host: string, askedAtMs: number): void {
    const key = `${host} ${askedAtMs}`;
    const count = (this.#grants.get(key) ?? 1) + 1;
    this.#grants.set(key, count);
    const majority = Math.floor(this.#facts.votersMin / 2) + 1;
    if (count >= majority) this.#extend(host, askedAtMs, this.#leaseMs.get(host) ?? 0);
  }

  #extend(host: string, fromMs: number, durationMs: number): void {
    const untilMs = fromMs + durationMs * (1 + SKEW) + SLACK_MS;
    this.#untilMs.set(host, Math.max(untilMs, this.#untilMs.get(host) ?? 0));
  }
}
