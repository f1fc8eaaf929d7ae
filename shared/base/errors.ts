/**
 * Operating errors: conditions that the outside world brings about and that a caller must handle.
 * A new code exists only if some caller acts differently on it (docs/errors.md lists them all; a
 * test compares the two).
 */

/** What a caller may do: send the same again, look at the newest map first, or give up. */
export type Retry = 'same' | 'refresh-map' | 'never';

export const ERROR_CODES = {
  'invalid-argument': { http: 400, retry: 'never' },
  'not-found': { http: 404, retry: 'never' },
  'already-exists': { http: 409, retry: 'never' },
  conflict: { http: 409, retry: 'refresh-map' },
  'no-space': { http: 507, retry: 'same' },
  unavailable: { http: 503, retry: 'same' },
  timeout: { http: 504, retry: 'same' },
  'stale-epoch': { http: 409, retry: 'refresh-map' },
  fenced: { http: 409, retry: 'never' },
  'no-lease': { http: 503, retry: 'same' },
  corrupt: { http: 500, retry: 'never' },
  'disk-failed': { http: 500, retry: 'never' },
  'foreign-data': { http: 409, retry: 'never' },
  protocol: { http: 400, retry: 'never' },
  internal: { http: 500, retry: 'never' },
} as const satisfies Record<string, { readonly http: number; readonly retry: Retry }>;

export type ErrorCode = keyof typeof ERROR_CODES;

export type ErrorDetails = Readonly<Record<string, unknown>>;

/**
 * `message`: what we tried, on which thing, expected and actual, values quoted, no final period.
 * `details`: the same facts for programs; validation errors carry `field`, `given`, `allowed`.
 */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }

  get retry(): Retry {
    return ERROR_CODES[this.code].retry;
  }
}

/** The validation error: says which field, what was given and what is allowed. */
export function invalidField(field: string, given: unknown, allowed: string): StorageError {
  return new StorageError(
    'invalid-argument',
    `Field "${field}" is ${JSON.stringify(given) ?? 'missing'}, allowed: ${allowed}`,
    { field, given, allowed },
  );
}

/** The text of anything that was thrown. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
