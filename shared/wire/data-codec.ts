/**
 * Frames of the data protocol into bytes and back (proto/data-protocol.md). The encoder writes a
 * header into a buffer of the caller; the decoder is fed with bytes cut anywhere and hands out one
 * frame after the other. It treats its input as hostile: every length, range, flag and checksum is
 * checked before anything is allocated or handed on, and the first wrong byte ends the stream.
 *
 * Memory: a small body is a view into the receive buffer and lasts until the handler returns; a
 * large body is received into memory of its own, which the handler may keep. Blocks are not compared with their checksums here: whoever stores or hands on
 * the blocks does that once (DESIGN 6).
 */
import { assert } from '../base/assert.ts';
import { crc32c } from '../base/crc32c.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../base/units.ts';
import {
  DATA_BODY_BYTES_MAX,
  DATA_HEADER_BYTES,
  DATA_MAGIC,
  DATA_VERSION,
  DataFrame,
  FLAG,
  OP,
} from './data-protocol.ts';
import { bytesChecksum, headerChecksum } from './header-checksum.ts';

/** Sixteen blocks with their checksums: up to here bodies are copied, above they travel by reference. */
export const SMALL_BODY_BYTES_MAX = 16 * (BLOCK_BYTES + 4);

const KNOWN_FLAGS = FLAG.reply | FLAG.unmap | FLAG.zeros | FLAG.durable;
const OP_MAX = 12;
const STATUS_MAX = 13;

type BodyKind = 'none' | 'blocks' | 'bytes';
interface BodyRule {
  readonly kind: BodyKind;
  readonly bytesMax: number;
}

const NONE: BodyRule = { kind: 'none', bytesMax: 0 };
const BLOCKS: BodyRule = { kind: 'blocks', bytesMax: DATA_BODY_BYTES_MAX };
const bytes = (bytesMax: number): BodyRule => ({ kind: 'bytes', bytesMax });

/** What may follow the header, by op: requests, then replies with status ok. Other replies have no body. */
const REQUEST_BODY: readonly BodyRule[] = bodyRules({
  [OP.hello]: bytes(4096),
  [OP.write]: BLOCKS,
  [OP.clean]: bytes(12 * 4096),
});
const REPLY_BODY: readonly BodyRule[] = bodyRules({
  [OP.hello]: bytes(4096),
  [OP.read]: BLOCKS,
  [OP.presence]: bytes(BLOCKS_PER_EXTENT / 4),
  [OP.list]: bytes(SMALL_BODY_BYTES_MAX),
  [OP.meta]: bytes(16 + BLOCKS_PER_EXTENT / 4 + BLOCKS_PER_EXTENT * 4),
  [OP.pull]: BLOCKS,
});

function bodyRules(rules: Readonly<Record<number, BodyRule>>): readonly BodyRule[] {
  return Array.from({ length: OP_MAX + 1 }, (_, op) => rules[op] ?? NONE);
}

function ruleOf(op: number, isReply: boolean, status: number): BodyRule {
  if (!isReply) return REQUEST_BODY[op] ?? NONE;
  return status === 0 ? (REPLY_BODY[op] ?? NONE) : NONE;
}

/** Bytes that follow the header of `frame`. */
export function bodyBytesOf(frame: DataFrame): number {
  return (
    (frame.checksums === null ? 0 : frame.checksums.length) +
    (frame.data === null ? 0 : frame.data.length)
  );
}

/**
 * Writes the header of `frame` at `offset`; the caller appends `checksums`, then `data`.
 * A frame that a decoder would refuse is a programmer's error.
 */
export function encodeHeader(frame: DataFrame, view: DataView, offset: number): void {
  const bodyBytes = bodyBytesOf(frame);
  assert(bodyBytes <= DATA_BODY_BYTES_MAX, 'body fits', { op: frame.op, bodyBytes });
  view.setUint32(offset, DATA_MAGIC, true);
  view.setUint8(offset + 4, DATA_VERSION);
  view.setUint8(offset + 5, frame.op);
  view.setUint16(offset + 6, frame.flags, true);
  view.setUint32(offset + 8, frame.requestId, true);
  view.setUint16(offset + 12, frame.status, true);
  view.setUint16(offset + 14, 0, true);
  view.setUint32(offset + 16, frame.pg, true);
  view.setUint32(offset + 20, frame.epoch, true);
  view.setUint32(offset + 24, frame.disk, true);
  view.setUint32(offset + 28, frame.volume, true);
  view.setUint32(offset + 32, frame.generation, true);
  view.setUint32(offset + 36, frame.layer, true);
  view.setUint32(offset + 40, frame.extent, true);
  view.setUint16(offset + 44, frame.block, true);
  view.setUint16(offset + 46, frame.count, true);
  view.setUint32(offset + 48, bodyBytes, true);
  view.setUint32(offset + 52, bodyChecksum(frame.checksums, frame.data), true);
  view.setUint32(offset + 56, frame.aux, true);
  view.setUint32(offset + 60, headerChecksum(view, offset, 60), true);
}

