import { expect } from 'chai';
import { ExtentTable } from '../../../executor/gateway/extent-table.ts';
import { ClientOperation, Piece, type PieceKind } from '../../../executor/gateway/piece.ts';
import { pgId } from '../../../shared/base/ids.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES } from '../../../shared/base/units.ts';

const owner = { onPieceReply: () => undefined, onPieceLost: () => undefined };

function piece(kind: PieceKind, block: number, count: number, extent = 0): Piece {
  const request = {
    op: 'read' as const,
    offset: 0,
    length: count * BLOCK_BYTES,
    isDurable: false,
    mayUnmap: false,
    data: null,
    statuses: null,
    error: null,
    onDone: () => undefined,
  };
  const operation = new ClientOperation(request, 0);
  const place = { pg: pgId(1), extent, startByte: block * BLOCK_BYTES };
  return new Piece(owner, operation, kind, place, {
    bufferOffset: 0,
    byteLength: count * BLOCK_BYTES,
  });
}

function releasing(table: ExtentTable, done: Piece): Piece[] {
  const started: Piece[] = [];
  table.release(done, (next) => started.push(next));
  return started;
}

describe('extent table', () => {
  it('reads over each other: all start at once', () => {
    const table = new ExtentTable();
    expect(table.acquire(piece('read', 0, 4))).to.equal(true);
    expect(table.acquire(piece('read', 2, 4))).to.equal(true);
  });

  it('a read over a write: waits for it, and other blocks or extents do not', () => {
    const table = new ExtentTable();
    const write = piece('write', 4, 4);
    const read = piece('read', 7, 1);
    expect(table.acquire(write)).to.equal(true);
    expect(table.acquire(read)).to.equal(false);
    expect(table.acquire(piece('read', 8, 1))).to.equal(true);
    expect(table.acquire(piece('write', 4, 4, 1))).to.equal(true);
    expect(releasing(table, write)).to.deep.equal([read]);
  });

  it('a write behind a waiting write: in the order of arrival', () => {
    const table = new ExtentTable();
    const first = piece('write', 0, 2);
    const second = piece('write', 1, 2);
    const third = piece('write', 2, 2);
    expect(table.acquire(first)).to.equal(true);
    expect(table.acquire(second)).to.equal(false);
    // It does not touch the first, but must not overtake the second.
    expect(table.acquire(third)).to.equal(false);
    expect(releasing(table, first)).to.deep.equal([second]);
    expect(releasing(table, second)).to.deep.equal([third]);
  });

  it('a waiting one gives up: those behind it go on', () => {
    const table = new ExtentTable();
    const first = piece('write', 0, 2);
    const second = piece('write', 1, 2);
    const third = piece('read', 2, 2);
    for (const each of [first, second, third]) table.acquire(each);
    expect(releasing(table, second)).to.deep.equal([third]);
    expect(releasing(table, first)).to.deep.equal([]);
  });

  it('quiet extents are forgotten, written ones are remembered', () => {
    const table = new ExtentTable();
    const read = piece('read', 0, 1);
    const write = piece('write', 0, 1, 1);
    table.acquire(read);
    table.acquire(write);
    table.noteWritten(write, 7);
    releasing(table, read);
    releasing(table, write);
    expect([...table.extents.keys()]).to.deep.equal([1]);
    expect(table.extents.get(1)?.lastWriteMs).to.equal(7);
  });

  it('random pieces: running ones never conflict, each runs once, none is left behind', () => {
    const random = new Prng('locks');
    const table = new ExtentTable();
    const running = new Set<Piece>();
    let startedCount = 0;
    let arrivedCount = 0;
    const start = (next: Piece): void => {
      for (const other of running) {
        const isApart =
          other.extent !== next.extent ||
          other.block >= next.block + next.count ||
          next.block >= other.block + other.count;
        const isFine = isApart || (!other.isExclusive && !next.isExclusive);
        expect(isFine, 'no conflict').to.equal(true);
      }
      running.add(next);
      startedCount += 1;
    };
    for (let round = 0; round < 5000; round += 1) {
      if (running.size === 0 || random.chance(0.55)) {
        const kind = random.pick(['read', 'read', 'write', 'zero', 'merge'] as const);
        const block = random.below(40);
        const next = piece(kind, block, 1 + random.below(8), random.below(2));
        arrivedCount += 1;
        if (table.acquire(next)) start(next);
      } else {
        const done = random.pick([...running]);
        running.delete(done);
        table.release(done, start);
      }
    }
    while (running.size > 0) {
      const done = random.pick([...running]);
      running.delete(done);
      table.release(done, start);
    }
    expect(startedCount).to.equal(arrivedCount);
    expect(table.extents.size).to.equal(0);
  });
});
