/**
 * One subscription to a Mesos HTTP endpoint (a master for the scheduler, an agent for the executor):
 * a client that carries the endless event stream, and a second one that carries calls in order. They
 * live and die together: whoever sees either break drops the whole connection and subscribes anew.
 *
 *   subscribe ──▶ POST … 200 ──▶ RecordIO ──▶ onRecord      (client 1, body without a time limit)
 *   call      ──▶ POST … 202                               (client 2, one at a time)
 *
 * Owns: sockets, HTTP, framing, the watchdog of a silent stream. Does not: encode messages, retry,
 * or follow redirects; the scheduler and executor adapters decide those (`MesosBackoff` below times them).
 */
import { Client, type Dispatcher } from 'undici';
import { describeError, StorageError } from '../base/errors.ts';
import { RecordDecoder } from '../mesos/recordio.ts';
import type { Clock, Random, Timer } from '../ports.ts';

export type MesosContentType = 'application/x-protobuf' | 'application/json';

/** Where to post to. `socketPath` is a unix socket that replaces the origin's host and port. */
export interface MesosTarget {
  readonly origin: string;
  readonly path: string;
  readonly socketPath: string | null;
}

export type HeaderFields = Readonly<Record<string, string>>;

/** PEM texts. null: the authorities that the system trusts; no certificate of our own. */
export interface TlsSettings {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** What of the other side's certificate is checked: authority and name, the authority alone, or nothing. */
  readonly verify: 'all' | 'authority' | 'none';
}

export interface MesosConnectionOptions {
  readonly target: MesosTarget;
  readonly contentType: MesosContentType;
  /** Sent with every request (authorization). */
  readonly headers: HeaderFields;
  /** For `https:` targets. */
  readonly tls?: TlsSettings | null;
  readonly clock: Clock;
  /** A host that does not answer the TCP (and TLS) handshake within this is taken for dead. */
  readonly connectTimeoutMs: number;
  /** From a request to the head of its answer. */
  readonly answerTimeoutMs: number;
}

export type SubscribeAnswer =
  | { readonly kind: 'open'; readonly streamId: string | null }
  | { readonly kind: 'redirect'; readonly location: string }
  | { readonly kind: 'refused'; readonly status: number; readonly message: string }
  /** No answer at all: refused connection, name not found, timeout, reset. */
  | { readonly kind: 'failed'; readonly reason: string };

export type CallAnswer =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused'; readonly status: number; readonly message: string }
  /** The call may or may not have arrived. */
  | { readonly kind: 'failed'; readonly reason: string };

export interface StreamHandlers {
  /** One whole record. Throwing a `StorageError` ends the stream with its text. */
  onRecord(record: Buffer): void;
  /** Exactly once per open stream, unless `close` came first; never from inside `subscribe`. */
  onEnd(reason: string): void;
}

/** Explanations in refusals are one line; more is not read. */
const REFUSAL_BYTES_MAX = 4096;
/** Answers to calls are empty or one line. */
const CALL_ANSWER_BYTES_MAX = 64 * 1024;
/** Calls waiting for those before them. Thousands mean a master that takes none: then it is dropped. */
const CALLS_WAITING_MAX = 10_000;

export class MesosConnection {
  readonly #options: MesosConnectionOptions;
  readonly #stream: Client;
  readonly #calls: Client;
  #handlers: StreamHandlers | null = null;
  #silenceMs: number;
  #watchdog: Timer | null = null;
  #lastByteAtMs = 0;
  #waitingCalls = 0;
  #isClosed = false;

