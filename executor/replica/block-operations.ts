/**
 * Reads, writes, zeros, presence and flushes of gateways against a store. The requests handed to the
 * store, and the memory that holds transient bodies meanwhile, come from a pool: no closure and no
 * large allocation per request.
 */
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import { SMALL_BODY_BYTES_MAX } from '../../shared/wire/data-codec.ts';
import {
  type DataFrame,
  FLAG,
  replyTo,
  STATUS,
  type Status,
} from '../../shared/wire/data-protocol.ts';
import type { ReadRequest, WriteRequest, ZeroRequest } from '../disk/store-types.ts';
import type { ReplicaDisk } from './replica-disk.ts';
import type { Session } from './session.ts';

const NO_BYTES = new Uint8Array(0);
/** Spent operations kept for reuse, with 64 KiB each: 16 MiB. */
const POOLED_MAX = 256;

export class BlockOperations {
  readonly #free: Operation[] = [];
  readonly #release = (operation: Operation): void => {
    if (this.#free.length < POOLED_MAX) this.#free.push(operation);
  };

  write(session: Session, frame: DataFrame, disk: ReplicaDisk, isIncomplete: boolean): void {
    const { checksums, data } = frame;
    if (checksums === null || data === null) {
      session.refuse(frame, STATUS.badRequest, 0);
      return;
    }
    const operation = this.#take(session, frame);
    const request = operation.writeRequest;
    request.pg = frame.pg;
    request.volume = frame.volume;
    request.layer = frame.layer;
    request.extent = frame.extent;
    request.block = frame.block;
    request.count = frame.count;
    request.epoch = frame.epoch;
    request.durable = (frame.flags & FLAG.durable) !== 0;
    request.incomplete = isIncomplete;
    request.checksums = checksums;
    request.data = data;
    request.keepBody = frame.isBodyTransient ? operation.keepBody : undefined;
    disk.store.write(request, operation.onDone);
  }

  zero(session: Session, frame: DataFrame, disk: ReplicaDisk, isIncomplete: boolean): void {
    const operation = this.#take(session, frame);
    const request: ZeroRequest = {
      pg: frame.pg,
      volume: frame.volume,
      layer: frame.layer,
      extent: frame.extent,
      block: frame.block,
      count: frame.count,
      epoch: frame.epoch,
      unmap: (frame.flags & FLAG.unmap) !== 0,
      durable: (frame.flags & FLAG.durable) !== 0,
      incomplete: isIncomplete,
    };
    disk.store.zero(request, operation.onDone);
  }

  read(session: Session, frame: DataFrame, disk: ReplicaDisk): void {
    const operation = this.#take(session, frame);
    const request = operation.readRequest;
    request.volume = frame.volume;
    request.layer = frame.layer;
    request.extent = frame.extent;
    request.block = frame.block;
    request.count = frame.count;
    operation.prepareRead(session.isLocal, frame);
    disk.store.read(request, operation.onRead);
  }

  presence(session: Session, frame: DataFrame, disk: ReplicaDisk): void {
    const reply = replyTo(frame, STATUS.ok);
    const bits = Buffer.alloc(Math.ceil(frame.count / 4));
    const { volume, layer, extent } = frame;
    disk.store.presenceOf({ volume, layer, extent }, frame.block, frame.count, bits, (status) => {
      reply.status = status;
      if (status === STATUS.ok) reply.data = bits;
      session.answer(reply);
    });
  }

  flush(session: Session, frame: DataFrame, disk: ReplicaDisk): void {
    disk.store.flush(this.#take(session, frame).onDone);
  }

  #take(session: Session, frame: DataFrame): Operation {
    const operation = this.#free.pop() ?? new Operation(this.#release);
    operation.session = session;
    operation.reply = replyTo(frame, STATUS.ok);
    return operation;
  }
}

class Operation {
  session: Session | null = null;
  reply: DataFrame | null = null;
  readonly writeRequest: WriteRequest = {
    pg: 0,
    volume: 0,
    layer: 0,
    extent: 0,
    block: 0,
    count: 0,
    epoch: 0,
    checksums: NO_BYTES,
    data: NO_BYTES,
    durable: false,
    incomplete: false,
    keepBody: undefined,
  };
  readonly readRequest: ReadRequest = {
    volume: 0,
    layer: 0,
    extent: 0,
    block: 0,
    count: 0,
    checksums: NO_BYTES,
    data: NO_BYTES,
    // The gateway compares: end to end (DESIGN 6).
    verify: false,
  };
  readonly #release: (operation: Operation) => void;
  #memory: Buffer | null = null;

  constructor(release: (operation: Operation) => void) {
    this.#release = release;
  }

  /** Holds a small body together with its checksums. */
  memory(): Buffer {
    this.#memory ??= Buffer.allocUnsafeSlow(SMALL_BODY_BYTES_MAX);
    return this.#memory;
  }

  /** Where the blocks go. Over TCP a small body is copied into the stream, so its memory is used again. */
  prepareRead(isLocal: boolean, frame: DataFrame): void {
    const { count, target } = frame;
    const tableBytes = count * 4;
    const length = tableBytes + count * BLOCK_BYTES;
    if (isLocal && target !== null) {
      this.readRequest.checksums = new Uint8Array(tableBytes);
      this.readRequest.data = target;
      return;
    }
    const isLent = !isLocal && length <= SMALL_BODY_BYTES_MAX;
    const memory = isLent ? this.memory() : Buffer.allocUnsafeSlow(length);
    this.readRequest.checksums = memory.subarray(0, tableBytes);
    this.readRequest.data = memory.subarray(tableBytes, length);
  }

  /** Copies a transient body, which is always a small one, into memory of this operation; once. */
  readonly keepBody = (): void => {
    const { checksums, data } = this.writeRequest;
    const memory = this.memory();
    if (this.session === null || checksums.buffer === memory.buffer) return;
    const end = checksums.length + data.length;
    memory.set(checksums, 0);
    memory.set(data, checksums.length);
    this.writeRequest.checksums = memory.subarray(0, checksums.length);
    this.writeRequest.data = memory.subarray(checksums.length, end);
  };

  readonly onDone = (status: Status): void => this.#finish(status);

  readonly onRead = (
    status: Status,
    dataBlocks: number,
    absentBlocks: number,
    badBlock: number,
  ): void => {
    const { reply, readRequest } = this;
    if (reply !== null && status === STATUS.ok) {
      if (dataBlocks === 0) reply.flags |= FLAG.zeros;
      else {
        reply.checksums = readRequest.checksums;
        reply.data = readRequest.data;
      }
      // How many blocks fall through to a parent layer; nothing is known of the others' origin.
      reply.aux = absentBlocks;
    } else if (reply !== null && badBlock >= 0) reply.aux = badBlock;
    this.#finish(status);
  };

  #finish(status: Status): void {
    const { session, reply } = this;
    if (session === null || reply === null) return;
    reply.status = status;
    session.answer(reply);
    this.session = null;
    this.reply = null;
    this.writeRequest.checksums = NO_BYTES;
    this.writeRequest.data = NO_BYTES;
    this.readRequest.checksums = NO_BYTES;
    this.readRequest.data = NO_BYTES;
    this.#release(this);
  }
}
