/**
 * Plays a recorded scenario against the stand-in: sends the recorded requests with ids and paths
 * translated, in the recorded order and at the recorded (scaled) pace, and waits, before each, for
 * what the real Mesos had said by then. Returns both sides of everything for the comparison.
 */

import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { type Exchange, headerOf, RECORDINGS, recordedExchanges } from './recordings.ts';
import {
  type Answer,
  bodyOf,
  followStream,
  type Json,
  keyOf,
  pick,
  poll,
  sendExchange,
  sleep,
} from './replayed-exchange.ts';
import { type Entry, readTimeline } from './timeline.ts';
import type { Translation } from './translation.ts';

export type Stream = { readonly recorded: readonly Json[]; readonly given: Json[] };

export type Played = {
  readonly answers: Answer[];
  /** Recorded and given events of every stream, by the name of its SUBSCRIBE. */
  readonly streams: Map<string, Stream>;
  /** Recorded events that did not come in time. */
  readonly missing: string[];
  readonly translation: Translation;
};

export type ReplayOptions = {
  readonly scenario: string;
  /** Where a recorded request goes, by its Host header. */
  readonly urlOf: (host: string) => string;
  readonly timeScale: number;
  readonly translation: Translation;
  /** Called before each entry of the timeline is played: to do what the operator did. */
  readonly onStep?: (entry: Entry) => void | Promise<void>;
};

const WAIT_MS = 15_000;

export class Replay {
  readonly #options: ReplayOptions;
  readonly #exchanges: Map<string, Exchange>;
  readonly #translation: Translation;
  readonly #played: Played;
  /** Offers that were answered. */
  readonly #used = new Set<string>();
  readonly #closers = new Map<string, () => void>();
  #newest: Stream | undefined;

  constructor(options: ReplayOptions) {
    this.#options = options;
    const { scenario, translation } = options;
    const all = recordedExchanges(scenario).filter((one) => !one.name.includes('/executor-'));
    this.#exchanges = new Map(all.map((one) => [one.name.slice(scenario.length + 1), one]));
    this.#translation = translation;
    this.#played = { answers: [], streams: new Map(), missing: [], translation };
  }

  async run(): Promise<Played> {
    let before = 0;
    for (const entry of readTimeline(join(RECORDINGS, this.#options.scenario))) {
      await this.#options.onStep?.(entry);
      if (entry.event !== undefined) await this.#expect(entry);
      else if (entry.send !== undefined || entry.stream_end === 'closed by client') {
        await sleep((entry.ms - before) / this.#options.timeScale);
        before = entry.ms;
        if (entry.send === undefined) this.#closers.get(entry.folder ?? '')?.();
        else await this.#send(entry.folder ?? '');
      }
    }
    for (const close of this.#closers.values()) close();
    return this.#played;
  }

  #streamOf(folder: string): Stream | undefined {
    return this.#played.streams.get(`${this.#options.scenario}/${folder}`);
  }

  /** Waits for our counterpart of a recorded event, and learns its ids. */
  async #expect(entry: Entry): Promise<void> {
    const folder = entry.folder ?? '';
    const stream = this.#streamOf(folder);
    const recorded = stream?.recorded[entry.index ?? 0];
    if (stream === undefined || recorded === undefined || entry.event === 'HEARTBEAT') return;
    if (entry.event === 'OFFERS') return; // looked up when an answer needs them
    const key = keyOf(recorded);
    const nth = stream.recorded.slice(0, entry.index).filter((one) => keyOf(one) === key).length;
    const found = await poll(
      () => stream.given.filter((one) => keyOf(this.#recordedForm(one)) === key).at(nth),
      WAIT_MS,
    );
    if (found === undefined) this.#played.missing.push(`${folder} event ${entry.index}: ${key}`);
    else this.#learn(recorded, found);
  }

  /** Pairs ids that only one side knows: frameworks, uuids, inverse offers. */
  #learn(recorded: Json, given: Json): void {
    const paths = [
      ['subscribed', 'framework_id', 'value'],
      ['update', 'status', 'uuid'],
      ['update_operation_status', 'status', 'uuid', 'value'],
    ];
    for (const path of paths) {
      const a = pick(recorded, ...path);
      const b = pick(given, ...path);
      if (typeof a === 'string' && typeof b === 'string') this.#translation.pair(a, b);
    }
    const list = (event: Json) => (pick(event, 'inverse_offers', 'inverse_offers') ?? []) as Json[];
    list(recorded).forEach((one, index) => {
      const other = list(given)[index];
      if (other !== undefined)
        this.#translation.pair(
          String(pick(one, 'id', 'value')),
          String(pick(other, 'id', 'value')),
        );
    });
  }

  /**
   * The recorded body with our ids. Which resources one offer has depends on the moment at which it
   * was made; so the offers of a call become all that we now hold of the same hosts.
   */
  async #adapt(body: string): Promise<string> {
    const recorded = [...this.#played.streams.values()].flatMap((stream) =>
      offersOf(stream.recorded),
    );
    for (const offer of recorded) {
      const find = () => this.#allOffers().find((one) => sameHost(one, offer));
      const isNamed = body.includes(String(pick(offer, 'agent_id', 'value')));
      const ours = isNamed ? await poll(find, WAIT_MS) : find();
      if (ours === undefined) continue;
      this.#translation.pair(
        String(pick(offer, 'agent_id', 'value')),
        String(pick(ours, 'agent_id', 'value')),
      );
    }
    const place = (offer: Json) => body.indexOf(`"${idOf(offer)}"`);
    const named = recorded.filter((offer) => place(offer) >= 0).sort((a, b) => place(a) - place(b));
    if (named.length === 0) return this.#translation.toGiven(body);
    await poll(() => (named.every((one) => this.#holds(named, one)) ? true : undefined), 3_000);
    const held = this.#heldOffers();
    for (const offer of named) {
      const ours = held.find((one) => sameHost(one, offer));
      if (ours !== undefined)
        this.#translation.pair(
          String(pick(offer, 'id', 'value')),
          String(pick(ours, 'id', 'value')),
        );
    }
    for (const offer of held)
      if (named.some((one) => sameHost(one, offer))) this.#used.add(idOf(offer));
    const ids = named.flatMap((one) => held.filter((offer) => sameHost(one, offer)).map(idOf));
    const list = [...new Set(ids)].map((value) => ({ value }));
    return this.#translation
      .toGiven(body)
      .replace(/("offer_ids" ?: ?)\[[^\]]*\]/, (found, start: string) =>
        found.includes('no-such') ? found : start + JSON.stringify(list),
      );
  }

  #allOffers(): Json[] {
    return [...this.#played.streams.values()].flatMap((stream) => offersOf(stream.given));
  }

  /** Offers of the newest stream that are neither used nor rescinded. */
  #heldOffers(): Json[] {
    const given = this.#newest?.given ?? [];
    const gone = new Set(given.map((event) => pick(event, 'rescind', 'offer_id', 'value')));
    return offersOf(given).filter(
      (offer) => !gone.has(idOf(offer)) && !this.#used.has(idOf(offer)),
    );
  }

