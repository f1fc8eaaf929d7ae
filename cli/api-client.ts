/**
 * Speaks the operator API. Every request has a deadline; every failure is a `StorageError`: the API's own
 * with its code and details, or "unreachable" with the address, the reason and what to do.
 */
import { describeError, ERROR_CODES, type ErrorCode, StorageError } from '../shared/base/errors.ts';
import { unreachableError } from './failures.ts';
import { readServerEvents, type ServerEvent } from './server-events.ts';

/** An answer that does not wait for anything comes in milliseconds; this is for a very busy machine. */
const REQUEST_MS = 30_000;

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
  /** Without a trailing slash. */
  readonly address: string;

  constructor(address: string) {
    this.address = address;
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

  async #fetch(path: string, options: RequestInit): Promise<Response> {
    try {
      return await fetch(`${this.address}/v1${path}`, options);
    } catch (error) {
      if (error instanceof Error && error.name === 'AbortError') throw error;
      throw unreachableError(
        `The cluster at ${this.address} cannot be reached: ${describeNetworkError(error)}`,
        'is the scheduler running? "cistern dev status" shows a development cluster; --api or CISTERN_API choose another address',
        error,
      );
    }
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
