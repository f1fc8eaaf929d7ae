/**
 * While a pool is at its hard limit, writes into extents that hold nothing yet get `no-space`, and all
 * others go on (DESIGN 10). Decided here, once for all replicas: they learn of the limit at different
 * moments, and must not answer one write differently.
 */
import { StorageError } from '../../shared/base/errors.ts';
import { BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import { OP } from '../../shared/wire/data-protocol.ts';
import { callPeer } from '../peer/peer-call.ts';
import type { Piece } from './piece.ts';
import { frameFor, type VolumeContext } from './volume-context.ts';

/** Extents known to hold something; beyond so many they are looked up anew. */
const KNOWN_MAX = 65_536;
const CALL_MS = 2_000;
const RETRY_MS = 50;

export class AllocationGate {
  readonly #context: VolumeContext;
  readonly #known = new Set<number>();
  readonly #asking = new Set<Piece>();

  constructor(context: VolumeContext) {
    this.#context = context;
  }

  /** True: the piece waits for an answer, and is stuck or completed from here. */
  mustWait(piece: Piece): boolean {
    const { map, volume } = this.#context;
    if (map.volumes.get(volume)?.isFull !== true) {
      if (this.#known.size > 0) this.#known.clear();
      return false;
    }
    const isAllocating = piece.kind === 'write' || (piece.kind === 'zero' && !piece.isUnmap);
    if (!isAllocating || piece.isIssued || this.#known.has(piece.extent)) return false;
    if (!this.#asking.has(piece)) {
      this.#asking.add(piece);
      void this.#ask(piece);
    }
    return true;
  }

  async #ask(piece: Piece): Promise<void> {
    const context = this.#context;
    let isHeld = false;
    let isKnown = true;
    try {
      isHeld = await this.#isHeld(piece);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      isKnown = false;
    }
    this.#asking.delete(piece);
    if (!context.isActive(piece)) return;
    if (isKnown && !isHeld) {
      context.complete(piece, 'no-space');
      return;
    }
    if (isHeld) {
      if (this.#known.size >= KNOWN_MAX) this.#known.clear();
      this.#known.add(piece.extent);
    } else piece.retryMs = context.clock.now() + RETRY_MS;
    context.stick(piece);
  }

  /** Any in-sync replica knows: they all hold the same extents. */
  async #isHeld(piece: Piece): Promise<boolean> {
    const context = this.#context;
    const view = context.map.pgs.get(piece.pg);
    for (const disk of view?.inSync ?? []) {
      const peer = context.mayIssue() ? context.linkOf(disk).usablePeer() : null;
      if (peer === null || view === undefined) continue;
      const frame = frameFor(context, piece, OP.presence, disk);
      frame.epoch = view.epoch;
      frame.block = 0;
      frame.count = BLOCKS_PER_EXTENT;
      const answer = await callPeer(peer, frame, context.clock, CALL_MS);
      return answer.data?.some((byte) => byte !== 0) === true;
    }
    throw new StorageError('unavailable', `No replica of pg${piece.pg} can be asked now`);
  }
}
