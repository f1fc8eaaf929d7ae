/**
 * A block device in memory: pages of 4 KiB that exist once written. It keeps track of holes,
 * answers at once or later (in an order that a seed shuffles), and fails when told to.
 */

import type {
  BlockDevice,
  BlockError,
  BlockOp,
  BlockRequest,
  BlockStatus,
} from '../../../executor/gateway/block-device.ts';
import type { BufferPool } from '../../../executor/gateway/buffer-pool.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES } from '../../../shared/base/units.ts';

export interface MemoryDeviceOptions {
  readonly sizeBytes: number;
  readonly isReadOnly?: boolean;
  /**
   * `now`: before `submit` returns. `later`: some turns of the event loop later, out of order.
   * `manual`: when the test calls `release`.
   */
  readonly answers?: 'now' | 'later' | 'manual';
  readonly seed?: number;
  /** Reads take their memory from here. */
  readonly pool?: BufferPool;
}

export class MemoryDevice implements BlockDevice {
  readonly sizeBytes: number;
  isReadOnly: boolean;
  /** Every request as it came, for tests that look at what reached the device. */
  readonly seen: {
    op: BlockOp;
    offset: number;
    length: number;
    isDurable: boolean;
    mayUnmap: boolean;
  }[] = [];
  /** Set: every request fails with this. */
  failWith: BlockError | null = null;
  /** Off in benchmarks. */
  keepsRecord = true;
  readonly #answers: 'now' | 'later' | 'manual';
  readonly #prng: Prng;
  readonly #pool: BufferPool | null;
  /** Null: a hole. */
  readonly #pages: (Buffer | null)[];
  readonly #zeroPages: Set<number> = new Set();
  #waiting: BlockRequest[] = [];
  #isScheduled = false;

  constructor(options: MemoryDeviceOptions) {
    this.sizeBytes = options.sizeBytes;
    this.isReadOnly = options.isReadOnly ?? false;
    this.#answers = options.answers ?? 'now';
    this.#prng = new Prng(options.seed ?? 1);
    this.#pool = options.pool ?? null;
    this.#pages = new Array<Buffer | null>(Math.ceil(options.sizeBytes / BLOCK_BYTES)).fill(null);
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  submit(request: BlockRequest): void {
    if (this.keepsRecord) {
      const { op, offset, length, isDurable, mayUnmap } = request;
      this.seen.push({ op, offset, length, isDurable, mayUnmap });
    }
    if (this.#answers === 'now') {
      this.#execute(request);
      return;
    }
    this.#waiting.push(request);
    if (this.#answers === 'later') this.#schedule();
  }

  /** Carries out what waits, first come first served (or shuffled); `count`: at most so many. */
  release(count = Number.POSITIVE_INFINITY): void {
    const released = this.#waiting.slice(0, count);
    this.#waiting = this.#waiting.slice(released.length);
    for (const request of released) this.#execute(request);
  }

  /** The contents of a range, for comparison. */
  peek(offset: number, length: number): Buffer {
    const target = Buffer.alloc(length);
    this.#read(target, offset);
    return target;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      // A random half now, the rest later: replies overtake each other.
      const shuffled = this.#prng.shuffle(this.#waiting);
      const count = Math.ceil(shuffled.length / 2);
      this.#waiting = shuffled.slice(count);
      for (const request of shuffled.slice(0, count)) this.#execute(request);
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  #execute(request: BlockRequest): void {
    request.error = this.failWith;
    if (this.failWith === null) this.#carryOut(request);
    request.onDone(request);
  }

  #carryOut(request: BlockRequest): void {
    const { offset, length } = request;
    switch (request.op) {
      case 'read': {
        const memory =
          this.#pool === null ? Buffer.allocUnsafeSlow(length) : this.#pool.take(length);
        const target = memory.length === length ? memory : memory.subarray(0, length);
        this.#read(target, offset);
        request.data = target;
        break;
      }
      case 'write':
        this.#write(request.data ?? Buffer.alloc(0), offset);
        break;
      case 'zero':
        this.#zero(offset, length, request.mayUnmap);
        break;
      case 'trim':
        this.#zero(offset, length, true);
        break;
      case 'status':
        request.statuses = this.#status(offset, length);
        break;
      case 'flush':
        break;
    }
  }

  /** Calls `visit` with every page of a range and the part of it that the range covers. */
  #forPages(
    offset: number,
    length: number,
    visit: (page: number, from: number, to: number, done: number) => void,
  ): void {
    let done = 0;
    while (done < length) {
      const from = (offset + done) % BLOCK_BYTES;
      const to = Math.min(BLOCK_BYTES, from + length - done);
      visit((offset + done - from) / BLOCK_BYTES, from, to, done);
      done += to - from;
    }
  }

  #read(target: Buffer, offset: number): void {
    this.#forPages(offset, target.length, (page, from, to, done) => {
      const stored = this.#pages[page] ?? null;
      if (stored === null) target.fill(0, done, done + to - from);
      else stored.copy(target, done, from, to);
    });
  }

  #write(source: Buffer, offset: number): void {
    this.#forPages(offset, source.length, (page, from, to, done) => {
      let stored = this.#pages[page] ?? null;
      if (stored === null) {
        stored = Buffer.alloc(BLOCK_BYTES);
        this.#pages[page] = stored;
      }
      this.#zeroPages.delete(page);
      source.copy(stored, from, done, done + to - from);
    });
  }

  #zero(offset: number, length: number, mayUnmap: boolean): void {
    this.#forPages(offset, length, (page, from, to) => {
      const isWhole = to - from === BLOCK_BYTES;
      if (isWhole && mayUnmap) {
        this.#pages[page] = null;
        this.#zeroPages.delete(page);
      } else if (isWhole) {
        this.#pages[page] = Buffer.alloc(BLOCK_BYTES);
        this.#zeroPages.add(page);
      } else {
        this.#pages[page]?.fill(0, from, to);
      }
    });
  }

  #status(offset: number, length: number): BlockStatus[] {
    const statuses: { length: number; isHole: boolean; isZero: boolean }[] = [];
    this.#forPages(offset, length, (page, from, to) => {
      const isHole = (this.#pages[page] ?? null) === null;
      const isZero = isHole || this.#zeroPages.has(page);
      const last = statuses.at(-1);
      if (last !== undefined && last.isHole === isHole && last.isZero === isZero) {
        last.length += to - from;
      } else {
        statuses.push({ length: to - from, isHole, isZero });
      }
    });
    return statuses;
  }
}