  constructor(options: MesosConnectionOptions) {
    this.#options = options;
    this.#silenceMs = options.answerTimeoutMs;
    const common = {
      connect: { timeout: options.connectTimeoutMs, ...tlsOptions(options.tls ?? null) },
      headersTimeout: options.answerTimeoutMs,
      ...(options.target.socketPath === null ? {} : { socketPath: options.target.socketPath }),
    };
    // The stream's body never ends and may be silent between heartbeats: our own watchdog judges it.
    this.#stream = new Client(options.target.origin, { ...common, bodyTimeout: 0 });
    this.#calls = new Client(options.target.origin, {
      ...common,
      bodyTimeout: options.answerTimeoutMs,
      maxResponseSize: CALL_ANSWER_BYTES_MAX,
      pipelining: 1,
    });
  }

  /** Opens the stream. Once per connection. */
  async subscribe(body: Uint8Array, handlers: StreamHandlers): Promise<SubscribeAnswer> {
    let response: Dispatcher.ResponseData;
    try {
      response = await this.#stream.request(this.#request(body, {}));
    } catch (error) {
      return { kind: 'failed', reason: describeError(error) };
    }
    const { statusCode, headers } = response;
    if (statusCode === 307 || statusCode === 308 || statusCode === 302 || statusCode === 301) {
      this.#discard(response);
      return { kind: 'redirect', location: headerText(headers['location']) ?? '' };
    }
    if (statusCode !== 200) {
      return { kind: 'refused', status: statusCode, message: await readRefusal(response) };
    }
    const contentType = headerText(headers['content-type']);
    if (contentType !== this.#options.contentType) {
      this.#discard(response);
      const message = `answer has content type "${contentType ?? ''}", expected "${this.#options.contentType}"`;
      return { kind: 'refused', status: statusCode, message };
    }
    this.#handlers = handlers;
    this.#listen(response);
    return { kind: 'open', streamId: headerText(headers['mesos-stream-id']) };
  }

  /** From now on a stream that brought no byte for this long counts as broken. */
  setSilenceLimit(silenceMs: number): void {
    this.#silenceMs = silenceMs;
    this.#watch();
  }

  /** Sends one call after those before it. Never rejects. */
  async call(body: Uint8Array, headers: HeaderFields): Promise<CallAnswer> {
    if (this.#isClosed) return { kind: 'failed', reason: 'connection is closed' };
    if (this.#waitingCalls >= CALLS_WAITING_MAX) {
      return { kind: 'failed', reason: `${CALLS_WAITING_MAX} calls are waiting for their answers` };
    }
    this.#waitingCalls += 1;
    try {
      const response = await this.#calls.request(this.#request(body, headers));
      const message = await response.body.text();
      if (response.statusCode >= 200 && response.statusCode < 300) return { kind: 'accepted' };
      return {
        kind: 'refused',
        status: response.statusCode,
        message: message.slice(0, REFUSAL_BYTES_MAX),
      };
    } catch (error) {
      return { kind: 'failed', reason: describeError(error) };
    } finally {
      this.#waitingCalls -= 1;
    }
  }

  /** Drops both clients. No handler is called any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#handlers = null;
    this.#watchdog?.cancel();
    // Destroying rejects what is in flight; `call` and `subscribe` turn that into their answers.
    void this.#stream.destroy();
    void this.#calls.destroy();
  }

  #request(body: Uint8Array, headers: HeaderFields): Dispatcher.RequestOptions {
    const { target, contentType } = this.#options;
    return {
      method: 'POST',
      path: target.path,
      headers: {
        'content-type': contentType,
        accept: contentType,
        ...this.#options.headers,
        ...headers,
      },
      body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
    };
  }

  #listen(response: Dispatcher.ResponseData): void {
    const decoder = new RecordDecoder();
    this.#lastByteAtMs = this.#options.clock.now();
    this.#watch();
    response.body.on('data', (chunk: Buffer) => {
      this.#lastByteAtMs = this.#options.clock.now();
      try {
        for (const record of decoder.push(chunk)) this.#handlers?.onRecord(record);
      } catch (error) {
        // Bytes that are no Mesos event; a mistake of our own is not caught here.
        if (!(error instanceof StorageError)) throw error;
        this.#end(`stream cannot be read: ${describeError(error)}`);
      }
    });
    response.body.on('end', () => {
      this.#end(decoder.atBoundary ? 'stream ended' : 'stream ended inside a record');
    });
    response.body.on('error', (error) => this.#end(`stream broke: ${describeError(error)}`));
    response.body.on('close', () => this.#end('stream closed'));
  }

  /** Looks again when the limit may have been reached: one timer, however many bytes arrive. */
  #watch(): void {
    this.#watchdog?.cancel();
    if (this.#isClosed) return;
    const { clock } = this.#options;
    const remainingMs = this.#lastByteAtMs + this.#silenceMs - clock.now();
    if (remainingMs <= 0) {
      this.#end(`stream was silent for ${this.#silenceMs} ms`);
      return;
    }
    this.#watchdog = clock.after(remainingMs, () => this.#watch());
  }

  #end(reason: string): void {
    const handlers = this.#handlers;
    this.close();
    handlers?.onEnd(reason);
  }

  /** Throws away an answer that is not read. */
  #discard(response: Dispatcher.ResponseData): void {
    // The destroyed body reports its own abort; nobody waits for it.
    response.body.on('error', () => undefined);
    response.body.destroy();
  }
}

interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized?: boolean;
  readonly checkServerIdentity?: () => undefined;
}

function tlsOptions(tls: TlsSettings | null): TlsOptions {
  return {
    ...(tls?.verify === 'none' ? { rejectUnauthorized: false } : {}),
    ...(tls?.verify === 'authority' ? { checkServerIdentity: () => undefined } : {}),
    ...(tls === null || tls.ca === null ? {} : { ca: tls.ca }),
    ...(tls === null || tls.cert === null ? {} : { cert: tls.cert }),
    ...(tls === null || tls.key === null ? {} : { key: tls.key }),
  };
}

/**
 * Waiting times between attempts: exponential with full jitter, so that all executors of a restarted
 * agent, or all frameworks of a restarted master, do not come back in the same instant.
 */
export class MesosBackoff {
  readonly #random: Random;
  readonly #baseMs: number;
  readonly #maxMs: number;
  #attempts = 0;

  constructor(random: Random, limits: { readonly baseMs: number; readonly maxMs: number }) {
    this.#random = random;
    this.#baseMs = limits.baseMs;
    this.#maxMs = limits.maxMs;
  }

  /** 1 to the current limit, in milliseconds; the limit doubles with every call. */
  nextMs(): number {
    // 2^20 times any base is beyond every maximum.
    const limitMs = Math.min(this.#maxMs, this.#baseMs * 2 ** Math.min(this.#attempts, 20));
    this.#attempts += 1;
    return 1 + this.#random.below(Math.max(1, Math.round(limitMs)));
  }

  reset(): void {
    this.#attempts = 0;
  }
}

function headerText(value: string | string[] | undefined): string | null {
  if (value === undefined) return null;
  return typeof value === 'string' ? value : (value[0] ?? null);
}

/** The first line or so of a refusal; an unreadable one is empty. */
async function readRefusal(response: Dispatcher.ResponseData): Promise<string> {
  let message = '';
  try {
    for await (const chunk of response.body) {
      message += String(chunk);
      if (message.length >= REFUSAL_BYTES_MAX) break;
    }
  } catch {
    // The status alone says enough; the text was only for people.
  }
  return message.slice(0, REFUSAL_BYTES_MAX).trim();
}
