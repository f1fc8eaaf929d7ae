/**
 * One request in flight: what the device sees (`BlockRequest`) and what its reply needs. A session
 * uses its slots over and over.
 */
import type { BlockError, BlockOp, BlockRequest, BlockStatus } from '../block-device.ts';

/** The session, as its slots see it. */
export interface NbdSlotOwner {
  complete(slot: NbdSlot): void;
}

export class NbdSlot implements BlockRequest {
  op: BlockOp = 'read';
  offset = 0;
  length = 0;
  isDurable = false;
  mayUnmap = false;
  data: Buffer | null = null;
  statuses: readonly BlockStatus[] | null = null;
  error: BlockError | null = null;

  /** As on the wire. */
  command = 0;
  flags = 0;
  cookieHigh = 0;
  cookieLow = 0;
  /** The pool's buffer in which a write's payload lies. */
  memory: Buffer | null = null;
  /** What it counts for in the connection's bytes in flight. */
  heldBytes = 0;
  isInFlight = false;
  /** Answered already, because the connection ends; what the device says comes too late. */
  isAnswered = false;
  readonly #owner: NbdSlotOwner;

  constructor(owner: NbdSlotOwner) {
    this.#owner = owner;
  }

  onDone(_request: BlockRequest): void {
    this.#owner.complete(this);
  }

  /** Forgets what the last request left. */
  clear(): void {
    this.data = null;
    this.statuses = null;
    this.error = null;
    this.memory = null;
    this.heldBytes = 0;
    this.mayUnmap = false;
    this.isAnswered = false;
  }
}
