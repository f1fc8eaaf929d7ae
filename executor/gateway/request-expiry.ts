/**
 * Requests that were held too long: their clients hear `io`, and an event says so. Writes that are out
 * already go on by themselves, holding their blocks, until all members have them: what a client has read
 * once must not change back (DESIGN 4.7). How much may go on like that is bounded.
 */
import { formatVolume } from '../../shared/base/ids.ts';
import { formatDuration } from '../../shared/base/units.ts';
import type { ClientOperations } from './client-operations.ts';
import type { ClientOperation, Piece } from './piece.ts';
import { copyOut } from './read-delivery.ts';
import type { VolumeContext } from './volume-context.ts';

/** Failed writes that go on by themselves may hold so much; beyond, writes fail at once. */
const ABANDONED_BYTES_MAX = 64 * 1024 * 1024;
/** Requests of one stretch of trouble are one event. */
const NOTICE_MS = 60_000;

export class RequestExpiry {
  readonly #context: VolumeContext;
  readonly #operations: ClientOperations;
  readonly #active: ReadonlySet<Piece>;
  #abandonedBytes = 0;
  #noticedAtMs = Number.NEGATIVE_INFINITY;

  constructor(context: VolumeContext, operations: ClientOperations, active: ReadonlySet<Piece>) {
    this.#context = context;
    this.#operations = operations;
    this.#active = active;
  }

  /** More writes cannot be taken on trust. */
  get isOverloaded(): boolean {
    return this.#abandonedBytes > ABANDONED_BYTES_MAX;
  }

  /** Fails what has waited for `limitMs`. */
  sweep(limitMs: number, reasonOf: () => string): void {
    const expired = this.#operations.olderThan(limitMs);
    if (expired.length === 0) return;
    this.#notice(limitMs, reasonOf());
    for (const operation of expired) this.#expire(operation);
  }

  /** A piece is over; it may have been an abandoned one. */
  release(piece: Piece): void {
    if (piece.operation.request === null && piece.isExclusive) {
      this.#abandonedBytes -= piece.byteLength;
    }
  }

  #expire(operation: ClientOperation): void {
    const request = operation.request;
    if (request === null) return;
    const { log, volume } = this.#context;
    log('error', 'A request has waited too long and failed', {
      volume,
      op: request.op,
      offset: request.offset,
      length: request.length,
    });
    const left = [...this.#active].filter((piece) => piece.operation === operation);
    // The client may use its buffer again as soon as it hears of the failure.
    for (const piece of left) if (piece.data !== null) piece.data = copyOut(piece.data);
    this.#operations.fail(operation, 'io');
    for (const piece of left) {
      const wasSent = piece.epoch !== 0 && (piece.kind === 'write' || piece.kind === 'zero');
      if (piece.isExclusive) this.#abandonedBytes += piece.byteLength;
      if (!wasSent) this.#context.complete(piece, null);
    }
  }

  #notice(limitMs: number, reason: string): void {
    const { clock, notify, volume } = this.#context;
    const now = clock.now();
    if (now - this.#noticedAtMs < NOTICE_MS) return;
    this.#noticedAtMs = now;
    const why = reason === '' ? '' : `: ${reason}`;
    const text = `Requests on ${formatVolume(volume)} were held for ${formatDuration(limitMs)} and then failed with EIO${why}`;
    notify({ severity: 'error', kind: 'io.expired', volume, text });
  }
}
