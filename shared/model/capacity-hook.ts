/**
 * What the scheduler asks an operator's capacity hook for, and what the hook answers: one JSON document each
 * way, on a command's standard input and output, or as a POST and its answer. docs/operations.md is written
 * for those who write one.
 */
import { StorageError } from '../base/errors.ts';

/** A node on which a new disk would help; a hook may choose among them, or make a new agent. */
export interface CapacityCandidate {
  readonly node: string;
  readonly hostname: string;
  readonly agentId: string;
  readonly zone: string | null;
  readonly region: string | null;
  readonly attributes: Readonly<Record<string, string>>;
  /** Raw bytes that the pool has there: the least is named first. */
  readonly poolBytes: number;
}

export interface CapacityRequest {
  readonly format: 1;
  /** The same for every attempt to get the same disks: a hook does nothing for a key that it has served. */
  readonly key: string;
  /** 1 for the first. */
  readonly attempt: number;
  /** Say what would be done, and do nothing. */
  readonly isDryRun: boolean;
  readonly cluster: string;
  readonly clusterId: string;
  readonly pool: string;
  readonly tier: string | null;
  /** Disks wanted, of about `diskBytes` each; `bytes` together. */
  readonly count: number;
  readonly diskBytes: number;
  readonly bytes: number;
  readonly reason: string;
  /** At most `CANDIDATES_MAX`. */
  readonly nodes: readonly CapacityCandidate[];
}

export const CANDIDATES_MAX = 64;
/** More than a sentence and a list of disks is not an answer. */
export const ANSWER_BYTES_MAX = 65_536;
const MESSAGE_MAX = 500;

export type CapacityOutcome =
  /** Disks that are on their way, as many as the hook says. */
  | { readonly kind: 'promised'; readonly count: number; readonly message: string }
  /** It will not, for now: asked again after a while. */
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'failed'; readonly message: string };

/**
 * `{"count": 2, "message": "…"}`: so many are on their way; 0: refused. Throws `protocol` for anything else.
 */
export function decodeCapacityAnswer(text: string, wanted: number): CapacityOutcome {
  const value = parse(text);
  const { count, message = '' } = value;
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 0 || count > wanted) {
    throw invalid(`field "count" is ${JSON.stringify(count ?? null)}`, `0 to ${wanted}`);
  }
  if (typeof message !== 'string') throw invalid('field "message" is no text', 'a sentence');
  const short = shorten(message);
  if (count === 0) return { kind: 'refused', message: short === '' ? 'it gave no reason' : short };
  return { kind: 'promised', count, message: short };
}

/** Text of others, for an event: one line, not too long. */
export function shorten(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= MESSAGE_MAX ? line : `${line.slice(0, MESSAGE_MAX)}…`;
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch {
    // Not JSON: told below, as every other shape that is no answer.
  }
  throw invalid(`it is "${shorten(text).slice(0, 80)}"`, 'a JSON object with "count"');
}

function invalid(found: string, expected: string): StorageError {
  return new StorageError(
    'protocol',
    `The capacity hook's answer cannot be used: ${found}, expected ${expected}`,
  );
}
