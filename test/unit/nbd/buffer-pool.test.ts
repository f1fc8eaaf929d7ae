/** The pool: sizes, whose buffers come back, and how much it keeps. */
import { expect } from 'chai';
import { BufferPool } from '../../../executor/gateway/buffer-pool.ts';
import { MiB } from '../../../shared/base/units.ts';

describe('buffer pool', function () {
  this.timeout(20_000);

  it('take: at least as long as asked, in powers of two', () => {
    const pool = new BufferPool();
    const expected: [number, number][] = [
      [1, 4096],
      [4096, 4096],
      [4097, 8192],
      [8192, 8192],
      [65_537, 131_072],
      [32 * MiB, 32 * MiB],
    ];
    for (const [asked, given] of expected) {
      expect(pool.take(asked).length, `asked for ${asked}`).to.equal(given);
    }
  });

  it('take: nothing, or more than the largest, is a mistake of the caller', () => {
    const pool = new BufferPool();
    for (const length of [0, -1, 32 * MiB + 1]) {
      expect(() => pool.take(length), String(length)).to.throw(/the length can be pooled/);
    }
  });

  it('release: the same buffer comes back, once', () => {
    const pool = new BufferPool();
    const first = pool.take(5000);
    pool.release(first);
    expect(pool.idleBytes).to.equal(8192);
    expect(pool.take(8000)).to.equal(first);
    expect(pool.idleBytes).to.equal(0);
    expect(pool.take(8000)).to.not.equal(first);
  });

  it('release: views and buffers from elsewhere are refused quietly', () => {
    const pool = new BufferPool();
    pool.release(Buffer.allocUnsafeSlow(4096));
    pool.release(pool.take(4096).subarray(0, 4096));
    expect(pool.idleBytes).to.equal(0);
  });

  it('release: idle memory is bounded', () => {
    const pool = new BufferPool();
    const taken = Array.from({ length: 5 }, () => pool.take(32 * MiB));
    for (const buffer of taken) pool.release(buffer);
    expect(pool.idleBytes).to.equal(64 * MiB);
  });
});