/** Where blocks travel it covers their checksums, and those cover the blocks. */
function bodyChecksum(checksums: Uint8Array | null, data: Uint8Array | null): number {
  if (checksums !== null) return tableChecksum(checksums);
  return data === null || data.length === 0 ? 0 : crc32c(data);
}

/** Short tables are cheaper without the call into the library, and need not leave the heap for it. */
function tableChecksum(table: Uint8Array): number {
  return table.length > 64 ? crc32c(table) : bytesChecksum(table);
}

/** The whole frame in new memory. For tests and tools; connections write into pooled buffers. */
export function encodeFrame(frame: DataFrame): Buffer {
  const target = Buffer.alloc(DATA_HEADER_BYTES + bodyBytesOf(frame));
  encodeHeader(frame, new DataView(target.buffer, target.byteOffset, target.length), 0);
  let at = DATA_HEADER_BYTES;
  if (frame.checksums !== null) {
    target.set(frame.checksums, at);
    at += frame.checksums.length;
  }
  if (frame.data !== null) target.set(frame.data, at);
  return target;
}

/** Four small frames of the largest size per read; a quarter MiB is where larger reads stop to pay. */
const RECEIVE_BYTES = 256 * 1024;

/**
 * Receives one stream: bytes go to `target()`, `received()` says how many arrived there and hands
 * out the frames that became whole. `onFrame` gets the same frame object again and again.
 */
export class FrameDecoder {
  readonly #onFrame: (frame: DataFrame) => void;
  readonly #frame = new DataFrame();
  /** Slow: its own memory, of which the system only provides the pages that are used. */
  readonly #memory = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
  readonly #view = new DataView(this.#memory.buffer, this.#memory.byteOffset, RECEIVE_BYTES);
  /** Bytes at the front of `#memory`: the beginning of a frame that is not whole yet. */
  #filled = 0;
  /** Body length and checksum of the frame whose header was read last. */
  #bodyBytes = 0;
  #bodyCrc = 0;
  /** Memory of a large body, and how much of it has arrived; it is received into directly. */
  #large: Buffer | null = null;
  #largeBytes = 0;
  #isStopped = false;

  constructor(onFrame: (frame: DataFrame) => void) {
    this.#onFrame = onFrame;
  }

