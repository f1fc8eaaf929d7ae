/**
 * Buffers that are used again, so that the hot path leaves nothing for the garbage collector. Sizes
 * are powers of two from 4 KiB to 32 MiB; `take` gives one that is at least as long as asked.
 *
 * A buffer belongs to its taker until `release`. Forgetting to release costs an allocation, never
 * more; releasing twice or using it afterwards corrupts data. Buffers that are not the pool's own
 * are refused quietly, so `release` may be called with whatever a request carried.
 */
import { assert } from '../../shared/base/assert.ts';
import { KiB, MiB } from '../../shared/base/units.ts';

const CLASS_BYTES_MIN = 4 * KiB;
export const POOLED_BYTES_MAX = 32 * MiB;
const CLASS_COUNT = Math.log2(POOLED_BYTES_MAX / CLASS_BYTES_MIN) + 1;
/**
 * Idle memory per process: two clients' worth of the largest requests, and plenty of small ones.
 */
const IDLE_BYTES_MAX = 64 * MiB;

export class BufferPool {
  readonly #idle: Buffer[][] = Array.from({ length: CLASS_COUNT }, () => []);
  readonly #own = new WeakSet<Buffer>();
  #idleBytes = 0;

  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** `length`: 1 byte to 32 MiB. The contents are whatever was there before. */
  take(length: number): Buffer {
    assert(length > 0 && length <= POOLED_BYTES_MAX, 'the length can be pooled', { length });
    const found = this.#idle[classOf(length)]?.pop();
    if (found !== undefined) {
      this.#idleBytes -= found.length;
      return found;
    }
    const made = Buffer.allocUnsafeSlow(CLASS_BYTES_MIN * 2 ** classOf(length));
    this.#own.add(made);
    return made;
  }

  release(buffer: Buffer): void {
    if (!this.#own.has(buffer)) return;
    if (this.#idleBytes + buffer.length > IDLE_BYTES_MAX) return;
    this.#idle[classOf(buffer.length)]?.push(buffer);
    this.#idleBytes += buffer.length;
  }
}

/** The smallest class that holds `length`. */
function classOf(length: number): number {
  return length <= CLASS_BYTES_MIN ? 0 : 32 - Math.clz32((length - 1) >>> 12);
}
