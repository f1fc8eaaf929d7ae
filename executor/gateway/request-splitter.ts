/**
 * Cuts a client's request into pieces: never across an extent, whole blocks wherever possible.
 * Partial blocks of writes and zeros become `merge` pieces of one block each, so that only those pay
 * for reading first. Pure.
 */
import { BLOCK_BYTES, EXTENT_BYTES } from '../../shared/base/units.ts';
import type { BlockRequest } from './block-device.ts';
import { PIECE_BLOCKS_MAX, type PieceKind } from './piece.ts';

/** Takes `length` bytes of the volume from `offset`. */
export type EmitPiece = (kind: PieceKind, offset: number, length: number) => void;

const PIECE_BYTES_MAX = PIECE_BLOCKS_MAX * BLOCK_BYTES;
/** A status answer covers at most so much; clients ask again for the rest. */
const STATUS_BYTES_MAX = 256 * EXTENT_BYTES;

export function splitRequest(request: BlockRequest, emit: EmitPiece): void {
  const { offset, length } = request;
  switch (request.op) {
    case 'read':
      splitPlain('read', offset, length, PIECE_BYTES_MAX, emit);
      return;
    case 'status':
      splitPlain('presence', offset, Math.min(length, STATUS_BYTES_MAX), EXTENT_BYTES, emit);
      return;
    case 'write':
      splitAligned('write', offset, length, PIECE_BYTES_MAX, emit);
      return;
    case 'zero':
      splitAligned('zero', offset, length, EXTENT_BYTES, emit);
      return;
    case 'trim': {
      // Advisory: blocks that are only touched keep their contents.
      const start = Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES;
      const end = Math.floor((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
      if (end > start) splitPlain('zero', start, end - start, EXTENT_BYTES, emit);
      return;
    }
    case 'flush':
      return;
  }
}

/** Partial first and last blocks as merges, whole ones between them as `kind`. */
function splitAligned(
  kind: 'write' | 'zero',
  offset: number,
  length: number,
  bytesMax: number,
  emit: EmitPiece,
): void {
  const end = offset + length;
  let at = offset;
  const headEnd = Math.min(end, Math.ceil(at / BLOCK_BYTES) * BLOCK_BYTES);
  if (headEnd > at) {
    emit('merge', at, headEnd - at);
    at = headEnd;
  }
  const tail = Math.max(at, Math.floor(end / BLOCK_BYTES) * BLOCK_BYTES);
  if (tail > at) splitPlain(kind, at, tail - at, bytesMax, emit);
  if (end > tail) emit('merge', tail, end - tail);
}

function splitPlain(
  kind: PieceKind,
  offset: number,
  length: number,
  bytesMax: number,
  emit: EmitPiece,
): void {
  const end = offset + length;
  let at = offset;
  while (at < end) {
    const extentEnd = (Math.floor(at / EXTENT_BYTES) + 1) * EXTENT_BYTES;
    // From the start of the first block: a piece that begins inside it must not touch one more.
    const pieceEnd = at - (at % BLOCK_BYTES) + bytesMax;
    const next = Math.min(end, extentEnd, pieceEnd);
    emit(kind, at, next - at);
    at = next;
  }
}
