/**
 * What a volume looks like from the client's side: the interface between the NBD server and the
 * volume's I/O. Byte-granular; callbacks instead of promises, because this is the hot path.
 */

/** Outcomes that a client can tell apart. */
export type BlockError = 'io' | 'no-space' | 'invalid' | 'read-only' | 'shutdown';

export type BlockOp = 'read' | 'write' | 'zero' | 'trim' | 'flush' | 'status';

/** A run of bytes with the same allocation state, for `status`. */
export interface BlockStatus {
  readonly length: number;
  /** Nothing stored: reads as zero (NBD: hole and zero). */
  readonly isHole: boolean;
  /** Stored or not, it reads as zero. */
  readonly isZero: boolean;
}

/**
 * One request. The submitter owns and may reuse it; the device owns `data` of a write, and the
 * request itself, from `submit` until `onDone`. A device calls `onDone` exactly once, possibly
 * before `submit` returns.
 */
export interface BlockRequest {
  op: BlockOp;
  /** Bytes. The submitter has checked that the range lies inside the device. */
  offset: number;
  length: number;
  /** The write, zero or trim must be durable before it is done. */
  isDurable: boolean;
  /** `zero` only: the range may become a hole. */
  mayUnmap: boolean;
  /** write: the payload. read: set by the device, `length` bytes, the submitter's from `onDone` on. */
  data: Buffer | null;
  /** status: set by the device; covers the range from its start, at least one entry. */
  statuses: readonly BlockStatus[] | null;
  error: BlockError | null;
  onDone(request: BlockRequest): void;
}

export interface BlockDevice {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  submit(request: BlockRequest): void;
}