  /** Whether we hold as much of everything as the recorded offers of that host had. */
  #holds(named: readonly Json[], of: Json): boolean {
    const amounts = (offers: readonly Json[]) => {
      const totals = new Map<string, number>();
      for (const offer of offers.filter((one) => sameHost(one, of))) {
        for (const resource of (offer['resources'] ?? []) as Json[]) {
          const id = pick(resource, 'disk', 'persistence', 'id');
          const isReserved = pick(resource, 'reservations') !== undefined;
          const name = `${String(resource['name'])} ${isReserved} ${String(id)}`;
          const value = Number(pick(resource, 'scalar', 'value') ?? 0);
          totals.set(name, (totals.get(name) ?? 0) + value);
        }
      }
      return totals;
    };
    const held = amounts(this.#heldOffers());
    return [...amounts(named)].every(([name, value]) => (held.get(name) ?? 0) > value - 0.001);
  }

  #recordedForm(event: Json): Json {
    return JSON.parse(this.#translation.toRecorded(JSON.stringify(event))) as Json;
  }

  async #send(folder: string): Promise<void> {
    const exchange = this.#exchanges.get(folder);
    if (exchange === undefined) return;
    const body = await bodyOf(exchange, (json) => this.#adapt(json));
    const headers = exchange.headers
      .filter(([name]) => name !== 'Host' && name !== 'Content-Length')
      .map(([name, value]): [string, string] => [name, this.#translation.toGiven(value)]);
    const url = `${this.#options.urlOf(headerOf(exchange.headers, 'Host') ?? '')}${exchange.path}`;
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const sent = sendExchange(exchange, {
        url,
        headers: Object.fromEntries(headers),
        body,
        onStream: (incoming) => this.#follow(folder, exchange, incoming),
      });
      const answer = await sent.catch(() => undefined);
      const isOver = Date.now() >= deadline || !isPassing(exchange, answer);
      if (answer !== undefined && isOver) {
        this.#played.answers.push(answer);
        return;
      }
      if (isOver) {
        this.#played.missing.push(`${exchange.name}: answer`);
        return;
      }
      await sleep(5);
    }
  }

  #follow(folder: string, exchange: Exchange, incoming: IncomingMessage): void {
    const stream: Stream = { recorded: exchange.events ?? [], given: [] };
    const streamId = headerOf(exchange.responseHeaders, 'Mesos-Stream-Id');
    if (streamId !== undefined) {
      this.#translation.pair(streamId, String(incoming.headers['mesos-stream-id']));
      this.#newest = stream;
    }
    this.#played.streams.set(exchange.name, stream);
    this.#closers.set(folder, () => incoming.destroy());
    followStream(exchange, incoming, (event) => stream.given.push(event));
  }
}

/** A master that starts, or whose leader changes, is asked until it is at the recorded step. */
function isPassing(exchange: Exchange, answer: Answer | undefined): boolean {
  if (answer?.given === exchange.status) return false;
  const isSubscribe = exchange.events !== undefined || [404, 503].includes(exchange.status ?? 0);
  return isSubscribe && (answer === undefined || [404, 503, 307].includes(answer.given));
}

function offersOf(events: readonly Json[]): Json[] {
  return events.flatMap((event) => (pick(event, 'offers', 'offers') ?? []) as Json[]);
}

function idOf(offer: Json): string {
  return String(pick(offer, 'id', 'value'));
}

function sameHost(a: Json, b: Json): boolean {
  return a['hostname'] === b['hostname'];
}
