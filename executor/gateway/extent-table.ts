/**
 * Which pieces are under way in which extent, and in what order overlapping ones may run: a piece
 * waits for every earlier one that shares a block with it, unless both only read. So a read never
 * sees a write half done, and overlapping writes reach all replicas in one order (DESIGN 4.7). Also
 * remembers which extents have been written, until `clean` was sent for them (cleaner.ts).
 */
import { assert } from '../../shared/base/assert.ts';
import type { PgId } from '../../shared/base/ids.ts';
import type { Piece } from './piece.ts';

export class ExtentState {
  readonly extent: number;
  readonly pg: PgId;
  /** In order of arrival; short: what the client has in flight inside one extent. */
  readonly pieces: Piece[] = [];
  waitingCount = 0;
  /** Replicas hold it dirty, as far as this gateway knows. */
  isDirty = false;
  lastWriteMs = 0;

  constructor(extent: number, pg: PgId) {
    this.extent = extent;
    this.pg = pg;
  }
}

export class ExtentTable {
  readonly extents = new Map<number, ExtentState>();

  /** True: it may start now. False: `release` of another piece will hand it out. */
  acquire(piece: Piece): boolean {
    const state = this.#stateOf(piece);
    const { pieces } = state;
    const isBlocked = pieces.length > 0 && overlapsEarlier(pieces, pieces.length, piece);
    pieces.push(piece);
    if (!isBlocked) return true;
    piece.isWaiting = true;
    state.waitingCount += 1;
    return false;
  }

  /** `start` is called for every piece that may run now. */
  release(piece: Piece, start: (piece: Piece) => void): void {
    const state = this.extents.get(piece.extent);
    assert(state !== undefined, 'a piece is released in its extent', { extent: piece.extent });
    const { pieces } = state;
    const index = pieces.indexOf(piece);
    assert(index >= 0, 'a piece is released once', { extent: piece.extent });
    pieces.splice(index, 1);
    if (piece.isWaiting) {
      piece.isWaiting = false;
      state.waitingCount -= 1;
    }
    if (pieces.length === 0) {
      if (!state.isDirty) this.extents.delete(piece.extent);
      return;
    }
    if (state.waitingCount === 0) return;
    const ready: Piece[] = [];
    for (let at = index; at < pieces.length; at += 1) {
      const next = pieces[at] as Piece;
      if (!next.isWaiting || overlapsEarlier(pieces, at, next)) continue;
      next.isWaiting = false;
      state.waitingCount -= 1;
      ready.push(next);
    }
    for (const next of ready) start(next);
  }

  noteWritten(piece: Piece, nowMs: number): void {
    const state = this.extents.get(piece.extent);
    assert(state !== undefined, 'a written extent is in the table', { extent: piece.extent });
    state.isDirty = true;
    state.lastWriteMs = nowMs;
  }

  /** Replicas hold it dirty since before this gateway, and are the same by now. */
  noteDirty(extent: number, pg: PgId, nowMs: number): void {
    const state = this.extents.get(extent) ?? new ExtentState(extent, pg);
    this.extents.set(extent, state);
    state.isDirty = true;
    state.lastWriteMs = nowMs;
  }

  #stateOf(piece: Piece): ExtentState {
    const known = this.extents.get(piece.extent);
    if (known !== undefined) return known;
    const state = new ExtentState(piece.extent, piece.pg);
    this.extents.set(piece.extent, state);
    return state;
  }
}

function overlapsEarlier(pieces: readonly Piece[], end: number, piece: Piece): boolean {
  const last = piece.block + piece.count;
  for (let index = 0; index < end; index += 1) {
    const other = pieces[index] as Piece;
    if (other.block >= last || other.block + other.count <= piece.block) continue;
    if (other.isExclusive || piece.isExclusive) return true;
  }
  return false;
}
