/**
 * Feeds one target: first its valid inputs and their truncations, then generated and damaged ones. Input N of
 * a seed is always the same. Measures the memory that each takes.
 */
import { getHeapStatistics } from 'node:v8';
import { Prng } from '../../../shared/base/prng.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { mutate } from './mutation.ts';

/** Every truncation of short inputs; of longer ones so many. */
const TRUNCATIONS_MAX = 200;
/** Objects made of bytes may take so much more room than these. */
const MEMORY_PER_BYTE = 400;
const GENERATED_SHARE = 0.4;

export interface FuzzFailure {
  readonly target: string;
  readonly number: number;
  readonly input: Uint8Array;
  readonly reason: string;
}

export interface FuzzLoopOptions {
  readonly target: FuzzTarget;
  readonly seed: number;
  /** Inputs beside the valid ones and their truncations. */
  readonly count: number;
  readonly endMs: number;
  /** Called before each input, so that somebody else may notice when one never ends. */
  readonly onInput: (number: number) => void;
}

/** How many inputs were fed; the failure that stopped it, or null. */
export async function fuzz(
  options: FuzzLoopOptions,
): Promise<{ readonly count: number; readonly failure: FuzzFailure | null }> {
  const { target, endMs, onInput } = options;
  const fixed = fixedInputs(target);
  const total = fixed + options.count;
  let number = 0;
  for (; number < total; number += 1) {
    // The clock is asked rarely, and the truncations always come all.
    if (number > fixed && number % 16 === 0 && Date.now() > endMs) break;
    onInput(number);
    const input = inputOf(target, options.seed, number);
    const reason = await feed(target, input, new Prng(`${options.seed} cuts ${number}`));
    if (reason !== null) {
      return { count: number, failure: { target: target.name, number, input, reason } };
    }
  }
  return { count: number, failure: null };
}

function fixedInputs(target: FuzzTarget): number {
  return target.corpus.length * truncationsOf(target);
}

function truncationsOf(target: FuzzTarget): number {
  return target.truncations ?? TRUNCATIONS_MAX;
}

/** Input `number` of a seed. */
export function inputOf(target: FuzzTarget, seed: number, number: number): Uint8Array {
  const truncations = truncationsOf(target);
  const index = Math.floor(number / truncations);
  const valid = target.corpus[index];
  if (valid !== undefined) {
    const step = Math.max(1, Math.ceil(valid.length / truncations));
    const missing = (number % truncations) * step;
    return Uint8Array.from(valid.subarray(0, Math.max(0, valid.length - missing)));
  }
  const prng = new Prng(`${seed} ${target.name} ${number}`);
  if (target.generate !== undefined && prng.chance(target.generatedShare ?? GENERATED_SHARE)) {
    const generated = target.generate(prng);
    return prng.chance(target.generatedShare ?? 0.5) ? generated : mutate(prng, [generated]);
  }
  return mutate(prng, target.corpus);
}

/** What went wrong, or null. */
export async function feed(
  target: FuzzTarget,
  input: Uint8Array,
  prng: Prng,
): Promise<string | null> {
  const before = memoryBytes();
  try {
    await target.run(input, prng);
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  const taken = memoryBytes() - before;
  const allowed = target.memoryBytesMax + MEMORY_PER_BYTE * input.length;
  if (taken <= allowed) return null;
  return `An input of ${input.length} bytes took ${taken} bytes of memory, at most ${allowed} allowed`;
}

/** Collection in between only makes the difference smaller. */
function memoryBytes(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}
