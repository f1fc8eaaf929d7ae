/** The few calls to the operator API that the demo makes; every one has a deadline. */
import { type Dispatcher, request } from 'undici';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { ErrorView } from '../../shared/model/api-views.ts';

/** An attach may wait for a fenced node: longer than any lease. */
const ANSWER_DEADLINE_MS = 60_000;

export class ApiClient {
  #bases: readonly string[];

  /** `bases`: of all schedulers, with commas between them. */
  constructor(bases: string) {
    this.#bases = bases.split(',');
  }

  get<T>(path: string): Promise<T> {
    return this.#call<T>('GET', path);
  }

  post<T>(path: string, body: unknown = {}): Promise<T> {
    return this.#call<T>('POST', path, body);
  }

  /** Whoever asks waits and repeats by himself; so each scheduler is asked once, and reads may be asked again. */
  async #call<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
    let failure: unknown = null;
    for (const base of this.#bases) {
      try {
        const answer = await this.#ask<T>(base, method, path, body);
        this.#bases = [base, ...this.#bases.filter((other) => other !== base)];
        return answer;
      } catch (error) {
        failure = error;
        if (!(error instanceof StorageError) || error.code !== 'unavailable') break;
        if (method !== 'GET' && error.details['isSent'] === true) break;
      }
    }
    throw failure;
  }

  async #ask<T>(base: string, method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
    let url = `${base}/v1${path}`;
    let answer = await send(url, method, body);
    const { location } = answer.headers;
    if (answer.statusCode === 307 && typeof location === 'string') {
      await answer.body.dump();
      url = location;
      answer = await send(url, method, body);
    }
    const text = await answer.body.text();
    if (answer.headers['cistern-snapshot-age'] !== undefined) {
      throw new StorageError('unavailable', `${method} ${url}: no scheduler leads`);
    }
    if (answer.statusCode >= 300) {
      const view = parseError(text);
      const code = answer.headers['retry-after'] === undefined ? 'conflict' : 'unavailable';
      throw new StorageError(code, `${method} ${url} was refused: ${view?.message ?? text}`);
    }
    return (text === '' ? null : JSON.parse(text)) as T;
  }
}

async function send(
  url: string,
  method: 'GET' | 'POST',
  body: unknown,
): Promise<Dispatcher.ResponseData> {
  try {
    return await request(url, {
      method,
      headersTimeout: ANSWER_DEADLINE_MS,
      bodyTimeout: ANSWER_DEADLINE_MS,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
  } catch (error) {
    const isSent = (error as NodeJS.ErrnoException).code !== 'ECONNREFUSED';
    const text = `${method} ${url} failed: ${describeError(error)}`;
    throw new StorageError('unavailable', text, { isSent });
  }
}

function parseError(text: string): ErrorView | null {
  try {
    return JSON.parse(text) as ErrorView;
  } catch {
    return null; // Not ours (a proxy, another server): the text itself is shown.
  }
}

/** Asks until `check` gives something other than null; the error says what was waited for. */
export async function waitFor<T>(
  what: string,
  deadlineMs: number,
  check: () => Promise<T | null>,
): Promise<T> {
  const deadline = Date.now() + deadlineMs;
  let lastError = '';
  while (Date.now() < deadline) {
    try {
      const value = await check();
      if (value !== null) return value;
      lastError = '';
    } catch (error) {
      // The scheduler may be restarting: only the deadline decides.
      lastError = ` (last error: ${describeError(error)})`;
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new StorageError(
    'timeout',
    `Waited ${Math.round(deadlineMs / 1000)} s for ${what}${lastError}`,
  );
}
