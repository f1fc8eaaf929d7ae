/**
 * A seeded generator (xoshiro128**, Blackman and Vigna 2018) in 32-bit integers only, so that one
 * seed gives the same sequence everywhere. `fork` derives an independent generator per component:
 * an added draw in one place does not reshuffle all the others.
 */
import { assert } from './assert.ts';

export class Prng {
  readonly #state: Uint32Array;

  constructor(seed: number | string) {
    this.#state = new Uint32Array(4);
    let hash = hashText(String(seed));
    for (let index = 0; index < 4; index += 1) {
      // splitmix32: spreads similar seeds over the whole state.
      hash = (hash + 0x9e3779b9) >>> 0;
      let mixed = hash;
      mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      this.#state[index] = (mixed ^ (mixed >>> 15)) >>> 0;
    }
  }

  /** A generator of its own for `label`; does not advance this one. */
  fork(label: string): Prng {
    return new Prng(`${Array.from(this.#state).join('.')}/${label}`);
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    const state = this.#state;
    const s0 = state[0] ?? 0;
    const s1 = state[1] ?? 0;
    const s2 = state[2] ?? 0;
    const s3 = state[3] ?? 0;
    const result = Math.imul(rotateLeft(Math.imul(s1, 5) >>> 0, 7), 9) >>> 0;
    const t2 = s2 ^ s0;
    const t3 = s3 ^ s1;
    state[1] = s1 ^ t2;
    state[0] = s0 ^ t3;
    state[2] = t2 ^ (s1 << 9);
    state[3] = rotateLeft(t3 >>> 0, 11);
    return result;
  }

  /** Half open: 0 to `limit` - 1. */
  below(limit: number): number {
    assert(Number.isSafeInteger(limit) && limit > 0, 'limit is a positive integer', { limit });
    return limit <= 0x1_0000_0000
      ? Math.floor((this.u32() / 0x1_0000_0000) * limit)
      : Math.floor(this.fraction() * limit);
  }

  /** Both ends included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** 0 (included) to 1 (excluded), 53 bits. */
  fraction(): number {
    return ((this.u32() >>> 5) * 0x400_0000 + (this.u32() >>> 6)) / 2 ** 53;
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(items: readonly T[]): T {
    assert(items.length > 0, 'there is something to pick from');
    return items[this.below(items.length)] as T;
  }

  /** A shuffled copy. */
  shuffle<T>(items: readonly T[]): T[] {
    const copy = [...items];
    for (let index = copy.length - 1; index > 0; index -= 1) {
      const other = this.below(index + 1);
      const held = copy[index] as T;
      copy[index] = copy[other] as T;
      copy[other] = held;
    }
    return copy;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let index = 0; index < length; index += 1) bytes[index] = this.u32() & 0xff;
    return bytes;
  }
}

function rotateLeft(value: number, bits: number): number {
  return ((value << bits) | (value >>> (32 - bits))) >>> 0;
}

/** FNV-1a, 32 bits. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  return hash;
}
