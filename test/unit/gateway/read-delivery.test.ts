import { expect } from 'chai';
import type { BlockRequest } from '../../../executor/gateway/block-device.ts';
import { ClientOperation, Piece, type PieceOwner } from '../../../executor/gateway/piece.ts';
import { fillBuffer, retireBuffer, targetOf } from '../../../executor/gateway/read-delivery.ts';
import type { PgId } from '../../../shared/base/ids.ts';
import { BLOCK_BYTES } from '../../../shared/base/units.ts';

const NOBODY: PieceOwner = { onPieceReply: () => undefined, onPieceLost: () => undefined };

/** A read of two pieces, both lent to a local replica. */
function lentRead(blocks: number): { request: BlockRequest; first: Piece; second: Piece } {
  const byteLength = blocks * BLOCK_BYTES;
  const request: BlockRequest = {
    op: 'read',
    offset: 0,
    length: 2 * byteLength,
    isDurable: false,
    mayUnmap: false,
    data: Buffer.alloc(2 * byteLength),
    statuses: null,
    error: null,
    onDone: () => undefined,
  };
  const operation = new ClientOperation(request, 0);
  const piece = (bufferOffset: number): Piece => {
    const place = { pg: 0 as PgId, extent: 0, startByte: bufferOffset };
    const made = new Piece(NOBODY, operation, 'read', place, { bufferOffset, byteLength });
    made.target = targetOf(made);
    return made;
  };
  return { request, first: piece(0), second: piece(byteLength) };
}

function answer(request: BlockRequest, piece: Piece, data: Uint8Array): void {
  if (request.data !== null) fillBuffer(request.data, piece, { data, checksums: null });
}

describe('read delivery', () => {
  // The copy of one block is cut from the slab that the buffer may lie in as well, that of 16 is not.
  for (const blocks of [1, 16]) {
    it(`one piece was given up, the other one arrives: both in the answer (${blocks} blocks)`, () => {
      const { request, first, second } = lentRead(blocks);
      const lent = second.target;
      expect(lent, 'the second piece is lent').to.not.equal(null);
      retireBuffer(first);
      lent?.fill(2);
      if (lent !== null) answer(request, second, lent);
      answer(request, first, Buffer.alloc(blocks * BLOCK_BYTES, 1));
      const expected = Buffer.alloc(2 * blocks * BLOCK_BYTES, 1).fill(2, blocks * BLOCK_BYTES);
      expect(request.data?.equals(expected)).to.equal(true);
    });
  }

  it('nothing was given up: what the replica wrote is not copied', () => {
    const { request, first, second } = lentRead(1);
    const buffer = request.data;
    for (const piece of [first, second]) {
      const lent = piece.target;
      lent?.fill(3);
      if (lent !== null) answer(request, piece, lent);
    }
    expect(request.data).to.equal(buffer);
    expect(buffer?.equals(Buffer.alloc(2 * BLOCK_BYTES, 3))).to.equal(true);
  });

  it('a replica that was given up writes on: not into the answer', () => {
    const { request, first } = lentRead(1);
    const lent = first.target;
    retireBuffer(first);
    answer(request, first, Buffer.alloc(BLOCK_BYTES, 1));
    lent?.fill(9);
    expect(request.data?.subarray(0, BLOCK_BYTES).equals(Buffer.alloc(BLOCK_BYTES, 1))).to.equal(
      true,
    );
  });
});
