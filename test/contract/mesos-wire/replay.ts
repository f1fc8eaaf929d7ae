/**
 * Plays a recorded scenario against the stand-in: sends the recorded requests with ids and paths
 * translated, in the recorded order and at the recorded (scaled) pace, and waits, before each, for
 * what the real Mesos had said by then. Returns both sides of everything for the comparison.
 */

import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { decode, encode, JSON_TYPE, PROTOBUF_TYPE } from '../../../shared/mesos/codec.ts';
import { RecordDecoder } from '../../../shared/mesos/recordio.ts';
import { type Exchange, headerOf, RECORDINGS, recordedExchanges } from './recordings.ts';

export type Json = Readonly<Record<string, unknown>>;

type Entry = {
  readonly ms: number;
  readonly folder?: string;
  readonly send?: string;
  readonly event?: string;
  readonly index?: number;
  readonly stream_end?: string;
};

export type Played = {
  /** Recorded and given status of every call. */
  readonly statuses: {
    readonly name: string;
    readonly recorded: number;
    given: number;
    body: string;
  }[];
  /** Recorded and given events of every stream, by the folder of its SUBSCRIBE. */
  readonly streams: Map<string, { readonly recorded: readonly Json[]; readonly given: Json[] }>;
  /** Recorded events that did not come in time. */
  readonly missing: string[];
  /** Turns given text into recorded text. */
  readonly toRecorded: (text: string) => string;
};

export type ReplayOptions = {
  readonly scenario: string;
  readonly masterUrl: string;
  readonly timeScale: number;
  /** Recorded text → text here, such as disk roots. */
  readonly translations: readonly (readonly [string, string])[];
  /** Folders (beginnings) that are not sent. */
  readonly skip?: readonly string[];
};

const WAIT_MS = 10_000;

export class Replay {
  readonly #options: ReplayOptions;
  readonly #exchanges: Map<string, Exchange>;
  readonly #translations: [string, string][];
  readonly #played: Played;
  /** Offers that were answered. */
  readonly #used = new Set<string>();
  readonly #closers = new Map<string, () => void>();

