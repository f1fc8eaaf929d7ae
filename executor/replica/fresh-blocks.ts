/**
 * Which blocks gateways have written onto a joining replica since the join began: a pulled block never
 * overwrites one of them (DESIGN 4.4). One bit per block, 128 bytes per extent written meanwhile.
 */
import { assert } from '../../shared/base/assert.ts';
import { BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import type { ExtentAddress } from '../disk/store-types.ts';

const WORDS = BLOCKS_PER_EXTENT / 32;

/** Addresses as map keys: background work, so a string will do. */
export function keyOf(address: ExtentAddress): string {
  return `${address.volume}/${address.layer}/${address.extent}`;
}

export function isOfVolume(key: string, volume: number): boolean {
  return key.startsWith(`${volume}/`);
}

export class FreshBlocks {
  readonly #bits = new Map<string, Uint32Array>();

  mark(address: ExtentAddress, block: number, count: number): void {
    assert(block + count <= BLOCKS_PER_EXTENT, 'blocks lie inside the extent', { block, count });
    const key = keyOf(address);
    let bits = this.#bits.get(key);
    if (bits === undefined) {
      bits = new Uint32Array(WORDS);
      this.#bits.set(key, bits);
    }
    for (let index = block; index < block + count; index += 1) {
      bits[index >>> 5] = (bits[index >>> 5] as number) | (1 << (index & 31));
    }
  }

  forgetVolume(volume: number): void {
    for (const key of [...this.#bits.keys()]) if (isOfVolume(key, volume)) this.#bits.delete(key);
  }

  hasAny(address: ExtentAddress): boolean {
    return this.#bits.has(keyOf(address));
  }

  has(address: ExtentAddress, block: number): boolean {
    const bits = this.#bits.get(keyOf(address));
    return bits !== undefined && ((bits[block >>> 5] as number) & (1 << (block & 31))) !== 0;
  }
}
