/**
 * Speaks the operator API. Every request has a deadline; every failure is a `StorageError`: the API's own
 * with its code and details, or "unreachable" with the address, the reason and what to do.
 *
 * There may be several schedulers: whoever answers is asked first the next time, changes follow a standby's
 * redirect to the leader, and while there is no leader they wait for one, for a while.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, ERROR_CODES, type ErrorCode, StorageError } from '../shared/base/errors.ts';
import { unreachableError } from './failures.ts';
import { readServerEvents, type ServerEvent } from './server-events.ts';

/** An answer that does not wait for anything comes in milliseconds; this is for a very busy machine. */
const REQUEST_MS = 30_000;
/** A failover takes less than ten seconds. */
const LEADER_WAIT_MS = 15_000;
/** When a scheduler does not say when to try again. */
const RETRY_MS = 1_000;
/** From a standby to the leader, and once more when that has changed meanwhile. */
const REDIRECTS_MAX = 2;
/** Headers by which standbys mark their answers (scheduler/api/standby-rules.ts). */
const SNAPSHOT_AGE_HEADER = 'cistern-snapshot-age';

export interface RequestOptions {
  readonly body?: object;
  /** The API itself waits this long at most; added to the deadline. */
  readonly waitMs?: number;
}

export interface Answer<Body> {
  readonly status: number;
  readonly body: Body;
}

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export class ApiClient {
  /** Without trailing slashes; the one that answered last comes first. */
  #addresses: readonly string[];
  readonly #onNotice: (text: string) => void;
  #isOldNoticed = false;

  /** `onNotice` gets what a person should know of an answer, once: that it is an old one. */
  constructor(
    addresses: string | readonly string[],
    onNotice: (text: string) => void = () => undefined,
  ) {
    this.#addresses = [addresses].flat();
    this.#onNotice = onNotice;
  }

  /** Of whoever answered last. */
  get address(): string {
    return this.#addresses[0] ?? '';
  }

  /** `path` below `/v1`. */
  async get<Body>(path: string): Promise<Body> {
    const { body } = await this.send<Body>('GET', path);
    return body;
  }

  async send<Body>(
    method: Method,
    path: string,
    options: RequestOptions = {},
  ): Promise<Answer<Body>> {
    const { body, waitMs = 0 } = options;
    const response = await this.#fetch(path, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      signal: AbortSignal.timeout(REQUEST_MS + waitMs),
    });
    if (response.status === 204) return { status: 204, body: undefined as Body };
    const parsed = await this.#readJson(response);
    if (!response.ok) throw this.#refusal(response.status, parsed);
    return { status: response.status, body: parsed as Body };
  }

  /** Until the server or `signal` ends it; ends without an error when the connection is lost. */
  async *stream(
    path: string,
    lastEventId: number | null,
    signal: AbortSignal,
  ): AsyncGenerator<ServerEvent> {
    const headers: Record<string, string> = { accept: 'text/event-stream' };
    if (lastEventId !== null) headers['last-event-id'] = String(lastEventId);
    const response = await this.#fetch(path, { headers, signal });
    if (!response.ok || response.body === null) {
      throw this.#refusal(response.status, await this.#readJson(response));
    }
    yield* readServerEvents(response.body, signal);
  }

  /** Asks one after the other until one answers; without a leader, again and again for a while. */
  async #fetch(path: string, options: RequestInit): Promise<Response> {
    const untilMs = performance.now() + LEADER_WAIT_MS;
    for (;;) {
      let failure: unknown = null;
      let leaderless: Response | null = null;
      for (const address of this.#addresses) {
        try {
          const response = await follow(`${address}/v1${path}`, options);
          if (response.status === 503 && response.headers.has('retry-after')) {
            await leaderless?.body?.cancel();
            leaderless = response;
            continue;
          }
          await leaderless?.body?.cancel();
          this.#note(address, response);
          return response;
        } catch (error) {
          if (error instanceof Error && error.name === 'AbortError') throw error;
          failure = error;
          if (isChange(options) && !isNeverSent(error)) break;
        }
      }
      if (leaderless === null) throw this.#unreachable(failure);
      const waitMs = Number(leaderless.headers.get('retry-after')) * 1000 || RETRY_MS;
      // The last word is the scheduler's own: why there is no answer.
      if (performance.now() + waitMs > untilMs) return leaderless;
      await leaderless.body?.cancel();
      await sleep(waitMs, undefined, options.signal == null ? {} : { signal: options.signal });
    }
  }

  #note(address: string, response: Response): void {
    this.#addresses = [address, ...this.#addresses.filter((other) => other !== address)];
    const age = response.headers.get(SNAPSHOT_AGE_HEADER);
    if (age === null || this.#isOldNoticed) return;
    this.#isOldNoticed = true;
    this.#onNotice(
      `No scheduler leads at the moment: this is what the metadata store held ${age} s ago, without what is only observed`,
    );
  }

  #unreachable(error: unknown): StorageError {
    const hint =
      'is the scheduler running? "cistern dev status" shows a development cluster; --api or CISTERN_API choose another address';
    const reason = describeNetworkError(error);
    const [only = '', ...others] = this.#addresses;
    const message =
      others.length === 0
        ? `The cluster at ${only} cannot be reached: ${reason}`
        : `The cluster cannot be reached at any of ${[only, ...others].join(', ')}; the last one: ${reason}`;
    return unreachableError(message, hint, error);
  }

  async #readJson(response: Response): Promise<unknown> {
    const text = await response.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      throw unreachableError(
        `What answers at ${this.address} is no Cistern scheduler: HTTP ${response.status}, "${text.slice(0, 60)}"`,
        'check the address given with --api or CISTERN_API',
        error,
      );
    }
  }

  #refusal(status: number, body: unknown): StorageError {
    const view = typeof body === 'object' && body !== null ? body : {};
    const code = 'code' in view && isErrorCode(view.code) ? view.code : 'internal';
    const message =
      'message' in view && typeof view.message === 'string'
        ? view.message
        : `The scheduler at ${this.address} answered HTTP ${status}`;
    const details = 'details' in view && typeof view.details === 'object' ? view.details : null;
    return new StorageError(code, message, { ...details });
  }
}

