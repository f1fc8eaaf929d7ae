/**
 * Reads that no replica can answer as a whole, because each has bad blocks somewhere in the range: block
 * by block, from whichever in-sync replica has a good copy. Only when a block is bad on all of them the
 * read fails. Rare, so plain promises will do. Nothing is written: whoever is asked with `pull` looks at
 * its own block, and heals it when it is bad (replica/block-healer.ts).
 */
import { ZERO_BLOCK_CRC } from '../../shared/base/crc32c.ts';
import { StorageError } from '../../shared/base/errors.ts';
import type { DiskId } from '../../shared/base/ids.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import { OP } from '../../shared/wire/data-protocol.ts';
import type { PgView } from '../map-index.ts';
import { callPeer } from '../peer/peer-call.ts';
import { findMismatch } from './block-checksums.ts';
import type { Piece } from './piece.ts';
import { frameFor, type VolumeContext } from './volume-context.ts';

const CALL_MS = 5_000;
/** A replica that cannot be asked right now may have the good copy: it is asked again after so long. */
const RETRY_MS = 50;

export interface Rescued {
  readonly data: Uint8Array;
  readonly checksums: Uint8Array;
}

export class BlockRescue {
  readonly #context: VolumeContext;
  readonly #deliver: (piece: Piece, rescued: Rescued) => void;

  constructor(context: VolumeContext, deliver: (piece: Piece, rescued: Rescued) => void) {
    this.#context = context;
    this.#deliver = deliver;
  }

  /** Ends in `deliver` or in `complete` with `io`; earlier when the piece is given up. */
  start(piece: Piece): void {
    piece.renew();
    piece.isIssued = false;
    void this.#run(piece);
  }

  async #run(piece: Piece): Promise<void> {
    const { clock } = this.#context;
    const data = Buffer.alloc(piece.count * BLOCK_BYTES);
    const checksums = Buffer.alloc(piece.count * 4);
    let isLost = false;
    for (let index = 0; index < piece.count; ) {
      const found = await this.#findGood(piece, index, { data, checksums });
      if (!this.#context.isActive(piece)) return;
      if (found === 'unknown') {
        await new Promise<void>((resolve) => {
          clock.after(RETRY_MS, resolve);
        });
        if (!this.#context.isActive(piece)) return;
        continue;
      }
      if (found === 'lost') isLost = true;
      index += 1;
    }
    if (isLost) this.#context.complete(piece, 'io');
    else this.#deliver(piece, { data, checksums });
  }

  /** `unknown`: somebody who may have it could not be asked. */
  async #findGood(
    piece: Piece,
    index: number,
    target: Rescued,
  ): Promise<'good' | 'lost' | 'unknown'> {
    const view = this.#context.map.pgs.get(piece.pg);
    if (view === undefined || view.inSync.length === 0 || !this.#context.mayIssue()) {
      return 'unknown';
    }
    let isCertain = true;
    for (const disk of view.inSync) {
      try {
        if (await this.#pull(piece, view, disk, index, target)) return 'good';
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        if (error.code !== 'corrupt') isCertain = false;
      }
    }
    return isCertain ? 'lost' : 'unknown';
  }

  /** False when the block came with a wrong checksum. */
  async #pull(
    piece: Piece,
    view: PgView,
    disk: DiskId,
    index: number,
    target: Rescued,
  ): Promise<boolean> {
    const peer = this.#context.linkOf(disk).usablePeer();
    if (peer === null) throw new StorageError('unavailable', `Disk d${disk} cannot be asked now`);
    const frame = frameFor(this.#context, piece, OP.pull, disk);
    frame.epoch = view.epoch;
    frame.block = piece.block + index;
    frame.count = 1;
    const { data, checksums } = await callPeer(peer, frame, this.#context.clock, CALL_MS);
    if (data === null || checksums === null) {
      target.data.fill(0, index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
      (target.checksums as Buffer).writeUInt32LE(ZERO_BLOCK_CRC, index * 4);
      return true;
    }
    if (data.length !== BLOCK_BYTES || findMismatch(data, checksums, 0) >= 0) return false;
    target.data.set(data, index * BLOCK_BYTES);
    target.checksums.set(checksums, index * 4);
    return true;
  }
}
