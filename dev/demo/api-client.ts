/** The few calls to the operator API that the demo makes; every one has a deadline. */
import { request } from 'undici';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { ErrorView } from '../../shared/model/api-views.ts';

/** An attach may wait for a fenced node: longer than any lease. */
const ANSWER_DEADLINE_MS = 60_000;

export class ApiClient {
  readonly #base: string;

  constructor(base: string) {
    this.#base = base;
  }

  get<T>(path: string): Promise<T> {
    return this.#call<T>('GET', path);
  }

  post<T>(path: string, body: unknown = {}): Promise<T> {
    return this.#call<T>('POST', path, body);
  }

  async #call<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
    const url = `${this.#base}/v1${path}`;
    const answer = await request(url, {
      method,
      headersTimeout: ANSWER_DEADLINE_MS,
      bodyTimeout: ANSWER_DEADLINE_MS,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    }).catch((error: unknown) => {
      throw new StorageError('unavailable', `${method} ${url} failed: ${describeError(error)}`);
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) {
      const view = parseError(text);
      throw new StorageError('conflict', `${method} ${url} was refused: ${view?.message ?? text}`);
    }
    return (text === '' ? null : JSON.parse(text)) as T;
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
