/**
 * RecordIO: the framing of every Mesos event stream. A record is its length in ASCII decimal, a
 * line feed, and exactly that many bytes:
 *
 *     "11\n" "hello world" "3\n" "abc"
 *
 * The pieces may be cut anywhere by the network, so the decoder is fed with chunks of any size and
 * hands out whole records. It counts bytes and never looks into a record. A broken length can not
 * be recovered from: after an error the stream has to be dropped.
 */

import { StorageError } from '../base/errors.ts';

/** OFFERS of a large cluster are a few megabytes; more than this is a broken stream. */
export const RECORD_BYTES_MAX = 64 * 1024 * 1024;

const DIGITS_MAX = String(RECORD_BYTES_MAX).length;
const LINE_FEED = 0x0a;
const DIGIT_ZERO = 0x30;
const DIGIT_NINE = 0x39;

/** The bytes of one record, ready to be written to a stream. */
export function encodeRecord(payload: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${payload.length}\n`, 'ascii'), payload]);
}

/**
 * Feed it with chunks in order. Records that lie within one chunk are views of that chunk: the
 * caller must not reuse the chunk's memory.
 */
export class RecordDecoder {
  readonly #recordBytesMax: number;
  #digits = '';
  /** Undefined while the length is being read. */
  #remaining: number | undefined;
  #parts: Buffer[] = [];
  #failed = false;

  constructor(recordBytesMax: number = RECORD_BYTES_MAX) {
    this.#recordBytesMax = recordBytesMax;
  }

  /** True between records: a stream that ends here ended properly. */
  get atBoundary(): boolean {
    return this.#remaining === undefined && this.#digits === '';
  }

  /**
   * Takes the next chunk and returns the records that it completes, in order.
   * Throws `protocol` on a malformed or too large length, and on every call after that.
   */
  push(chunk: Uint8Array): Buffer[] {
    if (this.#failed) throw new StorageError('protocol', 'Fed a RecordIO stream that is broken');
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const records: Buffer[] = [];
    let position = 0;
    while (position < bytes.length) {
      position =
        this.#remaining === undefined
          ? this.#takeLength(bytes, position, records)
          : this.#takePayload(bytes, position, this.#remaining, records);
    }
    return records;
  }

  #takeLength(bytes: Buffer, start: number, records: Buffer[]): number {
    for (let position = start; position < bytes.length; position++) {
      const byte = bytes[position] ?? 0;
      if (byte === LINE_FEED) {
        this.#finishLength(records);
        return position + 1;
      }
      if (byte < DIGIT_ZERO || byte > DIGIT_NINE) {
        this.#fail(`a decimal digit, found byte 0x${byte.toString(16)}`);
      }
      this.#digits += String.fromCharCode(byte);
      if (this.#digits.length > DIGITS_MAX) {
        this.#fail(`a length of at most ${DIGITS_MAX} digits, found "${this.#digits}"`);
      }
    }
    return bytes.length;
  }

  #finishLength(records: Buffer[]): void {
    if (this.#digits === '') this.#fail('a length, found an empty line');
    const length = Number(this.#digits);
    if (length > this.#recordBytesMax) {
      this.#fail(`a record of at most ${this.#recordBytesMax} bytes, found "${length}"`);
    }
    this.#digits = '';
    // A record of no bytes is legal: it is complete before any payload arrives.
    if (length === 0) records.push(Buffer.alloc(0));
    else this.#remaining = length;
  }

  #takePayload(bytes: Buffer, start: number, remaining: number, records: Buffer[]): number {
    const end = Math.min(bytes.length, start + remaining);
    const part = bytes.subarray(start, end);
    if (part.length < remaining) {
      this.#parts.push(part);
      this.#remaining = remaining - part.length;
      return end;
    }
    records.push(this.#parts.length === 0 ? part : Buffer.concat([...this.#parts, part]));
    this.#parts = [];
    this.#remaining = undefined;
    return end;
  }

  #fail(expected: string): never {
    this.#failed = true;
    this.#parts = [];
    throw new StorageError('protocol', `Failed to read a RecordIO length: expected ${expected}`);
  }
}
