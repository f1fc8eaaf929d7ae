/**
 * Which bad blocks a store has counted: each counts once, however often it is met. A block that nobody can repair
 * is read again and again, and must not make a good disk look like one that decays.
 */
import type { ExtentAddress } from './store-types.ts';

/** A disk with more is taken out for them long before. */
const BLOCKS_MAX = 4096;

export class BadBlockBook {
  readonly #known = new Map<string, number>();

  /** False when it was told of the same contents (`checksum`) in this place before. */
  isNews(place: ExtentAddress, block: number, count: number, checksum: number): boolean {
    const key = keyOf(place, block, count);
    if (this.#known.get(key) === checksum) return false;
    if (this.#known.size < BLOCKS_MAX || this.#known.has(key)) this.#known.set(key, checksum);
    return true;
  }

  /** They are good again: the next error is another one. */
  forget(place: ExtentAddress, block: number, count: number): void {
    for (let at = block; at < block + count; at += 1) this.#known.delete(keyOf(place, at, 1));
  }
}

function keyOf({ volume, layer, extent }: ExtentAddress, block: number, count: number): string {
  return `${volume}/${layer}/${extent}/${block}+${count}`;
}
