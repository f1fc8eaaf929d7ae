/**
 * Assertions that stay on in production: they state what the programmer knows, and are never used
 * for conditions that the outside world can bring about (those are `StorageError`s or results).
 */

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
  readonly details: Readonly<Record<string, unknown>>;

  constructor(what: string, details: Readonly<Record<string, unknown>>) {
    super(Object.keys(details).length === 0 ? what : `${what} ${JSON.stringify(details)}`);
    this.details = details;
  }
}

/** Throws `AssertionError` unless `condition` holds. `what` says what must be true. */
export function assert(
  condition: unknown,
  what: string,
  details: Readonly<Record<string, unknown>> = {},
): asserts condition {
  if (!condition) throw new AssertionError(`Broken invariant: ${what}`, details);
}

/** Ends a `switch` over a tagged union: the compiler proves that it is never reached. */
export function unreachable(value: never): never {
  throw new AssertionError('Broken invariant: unreachable case', { value: value as unknown });
}

/** Returns `value`, or throws when it is missing although the caller knows that it must be there. */
export function present<T>(value: T | null | undefined, what: string): T {
  assert(value !== null && value !== undefined, `${what} is present`);
  return value;
}
