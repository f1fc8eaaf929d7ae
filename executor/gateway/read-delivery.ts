/** From what replicas returned to what the client gets: copies, merges, statuses. Pure. */
import { assert } from '../../shared/base/assert.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import { PRESENCE } from '../../shared/wire/data-protocol.ts';
import type { BlockRequest, BlockStatus } from './block-device.ts';
import { type BufferPool, POOLED_BYTES_MAX } from './buffer-pool.ts';
import type { Piece } from './piece.ts';
import { Slab } from './slab.ts';

/** What a read brought; `data` null means zeros. Valid until the call returns. */
export interface ReadResult {
  readonly data: Uint8Array | null;
  readonly checksums: Uint8Array | null;
}

const slab = new Slab();
/** Smaller ones are cut from slabs: the pool's smallest class would waste most of its memory. */
const POOLED_BYTES_MIN = 4096;

/** A copy that its holder may keep. */
export function copyOut(bytes: Uint8Array): Buffer {
  const copy = slab.take(bytes.length);
  copy.set(bytes);
  return copy;
}

/** Memory for a read's answer. Powers of two come from the pool that the clients' server gives back to. */
export function takeBuffer(pool: BufferPool, length: number): Buffer {
  const isPooled = length >= POOLED_BYTES_MIN && length <= POOLED_BYTES_MAX;
  return isPooled && (length & (length - 1)) === 0 ? pool.take(length) : slab.take(length);
}

/** Where a local replica may put the blocks of this read; null when they are not the answer as they are. */
export function targetOf(piece: Piece): Buffer | null {
  const isWhole = piece.skip === 0 && piece.byteLength === piece.count * BLOCK_BYTES;
  const buffer = piece.operation.request?.data ?? null;
  if (piece.kind !== 'read' || !isWhole || buffer === null) return null;
  if (piece.byteLength === buffer.length) return buffer;
  return buffer.subarray(piece.bufferOffset, piece.bufferOffset + piece.byteLength);
}

/** The answer's buffer is lent to a read that was given up: it goes on in a copy. */
export function retireBuffer(piece: Piece): void {
  piece.target = null;
  const request = piece.operation.request;
  if (request?.op === 'read' && request.data !== null) request.data = copyOut(request.data);
}

/** Puts what a read piece brought where the client expects it. */
export function fillBuffer(buffer: Buffer, piece: Piece, result: ReadResult): void {
  const { skip, byteLength, bufferOffset } = piece;
  const { data } = result;
  if (data === null) buffer.fill(0, bufferOffset, bufferOffset + byteLength);
  else if (piece.target === data && liesAt(data, buffer, bufferOffset)) return;
  else if (skip === 0 && byteLength === data.length) buffer.set(data, bufferOffset);
  else buffer.set(data.subarray(skip, skip + byteLength), bufferOffset);
}

/** Not in a buffer that another piece of the same request has retired since. */
function liesAt(data: Uint8Array, buffer: Buffer, offset: number): boolean {
  return data.buffer === buffer.buffer && data.byteOffset === buffer.byteOffset + offset;
}

/** Whole blocks: what was there, with the client's bytes (or zeros) laid over. Null: the client left. */
export function mergeBlocks(
  piece: Piece,
  result: ReadResult,
  request: BlockRequest | null,
): Buffer | null {
  if (request === null) return null;
  const merged = Buffer.alloc(piece.count * BLOCK_BYTES);
  if (result.data !== null) merged.set(result.data);
  const { skip, byteLength, bufferOffset } = piece;
  if (request.op === 'write') {
    assert(request.data !== null, 'a write has data');
    merged.set(request.data.subarray(bufferOffset, bufferOffset + byteLength), skip);
  } else merged.fill(0, skip, skip + byteLength);
  return merged;
}

/** `earlier` with the runs of one more piece; pieces may come in any order, so they carry their place. */
export function statusesOf(
  earlier: readonly BlockStatus[],
  piece: Piece,
  presence: Uint8Array | null,
): readonly BlockStatus[] {
  const placed: PlacedStatus[] = [...(earlier as readonly PlacedStatus[])];
  let at = piece.bufferOffset;
  const end = piece.bufferOffset + piece.byteLength;
  for (let index = 0; index < piece.count; index += 1) {
    const blockEnd = Math.min(end, piece.bufferOffset - piece.skip + (index + 1) * BLOCK_BYTES);
    const bits = ((presence?.[index >> 2] ?? 0) >> ((index & 3) * 2)) & 3;
    placed.push({
      at,
      length: blockEnd - at,
      isHole: bits === PRESENCE.absent,
      isZero: bits !== PRESENCE.data,
    });
    at = blockEnd;
  }
  placed.sort((left, right) => left.at - right.at);
  return placed.reduce<PlacedStatus[]>(joinRuns, []);
}

interface PlacedStatus extends BlockStatus {
  readonly at: number;
}

function joinRuns(runs: PlacedStatus[], next: PlacedStatus): PlacedStatus[] {
  const last = runs.at(-1);
  const isSame =
    last !== undefined &&
    last.at + last.length === next.at &&
    last.isHole === next.isHole &&
    last.isZero === next.isZero;
  if (!isSame) runs.push(next);
  else runs[runs.length - 1] = { ...last, length: last.length + next.length };
  return runs;
}
