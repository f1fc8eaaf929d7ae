/** How a command can end, and what the process says and returns then. */
import { describeError, StorageError } from '../shared/base/errors.ts';

export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;
export const EXIT_UNREACHABLE = 3;

/** The cluster cannot be reached: what was tried and why it failed, and the one thing to do. */
export function unreachableError(message: string, hint: string, cause?: unknown): StorageError {
  return new StorageError('unavailable', message, { isUnreachable: true, hint }, cause);
}

/** A failure with advice: `hint` is printed on a line of its own. */
export function failure(message: string, hint: string): StorageError {
  return new StorageError('unavailable', message, { hint });
}

export function usageError(message: string, hint: string): StorageError {
  return new StorageError('invalid-argument', message, { hint });
}

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof StorageError)) return EXIT_FAILED;
  if (error.details['isUnreachable'] === true) return EXIT_UNREACHABLE;
  return error.code === 'invalid-argument' ? EXIT_USAGE : EXIT_FAILED;
}

/** Lines for a person: what failed, then what to do about it. */
export function explainFailure(error: unknown): readonly string[] {
  const hint = error instanceof StorageError ? error.details['hint'] : undefined;
  const lines = [describeError(error)];
  if (typeof hint === 'string') lines.push(hint);
  return lines;
}

/** The same as JSON, for `--json`. */
export function failureView(error: unknown): object {
  if (!(error instanceof StorageError)) {
    return { error: { code: 'internal', message: describeError(error), details: {} } };
  }
  return { error: { code: error.code, message: error.message, details: error.details } };
}
