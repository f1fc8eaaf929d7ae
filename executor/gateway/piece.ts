/**
 * The unit of work of a gateway: one client request is cut into pieces, each inside one extent and
 * small enough that its frames are copied rather than allocated. A piece is its own reply target, so
 * that the hot path makes no closure. Nothing is decided here.
 */
import type { DiskId, PgId } from '../../shared/base/ids.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import type { DataFrame } from '../../shared/wire/data-protocol.ts';
import type { ReplyTarget } from '../peer/peer.ts';
import type { BlockError, BlockRequest } from './block-device.ts';

/** Blocks per read or write frame: 64 KiB, the largest body that is copied (data-codec.ts). */
export const PIECE_BLOCKS_MAX = 16;

/** A request of the client, until its last piece is done. */
export class ClientOperation {
  /** Null once the client has its answer; what is left then goes on without it. */
  request: BlockRequest | null;
  readonly startedMs: number;
  remaining = 1;
  error: BlockError | null = null;

  constructor(request: BlockRequest, startedMs: number) {
    this.request = request;
    this.startedMs = startedMs;
  }
}

/**
 * `merge`: a write or zero of partial blocks: reads whole blocks, lays the new bytes over them, and
 * goes on as a write.
 */
export type PieceKind = 'read' | 'presence' | 'write' | 'zero' | 'merge';

/** Who is told of replies and of completion: the volume's device. */
export interface PieceOwner {
  onPieceReply(piece: Piece, frame: DataFrame, member: number): void;
  onPieceLost(piece: Piece, member: number): void;
}

const MEMBER_BITS = 3;

export class Piece implements ReplyTarget {
  readonly owner: PieceOwner;
  readonly operation: ClientOperation;
  kind: PieceKind;
  readonly pg: PgId;
  readonly extent: number;
  block: number;
  count: number;
  /** Bytes of the client's buffer that this piece covers: from here, so many. */
  readonly bufferOffset: number;
  readonly byteLength: number;
  /** Where they begin inside the piece's first block. */
  readonly skip: number;
  isDurable = false;
  isUnmap = false;
  /** Whole blocks and their checksums, of a write. */
  data: Uint8Array | null = null;
  checksums: Uint8Array | null = null;

  // ── Lock (extent-table.ts) ──
  readonly isExclusive: boolean;
  isWaiting = false;

  // ── Progress (write-path.ts, read-path.ts) ──
  /** Set while requests of this piece are out under the epoch below. */
  isIssued = false;
  epoch = 0;
  /** Not sent again before the map has this epoch of the PG. */
  waitEpoch = 0;
  members: readonly DiskId[] = [];
  /** By index into `members`: who has not acked; who must still be sent to. */
  pending = 0;
  unsent = 0;
  /** Who answered that its disk is full. */
  full = 0;
  /** Reads: members not to ask (again); members that have bad blocks in the range. */
  excluded = 0;
  bad: DiskId[] = [];
  issuedMs = 0;
  /** Reads: the part of the answer's buffer that a local replica is filling right now. */
  target: Buffer | null = null;
  /** Earliest time of the next attempt after a refusal. */
  retryMs = 0;
  #attempt = 0;

  constructor(
    owner: PieceOwner,
    operation: ClientOperation,
    kind: PieceKind,
    place: { readonly pg: PgId; readonly extent: number; readonly startByte: number },
    span: { readonly bufferOffset: number; readonly byteLength: number },
  ) {
    this.owner = owner;
    this.operation = operation;
    this.kind = kind;
    this.pg = place.pg;
    this.extent = place.extent;
    this.block = Math.floor(place.startByte / BLOCK_BYTES);
    this.skip = place.startByte % BLOCK_BYTES;
    this.count = Math.ceil((this.skip + span.byteLength) / BLOCK_BYTES);
    this.bufferOffset = span.bufferOffset;
    this.byteLength = span.byteLength;
    this.isExclusive = kind !== 'read' && kind !== 'presence';
  }

  /** From one replica, not to all. */
  get isReading(): boolean {
    return this.kind === 'read' || this.kind === 'merge' || this.kind === 'presence';
  }

  /** Replies to everything sent so far are ignored from now on. */
  renew(): void {
    this.#attempt = (this.#attempt + 1) & 0x3ff_ffff;
  }

  /** Nothing of what was sent counts any more; it has to be issued again. */
  withdraw(): void {
    this.renew();
    this.isIssued = false;
  }

  tokenOf(member: number): number {
    return (this.#attempt << MEMBER_BITS) | member;
  }

  onReply(frame: DataFrame, token: number): void {
    if (token >>> MEMBER_BITS !== this.#attempt) return;
    this.owner.onPieceReply(this, frame, token & ((1 << MEMBER_BITS) - 1));
  }

  onLost(token: number): void {
    if (token >>> MEMBER_BITS !== this.#attempt) return;
    this.owner.onPieceLost(this, token & ((1 << MEMBER_BITS) - 1));
  }
}
