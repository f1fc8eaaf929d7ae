import { expect } from 'chai';
import fc from 'fast-check';
import type { BlockOp, BlockRequest } from '../../../executor/gateway/block-device.ts';
import { splitRequest } from '../../../executor/gateway/request-splitter.ts';
import { BLOCK_BYTES, EXTENT_BYTES } from '../../../shared/base/units.ts';

interface Part {
  readonly kind: string;
  readonly offset: number;
  readonly length: number;
}

function split(op: BlockOp, offset: number, length: number): Part[] {
  const parts: Part[] = [];
  const request: BlockRequest = {
    op,
    offset,
    length,
    isDurable: false,
    mayUnmap: false,
    data: null,
    statuses: null,
    error: null,
    onDone: () => undefined,
  };
  splitRequest(request, (kind, at, count) => parts.push({ kind, offset: at, length: count }));
  return parts;
}

const range = fc.record({
  offset: fc.integer({ min: 0, max: 3 * EXTENT_BYTES }),
  length: fc.integer({ min: 1, max: 2 * EXTENT_BYTES }),
});

describe('request splitter', () => {
  it('any range: parts follow each other without gap, never across an extent', () => {
    for (const op of ['read', 'write', 'zero', 'status'] as const) {
      fc.assert(
        fc.property(range, ({ offset, length }) => {
          let at = offset;
          for (const part of split(op, offset, length)) {
            expect(part.offset).to.equal(at);
            expect(part.length).to.be.greaterThan(0);
            const last = part.offset + part.length - 1;
            const firstExtent = Math.floor(part.offset / EXTENT_BYTES);
            expect(Math.floor(last / EXTENT_BYTES)).to.equal(firstExtent);
            at += part.length;
          }
          expect(at).to.equal(offset + length);
        }),
      );
    }
  });

  it('writes and zeros: whole blocks, except merges, which lie inside one block', () => {
    for (const op of ['write', 'zero'] as const) {
      fc.assert(
        fc.property(range, ({ offset, length }) => {
          for (const part of split(op, offset, length)) {
            const start = part.offset % BLOCK_BYTES;
            if (part.kind === 'merge') expect(start + part.length).to.be.at.most(BLOCK_BYTES);
            else expect([part.kind, start, part.length % BLOCK_BYTES]).to.deep.equal([op, 0, 0]);
          }
        }),
      );
    }
  });

  it('reads and writes: no part touches more than sixteen blocks', () => {
    for (const op of ['read', 'write'] as const) {
      fc.assert(
        fc.property(range, ({ offset, length }) => {
          for (const part of split(op, offset, length)) {
            const first = Math.floor(part.offset / BLOCK_BYTES);
            const last = Math.floor((part.offset + part.length - 1) / BLOCK_BYTES);
            expect(last - first + 1).to.be.at.most(16);
          }
        }),
      );
    }
  });

  it('trim: whole blocks only, and nothing at all inside a block', () => {
    expect(split('trim', 100, 4000)).to.deep.equal([]);
    expect(split('trim', 100, 4096)).to.deep.equal([]);
    expect(split('trim', 4095, 8193)).to.deep.equal([{ kind: 'zero', offset: 4096, length: 8192 }]);
  });

  it('status: a long range, only its beginning', () => {
    const parts = split('status', 5, 4096 * EXTENT_BYTES);
    const covered = parts.reduce((sum, part) => sum + part.length, 0);
    expect(covered).to.equal(256 * EXTENT_BYTES);
  });
});
