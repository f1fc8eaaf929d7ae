/**
 * Damages valid inputs: flipped bits, extreme numbers wherever a length may stand, truncation, repetition,
 * pieces of other inputs, noise. All from the seed.
 */
import type { Prng } from '../../../shared/base/prng.ts';

/** In 8, 16, 32 and 64 bits: the ends of ranges, their neighbours, signs. */
export const EXTREMES: readonly bigint[] = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0x100n,
  0x7fffn,
  0xffffn,
  0x1_0000n,
  0x40_0000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1f_ffff_ffff_ffffn,
  0x7fff_ffff_ffff_ffffn,
  0xffff_ffff_ffff_ffffn,
];
const INPUT_BYTES_MAX = 1024 * 1024;

export function mutate(prng: Prng, corpus: readonly Uint8Array[]): Buffer {
  let bytes = Buffer.from(prng.pick(corpus));
  for (let times = prng.pick([1, 1, 1, 2, 4]); times > 0; times -= 1) {
    bytes = Buffer.from(prng.pick(MUTATIONS)(bytes, prng, corpus));
  }
  return bytes.subarray(0, INPUT_BYTES_MAX);
}

type Mutation = (bytes: Buffer, prng: Prng, corpus: readonly Uint8Array[]) => Uint8Array;

const MUTATIONS: readonly Mutation[] = [
  flipBits,
  flipBits,
  setNumber,
  setNumber,
  setNumber,
  (bytes, prng) => bytes.subarray(0, prng.below(bytes.length + 1)),
  (bytes, prng) => Buffer.concat([bytes, prng.bytes(prng.between(1, 64))]),
  (_bytes, prng) => prng.bytes(prng.below(300)),
  removeRange,
  repeatRange,
  splice,
];

function flipBits(bytes: Buffer, prng: Prng): Buffer {
  if (bytes.length === 0) return bytes;
  for (let times = prng.between(1, 6); times > 0; times -= 1) {
    const at = prng.below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << prng.below(8));
  }
  return bytes;
}

function setNumber(bytes: Buffer, prng: Prng): Buffer {
  const size = prng.pick([1, 2, 4, 8]);
  if (bytes.length < size) return bytes;
  const at = prng.below(bytes.length - size + 1);
  const encoded = Buffer.alloc(8);
  encoded.writeBigUInt64LE(prng.pick(EXTREMES));
  const number = encoded.subarray(0, size);
  bytes.set(prng.chance(0.5) ? number : Buffer.from(number).reverse(), at);
  return bytes;
}

function rangeOf(bytes: Buffer, prng: Prng): readonly [number, number] {
  const from = prng.below(bytes.length + 1);
  return [from, Math.min(bytes.length, from + prng.below(64))];
}

function removeRange(bytes: Buffer, prng: Prng): Buffer {
  const [from, to] = rangeOf(bytes, prng);
  return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
}

function repeatRange(bytes: Buffer, prng: Prng): Buffer {
  const [from, to] = rangeOf(bytes, prng);
  const range = bytes.subarray(from, to);
  const copies = Array.from({ length: prng.pick([1, 2, 100]) }, () => range);
  return Buffer.concat([bytes.subarray(0, to), ...copies, bytes.subarray(to)]);
}

function splice(bytes: Buffer, prng: Prng, corpus: readonly Uint8Array[]): Buffer {
  const other = prng.pick(corpus);
  return Buffer.concat([
    bytes.subarray(0, prng.below(bytes.length + 1)),
    other.subarray(prng.below(other.length + 1)),
  ]);
}
