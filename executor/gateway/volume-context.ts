/**
 * What the parts of one volume's gateway share: the facts they act upon and the few things they ask
 * of the device that owns them.
 */
import type { DiskId, PgId, VolumeId } from '../../shared/base/ids.ts';
import type { Clock, Log } from '../../shared/ports.ts';
import { DataFrame } from '../../shared/wire/data-protocol.ts';
import type { MapIndex } from '../map-index.ts';
import type { RaiseNotice } from '../notice-board.ts';
import type { BlockError } from './block-device.ts';
import type { MemberLink } from './member-links.ts';
import type { Piece } from './piece.ts';

export interface VolumeCounters {
  readOps: number;
  writeOps: number;
  readBytes: number;
  writeBytes: number;
  readMicros: number;
  writeMicros: number;
  /** Reads that a replica answered with bad blocks. */
  checksumErrors: number;
}

export function newCounters(): VolumeCounters {
  return {
    readOps: 0,
    writeOps: 0,
    readBytes: 0,
    writeBytes: 0,
    readMicros: 0,
    writeMicros: 0,
    checksumErrors: 0,
  };
}

export interface VolumeContext {
  readonly volume: VolumeId;
  readonly generation: number;
  readonly layer: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly map: MapIndex;
  readonly counters: VolumeCounters;
  /** For findings that shall become events. */
  readonly notify: RaiseNotice;
  linkOf(disk: DiskId): MemberLink;
  /** The generation is accepted everywhere it must be, and the node holds its lease. */
  mayIssue(): boolean;
  /** As `mayIssue`, but already before the volume is served. */
  mayReconcile(): boolean;
  /** The piece cannot go on now: tried again soon, and whenever something changes. */
  stick(piece: Piece): void;
  /** The extent's replicas are not known to be the same. */
  isHeld(extent: number, pg: PgId): boolean;
  /** Neither completed nor given up. */
  isActive(piece: Piece): boolean;
  complete(piece: Piece, error: BlockError | null): void;
  /** Every member has acked. */
  noteWritten(piece: Piece): void;
  /** A replica has accepted a higher generation. */
  fence(generation: number): void;
}

/** A request frame of this volume for one piece, addressed to `disk`. */
export function frameFor(
  context: VolumeContext,
  piece: Piece,
  op: number,
  disk: DiskId,
): DataFrame {
  const frame = new DataFrame();
  frame.op = op;
  frame.pg = piece.pg;
  frame.epoch = piece.epoch;
  frame.disk = disk;
  frame.volume = context.volume;
  frame.generation = context.generation;
  frame.layer = context.layer;
  frame.extent = piece.extent;
  frame.block = piece.block;
  frame.count = piece.count;
  return frame;
}
