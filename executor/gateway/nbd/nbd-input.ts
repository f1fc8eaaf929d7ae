/**
 * The received bytes of one connection that are not consumed yet. Most arrive in one buffer that is
 * used over and over; the rest of a large write goes straight into the memory of its request.
 *
 *     buffer   | consumed | [start ... end) waiting | room: target of the next read |
 */
import { assert } from '../../../shared/base/assert.ts';
import { KiB } from '../../../shared/base/units.ts';
import type { BufferPool } from '../buffer-pool.ts';

/** Holds 64 writes of 4 KiB; larger brings nothing (measured). */
const INPUT_BYTES = 256 * KiB;
/** Below this much room, what waits is moved to the front. */
const ROOM_BYTES_MIN = 64 * KiB;
/** Moving so little is cheaper than a smaller read. */
const MOVED_BYTES_CHEAP = 4 * KiB;
/** A payload with this much missing is received in place; less comes along with what follows it. */
const DIRECT_BYTES_MIN = 64 * KiB;

export class NbdInput {
  readonly #pool: BufferPool;
  readonly bytes: Buffer;
  start = 0;
  #end = 0;
  /** The payload being filled, and how far. */
  #payload: Buffer | null = null;
  #filled = 0;
  #isTargetPayload = false;

  constructor(pool: BufferPool) {
    this.#pool = pool;
    this.bytes = pool.take(INPUT_BYTES);
  }

  get waiting(): number {
    return this.#end - this.start;
  }

  /**
   * Memory for the next read. Reading may be paused between this and `received`, and what waits may
   * be consumed meanwhile: only these two move the end.
   */
  target(): Uint8Array {
    const payload = this.#payload;
    this.#isTargetPayload =
      payload !== null && this.waiting === 0 && payload.length - this.#filled >= DIRECT_BYTES_MIN;
    if (this.#isTargetPayload && payload !== null) return payload.subarray(this.#filled);
    const waiting = this.waiting;
    if (waiting <= MOVED_BYTES_CHEAP || INPUT_BYTES - this.#end < ROOM_BYTES_MIN) {
      if (waiting > 0) this.bytes.copyWithin(0, this.start, this.#end);
      this.start = 0;
      this.#end = waiting;
    }
    assert(this.#end < INPUT_BYTES, 'the input has room for more', { waiting });
    return this.#end === 0 ? this.bytes : this.bytes.subarray(this.#end);
  }

  received(count: number): void {
    if (this.#isTargetPayload) this.#filled += count;
    else this.#end += count;
  }

  /** From now on bytes belong to `payload` until it is full. */
  beginPayload(payload: Buffer): void {
    this.#payload = payload;
    this.#filled = 0;
  }

  /** Moves waiting bytes into the payload. True when it is complete (and no longer known here). */
  fillPayload(): boolean {
    const payload = this.#payload;
    assert(payload !== null, 'there is a payload to fill');
    const count = Math.min(payload.length - this.#filled, this.waiting);
    if (count > 0) {
      this.bytes.copy(payload, this.#filled, this.start, this.start + count);
      this.start += count;
      this.#filled += count;
    }
    if (this.#filled < payload.length) return false;
    this.#payload = null;
    return true;
  }

  /** Consumes up to `count` waiting bytes and returns how many. */
  skip(count: number): number {
    const skipped = Math.min(count, this.waiting);
    this.start += skipped;
    return skipped;
  }

  /** When nothing can arrive any more. */
  close(): void {
    this.#payload = null;
    this.#pool.release(this.bytes);
  }
}