  constructor(options: ReplayOptions) {
    this.#options = options;
    const { scenario } = options;
    const all = recordedExchanges(scenario).filter((one) => !one.name.includes('/executor-'));
    this.#exchanges = new Map(all.map((one) => [one.name.slice(scenario.length + 1), one]));
    this.#translations = options.translations.map(([a, b]): [string, string] => [a, b]);
    this.#played = {
      statuses: [],
      streams: new Map(),
      missing: [],
      toRecorded: (text) => this.#translate(text, true),
    };
  }

  async run(): Promise<Played> {
    const path = join(RECORDINGS, this.#options.scenario, 'timeline.jsonl');
    const lines = readFileSync(path, 'utf8').trim().split('\n');
    const entries = lines.map((line) => JSON.parse(line) as Entry);
    let before = 0;
    for (const entry of entries) {
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

  /** Waits for our counterpart of a recorded event, and learns its ids. */
  async #expect(entry: Entry): Promise<void> {
    const folder = entry.folder ?? '';
    const stream = this.#played.streams.get(folder);
    const recorded = stream?.recorded[entry.index ?? 0];
    if (stream === undefined || recorded === undefined || entry.event === 'HEARTBEAT') return;
    if (entry.event === 'OFFERS') return; // looked up when an answer needs them
    const key = keyOf(recorded);
    const wanted = stream.recorded.slice(0, entry.index).filter((one) => keyOf(one) === key).length;
    const found = await poll(() =>
      stream.given.filter((one) => keyOf(this.#recordedForm(one)) === key).at(wanted),
    );
    if (found === undefined) this.#played.missing.push(`${folder} event ${entry.index}: ${key}`);
    else this.#learn(recorded, found);
  }

  /** Pairs ids that only one side knows: frameworks, uuids, inverse offers. */
  #learn(recorded: Json, given: Json): void {
    for (const [a, b] of [
      [
        pick(recorded, 'subscribed', 'framework_id', 'value'),
        pick(given, 'subscribed', 'framework_id', 'value'),
      ],
      [pick(recorded, 'update', 'status', 'uuid'), pick(given, 'update', 'status', 'uuid')],
      [
        pick(recorded, 'update_operation_status', 'status', 'uuid', 'value'),
        pick(given, 'update_operation_status', 'status', 'uuid', 'value'),
      ],
    ]) {
      if (typeof a === 'string' && typeof b === 'string') this.#pair(a, b);
    }
    const list = (event: Json) => (pick(event, 'inverse_offers', 'inverse_offers') ?? []) as Json[];
    list(recorded).forEach((one, index) => {
      const other = list(given)[index];
      if (other !== undefined)
        this.#pair(String(pick(one, 'id', 'value')), String(pick(other, 'id', 'value')));
    });
  }

  #pair(recorded: string, given: string): void {
    if (this.#translations.some(([a]) => a === recorded)) return;
    this.#translations.unshift([recorded, given]);
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
      const ours = isNamed ? await poll(find) : find();
      if (ours === undefined) continue;
      this.#pair(String(pick(offer, 'agent_id', 'value')), String(pick(ours, 'agent_id', 'value')));
    }
    const place = (offer: Json) => body.indexOf(`"${idOf(offer)}"`);
    const named = recorded.filter((offer) => place(offer) >= 0).sort((a, b) => place(a) - place(b));
    if (named.length === 0) return this.#translate(body);
    await poll(() => (named.every((one) => this.#holds(named, one)) ? true : undefined), 3_000);
    const held = this.#heldOffers();
    for (const offer of named) {
      const ours = held.find((one) => sameHost(one, offer));
      if (ours !== undefined)
        this.#pair(String(pick(offer, 'id', 'value')), String(pick(ours, 'id', 'value')));
    }
    for (const offer of held)
      if (named.some((one) => sameHost(one, offer))) this.#used.add(idOf(offer));
    const ids = named.flatMap((one) => held.filter((offer) => sameHost(one, offer)).map(idOf));
    const list = [...new Set(ids)].map((value) => ({ value }));
    return this.#translate(body).replace(/("offer_ids" ?: ?)\[[^\]]*\]/, (found, start: string) =>
      found.includes('no-such') ? found : start + JSON.stringify(list),
    );
  }

  #allOffers(): Json[] {
    return [...this.#played.streams.values()].flatMap((stream) => offersOf(stream.given));
  }

  /** Offers of the newest stream that are neither used nor rescinded. */
  #heldOffers(): Json[] {
    const given = [...this.#played.streams.values()].at(-1)?.given ?? [];
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

  #translate(text: string, isBack = false): string {
    let result = text;
    for (const [recorded, given] of this.#translations) {
      result = isBack ? result.replaceAll(given, recorded) : result.replaceAll(recorded, given);
    }
    return result;
  }

  #recordedForm(event: Json): Json {
    return JSON.parse(this.#translate(JSON.stringify(event), true)) as Json;
  }

  async #send(folder: string): Promise<void> {
    const exchange = this.#exchanges.get(folder);
    if (exchange === undefined || exchange.status === undefined) return;
    if (this.#options.skip?.some((one) => folder.startsWith(one)) === true) return;
    const body = await this.#bodyOf(exchange);
    const headers = exchange.headers
      .filter(([name]) => name !== 'Host' && name !== 'Content-Length')
      .map(([name, value]): [string, string] => [name, this.#translate(value)]);
    await this.#request(folder, exchange, Object.fromEntries(headers), body);
  }

  async #bodyOf(exchange: Exchange): Promise<Buffer> {
    const isProtobuf = headerOf(exchange.headers, 'Content-Type') === PROTOBUF_TYPE;
    if (!isProtobuf) {
      const text = exchange.requestBody.toString('utf8');
      return Buffer.from(await this.#adapt(text));
    }
    const kind = exchange.path === '/api/v1' ? 'master.Call' : 'scheduler.Call';
    try {
      const json = encode(kind, decode(kind, exchange.requestBody, PROTOBUF_TYPE), JSON_TYPE);
      const ours = decode(kind, Buffer.from(await this.#adapt(json.toString())), JSON_TYPE);
      return encode(kind, ours, PROTOBUF_TYPE);
    } catch {
      return exchange.requestBody; // malformed on purpose
    }
  }

  #request(
    folder: string,
    exchange: Exchange,
    headers: Readonly<Record<string, string>>,
    body: Buffer,
  ): Promise<void> {
    const url = `${this.#options.masterUrl}${exchange.path}`;
    return new Promise((resolve, reject) => {
      const outgoing = request(url, { method: exchange.method, headers }, (incoming) => {
        const entry = {
          name: folder,
          recorded: exchange.status ?? 0,
          given: incoming.statusCode ?? 0,
          body: '',
        };
        this.#played.statuses.push(entry);
        if (exchange.events === undefined || incoming.statusCode !== 200) {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('end', () => {
            entry.body = Buffer.concat(chunks).toString('utf8');
            resolve();
          });
          return;
        }
        const streamId = headerOf(exchange.responseHeaders, 'Mesos-Stream-Id');
        if (streamId !== undefined)
          this.#pair(streamId, String(incoming.headers['mesos-stream-id']));
        this.#follow(folder, exchange, incoming);
        resolve();
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  #follow(
    folder: string,
    exchange: Exchange,
    incoming: NodeJS.ReadableStream & { destroy(): void },
  ): void {
    const given: Json[] = [];
    this.#played.streams.set(folder, { recorded: exchange.events ?? [], given });
    this.#closers.set(folder, () => incoming.destroy());
    const isProtobuf = headerOf(exchange.responseHeaders, 'Content-Type') === PROTOBUF_TYPE;
    const decoder = new RecordDecoder();
    incoming.on('error', () => undefined);
    incoming.on('data', (chunk: Buffer) => {
      for (const record of decoder.push(chunk)) {
        const text = isProtobuf
          ? encode('scheduler.Event', decode('scheduler.Event', record, PROTOBUF_TYPE), JSON_TYPE)
          : record;
        given.push(JSON.parse(text.toString()) as Json);
      }
    });
  }
}

function offersOf(events: readonly Json[]): Json[] {
  return events.flatMap((event) => (pick(event, 'offers', 'offers') ?? []) as Json[]);
}

export function pick(value: unknown, ...path: string[]): unknown {
  let current = value;
  for (const name of path) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Json)[name];
  }
  return current;
}

/** What makes two events the same in a replay: type, whom it is about, and the state it tells. */
export function keyOf(event: Json): string {
  const status =
    pick(event, 'update', 'status') ?? pick(event, 'update_operation_status', 'status');
  return JSON.stringify([
    event['type'],
    pick(status, 'task_id', 'value') ?? pick(status, 'operation_id', 'value') ?? null,
    pick(status, 'state') ?? null,
    pick(event, 'failure', 'executor_id', 'value') ?? null,
    pick(event, 'failure', 'status') ?? null,
  ]);
}

function idOf(offer: Json): string {
  return String(pick(offer, 'id', 'value'));
}

function sameHost(a: Json, b: Json): boolean {
  return a['hostname'] === b['hostname'];
}

async function poll<T>(find: () => T | undefined, waitMs = WAIT_MS): Promise<T | undefined> {
  const deadline = Date.now() + waitMs;
  for (;;) {
    const found = find();
    if (found !== undefined || Date.now() > deadline) return found;
    await sleep(5);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