/** Redirects keep method and body. */
async function follow(url: string, options: RequestInit): Promise<Response> {
  let place = url;
  for (let hops = 0; ; hops += 1) {
    const response = await fetch(place, { ...options, redirect: 'manual' });
    const location = response.headers.get('location');
    if (response.status !== 307 || location === null || hops === REDIRECTS_MAX) return response;
    await response.body?.cancel();
    place = new URL(location, place).href;
  }
}

function isChange(options: RequestInit): boolean {
  return options.method !== undefined && options.method !== 'GET';
}

/** There was no connection: a change cannot have happened, and may be asked of another one. */
function isNeverSent(error: unknown): boolean {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : null;
  const codes = [
    'ECONNREFUSED',
    'ENOTFOUND',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'UND_ERR_CONNECT_TIMEOUT',
  ];
  return typeof code === 'string' && codes.includes(code);
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && code in ERROR_CODES;
}

/** `fetch` hides the reason in its cause. */
function describeNetworkError(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return 'it did not answer in time';
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : null;
  const known: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nothing listens there (connection refused)',
    ENOTFOUND: 'there is no host of that name',
    EHOSTUNREACH: 'there is no route to that host',
    ETIMEDOUT: 'it does not answer (connection timed out)',
    ECONNRESET: 'it closed the connection',
    UND_ERR_SOCKET: 'it closed the connection',
    UND_ERR_CONNECT_TIMEOUT: 'it does not answer (connection timed out)',
  };
  return (typeof code === 'string' ? known[code] : undefined) ?? describeError(cause);
}