  /** No more frames, not even those already received. For a handler that closes the connection. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Where the next bytes belong; at least one fits. */
  target(): Uint8Array {
    if (this.#large !== null) return this.#large.subarray(this.#largeBytes);
    return this.#memory.subarray(this.#filled);
  }

  /** Returns null, or why the stream cannot go on; after that nothing may be fed any more. */
  received(count: number): string | null {
    if (this.#large !== null) {
      this.#largeBytes += count;
      return this.#finishLarge(this.#large);
    }
    const end = this.#filled + count;
    let at = 0;
    while (!this.#isStopped && end - at >= DATA_HEADER_BYTES) {
      const refusal = this.#readHeader(this.#view, at);
      if (refusal !== null) return refusal;
      const bodyAt = at + DATA_HEADER_BYTES;
      if (this.#bodyBytes > SMALL_BODY_BYTES_MAX) {
        const large = Buffer.allocUnsafeSlow(this.#bodyBytes);
        this.#large = large;
        this.#largeBytes = this.#memory.copy(large, 0, bodyAt, end);
        at = bodyAt + this.#largeBytes;
        const wrong = this.#finishLarge(large);
        if (wrong !== null) return wrong;
        continue;
      }
      if (bodyAt + this.#bodyBytes > end) break;
      const wrong = this.#deliver(this.#memory, bodyAt, true);
      if (wrong !== null) return wrong;
      at = bodyAt + this.#bodyBytes;
    }
    if (at > 0) this.#memory.copyWithin(0, at, end);
    this.#filled = end - at;
    return null;
  }

  #finishLarge(large: Buffer): string | null {
    if (this.#largeBytes < large.length) return null;
    this.#large = null;
    return this.#isStopped ? null : this.#deliver(large, 0, false);
  }

  #deliver(memory: Uint8Array, at: number, isTransient: boolean): string | null {
    const frame = this.#frame;
    const length = this.#bodyBytes;
    frame.checksums = null;
    frame.data = null;
    frame.isBodyTransient = isTransient;
    if (length > 0) {
      const isReply = (frame.flags & FLAG.reply) !== 0;
      let dataAt = at;
      if (ruleOf(frame.op, isReply, frame.status).kind === 'blocks') {
        dataAt = at + frame.count * 4;
        frame.checksums = memory.subarray(at, dataAt);
      }
      frame.data = memory.subarray(dataAt, at + length);
    }
    if (bodyChecksum(frame.checksums, frame.data) !== this.#bodyCrc) {
      return `Frame ${frame.op} has a body whose checksum is wrong`;
    }
    this.#onFrame(frame);
    return null;
  }

  /** Fills the frame from the header at `offset`; returns why it is refused, or null. */
  #readHeader(view: DataView, offset: number): string | null {
    const frame = this.#frame;
    if (view.getUint32(offset, true) !== DATA_MAGIC) return 'Frame does not start with the magic';
    const crc = headerChecksum(view, offset, 60);
    if (view.getUint32(offset + 60, true) !== crc) return 'Frame header has a wrong checksum';
    const version = view.getUint8(offset + 4);
    if (version !== DATA_VERSION) {
      return `Frame has version "${version}", this side speaks "${DATA_VERSION}"`;
    }
    frame.op = view.getUint8(offset + 5);
    frame.flags = view.getUint16(offset + 6, true);
    frame.requestId = view.getUint32(offset + 8, true);
    frame.status = view.getUint16(offset + 12, true);
    frame.pg = view.getUint32(offset + 16, true);
    frame.epoch = view.getUint32(offset + 20, true);
    frame.disk = view.getUint32(offset + 24, true);
    frame.volume = view.getUint32(offset + 28, true);
    frame.generation = view.getUint32(offset + 32, true);
    frame.layer = view.getUint32(offset + 36, true);
    frame.extent = view.getUint32(offset + 40, true);
    frame.block = view.getUint16(offset + 44, true);
    frame.count = view.getUint16(offset + 46, true);
    frame.aux = view.getUint32(offset + 56, true);
    this.#bodyBytes = view.getUint32(offset + 48, true);
    this.#bodyCrc = view.getUint32(offset + 52, true);
    if (view.getUint16(offset + 14, true) !== 0)
      return 'Frame has a reserved field that is not zero';
    return refuseHeader(frame, this.#bodyBytes, this.#bodyCrc);
  }
}

function refuseHeader(frame: DataFrame, bodyBytes: number, bodyCrc: number): string | null {
  const { op, flags, status, block, count } = frame;
  if (op === 0 || op > OP_MAX) return `Frame has the unknown op "${op}"`;
  if ((flags & ~KNOWN_FLAGS) !== 0) return `Frame has unknown flags "${flags}"`;
  const isReply = (flags & FLAG.reply) !== 0;
  if (status > STATUS_MAX) return `Frame has the unknown status "${status}"`;
  if (!isReply && status !== 0) return `Request has the status "${status}", expected none`;
  if (block + count > BLOCKS_PER_EXTENT || block >= BLOCKS_PER_EXTENT) {
    return `Frame covers blocks "${block}" to "${block + count}", an extent has ${BLOCKS_PER_EXTENT}`;
  }
  const rule = ruleOf(op, isReply, status);
  if (bodyBytes > rule.bytesMax) {
    return `Frame with op "${op}" announces a body of "${bodyBytes}" bytes, at most ${rule.bytesMax} allowed`;
  }
  if (bodyBytes === 0) {
    if (op === OP.write && !isReply) return 'Write without blocks';
    return bodyCrc === 0 ? null : 'Frame without a body has a body checksum';
  }
  if (rule.kind === 'blocks' && bodyBytes !== count * (BLOCK_BYTES + 4)) {
    return `Frame with ${count} blocks announces a body of "${bodyBytes}" bytes`;
  }
  return null;
}
