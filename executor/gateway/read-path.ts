/**
 * Reads (also of presence, and the first half of a merge): from one in-sync replica, the local one
 * first, then the least loaded. Whatever a replica cannot give is asked of the next; blocks that fail
 * their checksum are never handed on, and the bad copy is rewritten from the good one (DESIGN 4.6, 6).
 */
import type { DiskId } from '../../shared/base/ids.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import { type DataFrame, FLAG, OP, STATUS, type Status } from '../../shared/wire/data-protocol.ts';
import type { PgView } from '../map-index.ts';
import { findMismatch } from './block-checksums.ts';
import type { Piece } from './piece.ts';
import { type ReadResult, retireBuffer, targetOf } from './read-delivery.ts';
import { frameFor, type VolumeContext } from './volume-context.ts';

export type ReadDelivery = (piece: Piece, result: ReadResult) => void;

/** After all replicas refused, they are asked again from the start after so long. */
const RETRY_MS = 20;
/** A replica that has not answered a read by then is left alone in favour of another. */
const SLOW_MS = 2_000;

export class ReadPath {
  readonly #context: VolumeContext;
  readonly #deliver: ReadDelivery;

  constructor(context: VolumeContext, deliver: ReadDelivery) {
    this.#context = context;
    this.#deliver = deliver;
  }

  issue(piece: Piece): void {
    const context = this.#context;
    const view = context.map.pgs.get(piece.pg);
    piece.renew();
    piece.isIssued = false;
    if (view === undefined || view.epoch < piece.waitEpoch || !context.mayIssue()) {
      context.stick(piece);
      return;
    }
    if (view.epoch !== piece.epoch) {
      piece.epoch = view.epoch;
      piece.members = view.inSync;
      piece.excluded = 0;
    }
    const member = this.#pick(piece, view);
    if (member < 0) {
      this.#waitForAny(piece);
      return;
    }
    const disk = view.inSync[member] as DiskId;
    const op = piece.kind === 'presence' ? OP.presence : OP.read;
    const peer = context.linkOf(disk).usablePeer();
    const frame = frameFor(context, piece, op, disk);
    // A replica that is asked for the second time may still be writing into what it was lent before.
    if (piece.target !== null) retireBuffer(piece);
    if (peer?.isLocal === true) {
      piece.target = targetOf(piece);
      frame.target = piece.target;
    }
    if (peer === null || !peer.send(frame, piece, piece.tokenOf(member))) {
      this.#waitForAny(piece);
      return;
    }
    piece.isIssued = true;
    piece.pending = 1 << member;
    piece.issuedMs = context.clock.now();
  }

  /** A replica is taking too long: the next one is asked instead, when there is one. */
  hedge(piece: Piece, nowMs: number): void {
    if (!piece.isIssued || nowMs - piece.issuedMs < SLOW_MS || piece.members.length < 2) return;
    piece.excluded |= piece.pending;
    this.issue(piece);
  }

  onReply(piece: Piece, frame: DataFrame, member: number): void {
    if (frame.status === STATUS.ok) {
      this.#accept(piece, frame, member);
      return;
    }
    const context = this.#context;
    piece.target = null;
    const link = context.linkOf(piece.members[member] as DiskId);
    switch (frame.status) {
      case STATUS.staleEpoch:
        piece.waitEpoch = Math.max(piece.waitEpoch, frame.aux);
        piece.isIssued = false;
        context.stick(piece);
        return;
      case STATUS.fenced:
        if (frame.aux > context.generation) {
          context.fence(frame.aux);
          return;
        }
        link.reopen();
        break;
      default:
        link.noteRefusal(frame.status as Status);
    }
    this.#tryNext(piece, member);
  }

  onLost(piece: Piece, member: number): void {
    this.#tryNext(piece, member);
  }

  #accept(piece: Piece, frame: DataFrame, member: number): void {
    const { data, checksums } = frame;
    if (piece.kind === 'presence') {
      this.#deliver(piece, { data, checksums: null });
      return;
    }
    if ((frame.flags & FLAG.zeros) !== 0) {
      this.#deliver(piece, { data: null, checksums: null });
      return;
    }
    if (data === null || checksums === null || data.length !== piece.count * BLOCK_BYTES) {
      this.#tryNext(piece, member);
      return;
    }
    const mismatch = findMismatch(data, checksums, 0);
    if (mismatch < 0) {
      this.#deliver(piece, { data, checksums });
      return;
    }
    this.#noteBad(piece, member, data, checksums, mismatch);
  }

  #noteBad(
    piece: Piece,
    member: number,
    data: Uint8Array,
    checksums: Uint8Array,
    first: number,
  ): void {
    const context = this.#context;
    piece.target = null;
    const disk = piece.members[member] as DiskId;
    let last = first;
    let badCount = 0;
    for (let at = first; at >= 0; at = findMismatch(data, checksums, at + 1)) {
      last = at;
      badCount += 1;
    }
    context.counters.checksumErrors += badCount;
    context.log('error', 'A replica returned blocks that fail their checksum', {
      volume: context.volume,
      pg: piece.pg,
      disk,
      extent: piece.extent,
      block: piece.block + first,
      count: badCount,
    });
    piece.badFirst = piece.bad.length === 0 ? first : Math.min(piece.badFirst, first);
    piece.badLast = Math.max(piece.badLast, last);
    piece.bad.push(disk);
    if (piece.members.every((id) => piece.bad.includes(id))) {
      // No copy is good. Waiting would not make one so.
      context.complete(piece, 'io');
      return;
    }
    this.#tryNext(piece, member);
  }

  #tryNext(piece: Piece, member: number): void {
    piece.excluded |= 1 << member;
    this.issue(piece);
  }

  #waitForAny(piece: Piece): void {
    piece.excluded = 0;
    piece.retryMs = this.#context.clock.now() + RETRY_MS;
    this.#context.stick(piece);
  }

  #pick(piece: Piece, view: PgView): number {
    const { inSync } = view;
    let best = -1;
    let bestLoad = Number.MAX_SAFE_INTEGER;
    for (let member = 0; member < inSync.length; member += 1) {
      if ((piece.excluded & (1 << member)) !== 0) continue;
      const disk = inSync[member] as DiskId;
      if (piece.bad.length > 0 && piece.bad.includes(disk)) continue;
      const peer = this.#context.linkOf(disk).usablePeer();
      if (peer === null) continue;
      if (peer.isLocal) return member;
      if (peer.outstanding < bestLoad) {
        best = member;
        bestLoad = peer.outstanding;
      }
    }
    return best;
  }
}
