/**
 * Gathers everything that a connection has to say into batches: one batch is one write to the
 * socket. Small payloads are copied behind their headers; large ones are sent from where they lie,
 * because copying them costs more than another piece in the write. Memory comes from the pool and
 * goes back when the batch has been sent.
 */
import { assert } from '../../../shared/base/assert.ts';
import { KiB } from '../../../shared/base/units.ts';
import type { BufferPool } from '../buffer-pool.ts';

export interface NbdBatch {
  /** In order; at least one. */
  readonly pieces: readonly Buffer[];
  readonly bytes: number;
  /** To be released when all of it has been sent. */
  readonly owned: readonly Buffer[];
}

/** Up to here a copy (0.1 us per 4 KiB) is cheaper than one more piece. */
export const COPIED_BYTES_MAX = 64 * KiB;
const CHUNK_BYTES = 256 * KiB;

export class NbdOutput {
  readonly #pool: BufferPool;
  #chunk: Buffer | null = null;
  /** Of the chunk: [start, end) is written and not yet a piece. */
  #start = 0;
  #end = 0;
  #pieces: Buffer[] = [];
  #owned: Buffer[] = [];
  #cutBytes = 0;

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  /** Gathered and not taken yet. */
  get bytes(): number {
    return this.#cutBytes + this.#end - this.#start;
  }

  /**
   * Makes room for `length` bytes (at most 128 KiB) behind what is there. The caller writes them
   * into the returned buffer from `position`, then calls `advance`.
   */
  reserve(length: number): Buffer {
    assert(length <= CHUNK_BYTES / 2, 'a message fits into a chunk', { length });
    if (this.#chunk === null || CHUNK_BYTES - this.#end < length) {
      this.#cut();
      this.#chunk = this.#pool.take(CHUNK_BYTES);
      this.#owned.push(this.#chunk);
      this.#start = 0;
      this.#end = 0;
    }
    return this.#chunk;
  }

  get position(): number {
    return this.#end;
  }

  /** `end` is the offset behind the last byte that was written. */
  advance(end: number): void {
    this.#end = end;
  }

  /** Copies a few bytes, a reply of the handshake, say. */
  copy(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += COPIED_BYTES_MAX) {
      const length = Math.min(COPIED_BYTES_MAX, bytes.length - at);
      const target = this.reserve(length);
      bytes.copy(target, this.#end, at, at + length);
      this.#end += length;
    }
  }

  /** Takes `data` over and sends it from where it is. */
  append(data: Buffer): void {
    this.#cut();
    this.#pieces.push(data);
    this.#owned.push(data);
    this.#cutBytes += data.length;
  }

  /** Everything gathered since the last call, or null. */
  take(): NbdBatch | null {
    this.#cut();
    if (this.#pieces.length === 0) return null;
    const batch = { pieces: this.#pieces, bytes: this.#cutBytes, owned: this.#owned };
    this.#pieces = [];
    this.#owned = [];
    this.#cutBytes = 0;
    this.#chunk = null;
    this.#start = 0;
    this.#end = 0;
    return batch;
  }

  #cut(): void {
    if (this.#chunk === null || this.#end === this.#start) return;
    this.#pieces.push(this.#chunk.subarray(this.#start, this.#end));
    this.#cutBytes += this.#end - this.#start;
    this.#start = this.#end;
  }
}
