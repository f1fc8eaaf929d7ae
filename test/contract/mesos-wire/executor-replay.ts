/**
 * A custom executor that plays the recorded part of one: started by an agent of the stand-in, it sends the
 * recorded requests in the recorded order and waits, before each, for what the real agent had said by then.
 * What it got goes, line by line, into a file that the conformance test reads.
 *
 * An executor without a recording behaves as the tiny one of the integration tests.
 */

import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { recordedExchanges } from './recordings.ts';
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
import { Translation } from './translation.ts';

export type ExecutorReplayConfig = {
  readonly recordings: string;
  readonly scenario: string;
  readonly timeScale: number;
  readonly translations: readonly (readonly [string, string])[];
  /** Folder for what was played, a file per executor. */
  readonly output: string;
  /** Module of the executor that is played where there is no recording. */
  readonly fallback: string;
};

/** A line of the output. */
export type ExecutorLine =
  | { readonly kind: 'answer'; readonly answer: Answer }
  | { readonly kind: 'stream'; readonly name: string; readonly recorded: readonly Json[] }
  | { readonly kind: 'event'; readonly name: string; readonly event: Json }
  | { readonly kind: 'missing'; readonly what: string }
  | {
      readonly kind: 'environment';
      readonly recorded: Readonly<Record<string, string>>;
      readonly given: Readonly<Record<string, string | undefined>>;
    };

const WAIT_MS = 15_000;

export async function main(config: ExecutorReplayConfig): Promise<void> {
  const id = process.env['MESOS_EXECUTOR_ID'] ?? '';
  const name = `${config.scenario}/executor-${id}`;
  const output = join(config.output, `${id}.jsonl`);
  if (!existsSync(join(config.recordings, name)) || existsSync(output)) {
    await import(config.fallback);
    return;
  }
  mkdirSync(config.output, { recursive: true });
  await new ExecutorReplay(config, name, output).run();
}

class ExecutorReplay {
  readonly #config: ExecutorReplayConfig;
  readonly #name: string;
  readonly #output: string;
  readonly #translation: Translation;
  readonly #streams = new Map<string, { recorded: readonly Json[]; given: Json[] }>();

  constructor(config: ExecutorReplayConfig, name: string, output: string) {
    this.#config = config;
    this.#name = name;
    this.#output = output;
    this.#translation = new Translation(config.translations);
  }

  async run(): Promise<void> {
    const folder = join(this.#config.recordings, this.#name);
    this.#learnEnvironment(folder);
    const exchanges = new Map(
      recordedExchanges(this.#name, this.#config.recordings).map((one) => [
        one.name.slice(this.#name.length + 1),
        one,
      ]),
    );
    let before = 0;
    for (const entry of readTimeline(folder)) {
      if (entry.event !== undefined) await this.#expect(entry);
      else if (entry.send !== undefined) {
        await sleep((entry.ms - before) / this.#config.timeScale);
        const exchange = exchanges.get(entry.folder ?? '');
        if (exchange?.status !== undefined) await this.#send(exchange);
      } else if (entry.note?.startsWith('exit') === true) process.exit(0);
      before = entry.ms;
    }
    // The recorded one ended without a word: by order, or because it was killed.
    this.#exitByOrder();
    setInterval(() => this.#exitByOrder(), 20);
  }

  #write(line: ExecutorLine): void {
    appendFileSync(this.#output, `${JSON.stringify(line)}\n`);
  }

  #learnEnvironment(folder: string): void {
    const recorded = JSON.parse(readFileSync(join(folder, 'env.json'), 'utf8')) as Record<
      string,
      string
    >;
    for (const variable of ['MESOS_DIRECTORY', 'MESOS_FRAMEWORK_ID', 'MESOS_SLAVE_ID']) {
      this.#translation.pair(recorded[variable] ?? '', process.env[variable] ?? '');
    }
    const given = Object.fromEntries(
      Object.entries(process.env).map(([key, value]) => [
        key,
        value === undefined ? undefined : this.#translation.toRecorded(value),
      ]),
    );
    this.#write({ kind: 'environment', recorded, given });
  }

  async #expect(entry: Entry): Promise<void> {
    const stream = this.#streams.get(entry.folder ?? '');
    const recorded = stream?.recorded[entry.index ?? 0];
    if (stream === undefined || recorded === undefined) return;
    const key = keyOf(recorded);
    const nth = stream.recorded.slice(0, entry.index).filter((one) => keyOf(one) === key).length;
    const found = await poll(
      () => stream.given.filter((one) => keyOf(one) === key).at(nth),
      WAIT_MS,
    );
    if (found === undefined) {
      const what = `${this.#name}/${entry.folder} event ${entry.index}: ${key}`;
      this.#write({ kind: 'missing', what });
    }
  }

  async #send(exchange: ReturnType<typeof recordedExchanges>[number]): Promise<void> {
    const body = await bodyOf(exchange, (json) => this.#translation.toGiven(json));
    const headers = exchange.headers.filter(
      ([header]) => header !== 'Host' && header !== 'Content-Length',
    );
    const folder = exchange.name.slice(this.#name.length + 1);
    const url = `http://${process.env['MESOS_AGENT_ENDPOINT']}${exchange.path}`;
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const onStream = (incoming: IncomingMessage): void =>
        this.#follow(folder, exchange, incoming);
      const sent = sendExchange(exchange, {
        url,
        headers: Object.fromEntries(headers),
        body,
        onStream,
      });
      const answer = await sent.catch(() => undefined);
      // An agent that starts is asked until it is at the recorded step.
      const isStarting = answer === undefined || [404, 503].includes(answer.given);
      const isSubscribe =
        exchange.events !== undefined || [404, 503].includes(exchange.status ?? 0);
      if (answer?.given !== exchange.status && isStarting && isSubscribe && Date.now() < deadline) {
        await sleep(5);
        continue;
      }
      if (answer === undefined) this.#write({ kind: 'missing', what: `${exchange.name}: answer` });
      else this.#write({ kind: 'answer', answer });
      return;
    }
  }

  #follow(
    folder: string,
    exchange: ReturnType<typeof recordedExchanges>[number],
    incoming: IncomingMessage,
  ): void {
    const stream = { recorded: exchange.events ?? [], given: [] as Json[] };
    this.#streams.set(folder, stream);
    this.#write({ kind: 'stream', name: exchange.name, recorded: stream.recorded });
    followStream(exchange, incoming, (event) => {
      stream.given.push(event);
      this.#write({ kind: 'event', name: exchange.name, event });
    });
  }

  /** The recorded executor did what messages told it; some told it to end. */
  #exitByOrder(): void {
    const events = [...this.#streams.values()].flatMap(({ given }) => given);
    for (const event of events) {
      if (event['type'] === 'SHUTDOWN') process.exit(0);
      const data = pick(event, 'message', 'data');
      const text = Buffer.from(String(data ?? ''), 'base64').toString('utf8');
      if (text.includes('"do": "exit"')) process.exit((JSON.parse(text) as { code: number }).code);
    }
  }
}
