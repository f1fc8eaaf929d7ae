/**
 * A decoder under hostile bytes: what it is fed with, and what must hold whatever the bytes are. A target
 * throws when something does not hold: a crash, a refusal without a reason, a connection that died with
 * another's bytes.
 */
import { expect } from 'chai';
import { StorageError } from '../../../shared/base/errors.ts';
import type { Prng } from '../../../shared/base/prng.ts';

export interface FuzzTarget {
  /** As in `--only`. */
  readonly name: string;
  /** Valid inputs, to be damaged. */
  readonly corpus: readonly Uint8Array[];
  /** Inputs made by the grammar: well formed where that matters, hostile in their values. */
  readonly generate?: (prng: Prng) => Uint8Array;
  /** Of the inputs; the others are valid ones, damaged. */
  readonly generatedShare?: number;
  /** Memory that one input may cause to be taken, beside a multiple of its length. */
  readonly memoryBytesMax: number;
  /** Truncations of each valid input; `TRUNCATIONS_MAX` when absent. Fewer where an input is dear. */
  readonly truncations?: number;
  /** Feeds one input; `prng` for how it is cut. */
  run(input: Uint8Array, prng: Prng): void | Promise<void>;
  /** Called once, when the target has had its last input. */
  close?(): Promise<void>;
}

/** The shortest text that can name what was wrong. */
const REASON_LENGTH_MIN = 12;

/** A refusal says what it met: no empty text, no value that somebody forgot. */
export function expectReason(reason: string): void {
  expect(reason.length, `reason "${reason}"`).to.be.at.least(REASON_LENGTH_MIN);
  expect(reason).to.match(/[A-Za-z]{3,}.* /);
  // What it quotes came from the input, and may be anything.
  expect(reason.replace(/"[^"]*"/g, '""'), 'reason').to.not.match(/\[object|undefined/);
}

/** Runs a decoder that may refuse with a `StorageError`, and with nothing else. Null: it did. */
export function decodeOrRefuse<T>(decode: () => T): T | null {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    expectReason(error.message);
    return null;
  }
}
