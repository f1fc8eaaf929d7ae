/**
 * Reads (also of presence, and the first half of a merge): from one in-sync replica, the local one
 * first, then the least loaded. Whatever a replica cannot give is asked of the next; blocks that fail
 * their checksum are never handed on, and their replica is told to look at them (DESIGN 4.6, 6).
 */
import type { DiskId } from '../../shared/base/ids.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import { type DataFrame, FLAG, OP, STATUS, type Status } from '../../shared/wire/data-protocol.ts';
import type { PgView } from '../map-index.ts';
import type { ReplyTarget } from '../peer/peer.ts';
import { findMismatch } from './block-checksums.ts';
import { BlockRescue } from './block-rescue.ts';
import type { Piece } from './piece.ts';
import { type ReadResult, retireBuffer, targetOf } from './read-delivery.ts';
import { frameFor, type VolumeContext } from './volume-context.ts';

export type ReadDelivery = (piece: Piece, result: ReadResult) => void;

/** After all replicas refused, they are asked again from the start after so long. */
const RETRY_MS = 20;
/** A replica that has not answered a read by then is left alone in favour of another. */
const SLOW_MS = 2_000;
/** Who asks a replica to look at its own blocks waits for no answer. */
const NOBODY: ReplyTarget = { onReply: () => undefined, onLost: () => undefined };

export class ReadPath {
  readonly #context: VolumeContext;
  readonly #deliver: ReadDelivery;
  readonly #rescue: BlockRescue;

  constructor(context: VolumeContext, deliver: ReadDelivery) {
    this.#context = context;
    this.#deliver = deliver;
    this.#rescue = new BlockRescue(context, deliver);
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
      case STATUS.checksum:
        this.#noteBad(piece, member);
        return;
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
    if (findMismatch(data, checksums, 0) < 0) this.#deliver(piece, { data, checksums });
    else this.#noteBad(piece, member);
  }

  /** Another replica is asked for all of it; this one looks after its own blocks. */
  #noteBad(piece: Piece, member: number): void {
    const context = this.#context;
    piece.target = null;
    const disk = piece.members[member] as DiskId;
    context.counters.checksumErrors += 1;
    const { volume } = context;
    const { pg, extent, block, count } = piece;
    context.log('error', 'A replica has bad blocks', { volume, pg, disk, extent, block, count });
    const look = frameFor(context, piece, OP.pull, disk);
    context.linkOf(disk).usablePeer()?.send(look, NOBODY, 0);
    piece.bad.push(disk);
    if (!piece.members.every((id) => piece.bad.includes(id))) this.#tryNext(piece, member);
    else this.#rescue.start(piece);
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
