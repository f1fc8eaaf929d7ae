/**
 * The two streams: `/v1/stream` sends whole snapshots, at most one a second however busy the manager
 * is; `/v1/events/stream` sends every event once, in order, and goes on after `Last-Event-ID`.
 */
import { StorageError } from '../../shared/base/errors.ts';
import type { SchedulerMetrics } from '../metrics.ts';
import type { EventSource } from './event-source.ts';
import type { ManagerPort } from './manager-port.ts';
import { takeSnapshot } from './snapshot.ts';

/** Browser tabs of a team; each costs a snapshot's bytes a second. */
const CLIENTS_MAX = 100;
const SNAPSHOT_MS = 1000;
/** Without a change: so that figures that are only observed (fill, rates) and the clock move on. */
const QUIET_PERIODS = 3;
/** Events of one commit arrive together; more than a person notices, less than a person minds. */
const EVENTS_DELAY_MS = 100;
/** More than the manager keeps: a client that was away gets everything there is. */
const EVENTS_MAX = 100_000;

export class Streams {
  readonly #manager: ManagerPort;
  readonly #metrics: SchedulerMetrics;
  readonly #snapshots = new Set<EventSource>();
  /** Each with the id of the last event it got. */
  readonly #followers = new Map<EventSource, number>();
  #unsubscribe: (() => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #eventsTimer: NodeJS.Timeout | null = null;
  #isChanged = false;
  #quietPeriods = 0;

  constructor(manager: ManagerPort, metrics: SchedulerMetrics) {
    this.#manager = manager;
    this.#metrics = metrics;
  }

  /** Throws `unavailable` when there is no room for one more client. Call it before taking the connection. */
  admit(): void {
    if (this.#count < CLIENTS_MAX) return;
    throw new StorageError(
      'unavailable',
      `Opening another stream failed: ${CLIENTS_MAX} are open already, which is the limit`,
    );
  }

  addSnapshots(client: EventSource): void {
    this.#snapshots.add(client);
    this.#counted();
    client.onEnd(() => {
      this.#snapshots.delete(client);
      this.#counted();
    });
    client.send(this.#snapshotMessage());
  }

  /** Sends what came after `sinceId` at once; `null` for only what comes from now on. */
  addFollower(client: EventSource, sinceId: number | null): void {
    this.#followers.set(client, sinceId ?? this.#manager.events(0, 1)[0]?.id ?? 0);
    client.onEnd(() => {
      this.#followers.delete(client);
      this.#counted();
    });
    this.#counted();
    this.#sendEvents();
  }

  get #count(): number {
    return this.#snapshots.size + this.#followers.size;
  }

  close(): void {
    for (const client of [...this.#snapshots, ...this.#followers.keys()]) client.close();
    this.#stop();
  }

  #start(): void {
    if (this.#timer !== null) return;
    this.#unsubscribe = this.#manager.subscribe(() => this.#changed());
    this.#timer = setInterval(() => this.#sendSnapshots(), SNAPSHOT_MS);
    this.#timer.unref();
  }

  /** While nobody watches, the manager is not asked for anything. */
  #counted(): void {
    this.#metrics.observeStreams(this.#count);
    if (this.#count === 0) this.#stop();
    else this.#start();
  }

  #stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#eventsTimer !== null) clearTimeout(this.#eventsTimer);
    this.#timer = null;
    this.#eventsTimer = null;
  }

  #changed(): void {
    this.#isChanged = true;
    if (this.#followers.size === 0 || this.#eventsTimer !== null) return;
    this.#eventsTimer = setTimeout(() => {
      this.#eventsTimer = null;
      this.#sendEvents();
    }, EVENTS_DELAY_MS);
    this.#eventsTimer.unref();
  }

  #snapshotMessage() {
    const snapshot = takeSnapshot(this.#manager, new Date().toISOString());
    return { name: 'snapshot', id: null, data: JSON.stringify(snapshot) };
  }

  #sendSnapshots(): void {
    if (!this.#manager.leadership().isLeading) {
      // Clients come back and are told why (503) until somebody leads.
      this.close();
      return;
    }
    this.#quietPeriods += 1;
    if (this.#snapshots.size === 0) return;
    if (!this.#isChanged && this.#quietPeriods < QUIET_PERIODS) return;
    this.#isChanged = false;
    this.#quietPeriods = 0;
    const message = this.#snapshotMessage();
    for (const client of this.#snapshots) {
      // The next snapshot says everything that this one does.
      if (!client.isBlocked) client.send(message);
    }
  }

  #sendEvents(): void {
    if (!this.#manager.leadership().isLeading) return;
    for (const [client, sinceId] of this.#followers) {
      const events = this.#manager.events(sinceId, EVENTS_MAX);
      for (const event of events) {
        client.send({ name: 'event', id: event.id, data: JSON.stringify(event) });
      }
      this.#followers.set(client, events.at(-1)?.id ?? sinceId);
    }
  }
}
