/**
 * Writes and zeros: to every member of the PG in parallel, done when all have acked under
 * one epoch (DESIGN 4.1 to 4.3). A member that cannot be reached is tried until the map no longer
 * names it; then the piece is issued anew, to all members, under the new epoch.
 */
import { assert } from '../../shared/base/assert.ts';
import type { DiskId } from '../../shared/base/ids.ts';
import { PG_MEMBERS_MAX } from '../../shared/model/cluster-map.ts';
import { type DataFrame, FLAG, OP, STATUS, type Status } from '../../shared/wire/data-protocol.ts';
import type { PgView } from '../map-index.ts';
import type { Piece } from './piece.ts';
import { frameFor, type VolumeContext } from './volume-context.ts';

/** A refusal that passes by itself (no lease, a map on its way) is asked again after so long. */
const RETRY_MS = 20;

export class WritePath {
  readonly #context: VolumeContext;

  constructor(context: VolumeContext) {
    this.#context = context;
  }

  /** To all members of the newest epoch, or to nobody while it must wait. */
  issue(piece: Piece): void {
    const context = this.#context;
    const view = context.map.pgs.get(piece.pg);
    piece.renew();
    piece.isIssued = false;
    if (view === undefined || !this.#mayWrite(piece, view)) {
      context.stick(piece);
      return;
    }
    assert(view.members.length <= PG_MEMBERS_MAX, 'a PG has few members', { pg: piece.pg });
    piece.isIssued = true;
    piece.epoch = view.epoch;
    piece.members = view.members;
    piece.unsent = (1 << view.members.length) - 1;
    piece.pending = piece.unsent;
    piece.full = 0;
    piece.issuedMs = context.clock.now();
    this.sendUnsent(piece);
  }

  #mayWrite(piece: Piece, view: PgView): boolean {
    return (
      view.epoch >= piece.waitEpoch &&
      view.inSync.length >= view.minInSync &&
      // Whoever lost its memory acks nothing, and nobody may go on without it before the manager says so.
      view.suspects.length === 0 &&
      this.#context.mayIssue()
    );
  }

  sendUnsent(piece: Piece): void {
    const context = this.#context;
    const { members } = piece;
    for (let member = 0; member < members.length; member += 1) {
      if ((piece.unsent & (1 << member)) === 0) continue;
      const disk = members[member] as DiskId;
      const peer = context.linkOf(disk).usablePeer();
      if (peer === null) continue;
      const frame = frameFor(context, piece, piece.kind === 'zero' ? OP.zero : OP.write, disk);
      if (piece.isDurable) frame.flags |= FLAG.durable;
      if (piece.kind === 'zero') {
        if (piece.isUnmap) frame.flags |= FLAG.unmap;
      } else {
        frame.checksums = piece.checksums;
        frame.data = piece.data;
      }
      if (peer.send(frame, piece, piece.tokenOf(member))) piece.unsent &= ~(1 << member);
    }
    if (piece.unsent !== 0) context.stick(piece);
  }

  onReply(piece: Piece, frame: DataFrame, member: number): void {
    const context = this.#context;
    const bit = 1 << member;
    const link = context.linkOf(piece.members[member] as DiskId);
    if (frame.status === STATUS.ok) {
      link.failure = '';
      this.#settle(piece, bit);
      return;
    }
    switch (frame.status) {
      case STATUS.staleEpoch:
        piece.waitEpoch = Math.max(piece.waitEpoch, frame.aux);
        this.issue(piece);
        return;
      case STATUS.fenced:
        if (frame.aux > context.generation) {
          context.fence(frame.aux);
          return;
        }
        link.reopen();
        break;
      case STATUS.noSpace:
        piece.full |= bit;
        link.failure = 'The disk is full';
        // All of them full: nothing was written anywhere, and the client may know.
        if (piece.full === (1 << piece.members.length) - 1) {
          context.complete(piece, 'no-space');
          return;
        }
        break;
      default:
        link.noteRefusal(frame.status as Status);
    }
    this.#sendAgain(piece, bit);
  }

  onLost(piece: Piece, member: number): void {
    const bit = 1 << member;
    this.#sendAgain(piece, bit);
  }

  /** After a refusal or a lost connection; the write may have landed, which does no harm. */
  #sendAgain(piece: Piece, bit: number): void {
    piece.unsent |= bit;
    piece.retryMs = this.#context.clock.now() + RETRY_MS;
    this.#context.stick(piece);
  }

  #settle(piece: Piece, bit: number): void {
    piece.pending &= ~bit;
    if (piece.pending !== 0) return;
    this.#context.noteWritten(piece);
    this.#context.complete(piece, null);
  }
}
