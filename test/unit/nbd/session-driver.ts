/**
 * An NBD client without a socket, for tests of the session: writes requests byte by byte as the
 * protocol's text has them (with code of its own, not the server's), carries bytes to and from a
 * session, and takes replies apart.
 */
import type { BlockDevice, BlockRequest } from '../../../executor/gateway/block-device.ts';
import { BufferPool } from '../../../executor/gateway/buffer-pool.ts';
import type { NbdExport, NbdExports } from '../../../executor/gateway/nbd/nbd-handshake.ts';
import type { NbdBatch } from '../../../executor/gateway/nbd/nbd-output.ts';
import { NbdSession, type NbdTransport } from '../../../executor/gateway/nbd/nbd-session.ts';
import { assert } from '../../../shared/base/assert.ts';

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

export function text(value: string): Buffer {
  return Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)]);
}

export function option(number: number, data: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from('IHAVEOPT'), u32(number), u32(data.length), data]);
}

export function infoData(name: string, infos: readonly number[] = []): Buffer {
  return Buffer.concat([text(name), u16(infos.length), ...infos.map(u16)]);
}

export function contextData(name: string, queries: readonly string[]): Buffer {
  return Buffer.concat([text(name), u32(queries.length), ...queries.map(text)]);
}

/** Client flags and options up to the choice of `name`, with everything negotiated or nothing. */
export function openingBytes(name: string, isStructured: boolean): Buffer {
  const options = isStructured
    ? [option(8), option(10, contextData(name, ['base:allocation']))]
    : [];
  return Buffer.concat([u32(3), ...options, option(7, infoData(name))]);
}

export const CMD = { read: 0, write: 1, disc: 2, flush: 3, trim: 4, cache: 5, zero: 6, status: 7 };

export interface RequestFields {
  readonly cookie?: number | bigint;
  readonly flags?: number;
  readonly offset?: number | bigint;
  readonly length?: number;
  /** Sets the length too, unless that is given. */
  readonly payload?: Buffer;
}

export function request(type: number, fields: RequestFields = {}): Buffer {
  const payload = fields.payload ?? Buffer.alloc(0);
  return Buffer.concat([
    u32(0x25609513),
    u16(fields.flags ?? 0),
    u16(type),
    u64(fields.cookie ?? 1),
    u64(fields.offset ?? 0),
    u32(fields.length ?? payload.length),
    payload,
  ]);
}

export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

export interface Reply {
  readonly cookie: bigint;
  readonly error: number;
  /** Simple replies have none. */
  readonly chunk: { readonly type: number; readonly flags: number; readonly data: Buffer } | null;
  readonly data: Buffer;
}

/** Checks that the device is never asked for anything outside it. */
class CheckedDevice implements BlockDevice {
  readonly #device: BlockDevice;

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  get isReadOnly(): boolean {
    return this.#device.isReadOnly;
  }

  submit(request: BlockRequest): void {
    const { offset, length, op } = request;
    const isInside = offset >= 0 && offset + length <= this.sizeBytes;
    assert(Number.isSafeInteger(offset) && isInside, 'the range is inside', { offset, length });
    assert(op === 'flush' || length > 0, 'the range is not empty', { op });
    assert(op !== 'write' || request.data?.length === length, 'the payload is whole', { length });
    this.#device.submit(request);
  }
}

export function exportOf(device: BlockDevice, name = 'v1', description = ''): NbdExport {
  return { name, description, device: new CheckedDevice(device) };
}

/** The first export is the default one. */
export function exportsOf(...all: readonly NbdExport[]): NbdExports {
  return {
    find: (name) => (name === '' ? all[0] : all.find((entry) => entry.name === name)) ?? null,
    list: () => all,
  };
}

export class SessionDriver implements NbdTransport {
  readonly session: NbdSession;
  readonly pool = new BufferPool();
  /** Off: batches stay unconfirmed until `confirm`. */
  confirmsAtOnce = true;
  ended: string | null = null;
  openedExport: string | null = null;
  isPaused = false;
  #output: Buffer[] = [];
  #unconfirmed: NbdBatch[] = [];
  #backlog: Buffer = Buffer.alloc(0);
  #isTurnRequested = false;

  constructor(exports: NbdExports) {
    this.session = new NbdSession(exports, this, this.pool);
    this.session.open();
  }

  /** Hands bytes to the session as far as it takes them; the rest waits. */
  feed(bytes: Buffer): this {
    this.#backlog = this.#backlog.length === 0 ? bytes : Buffer.concat([this.#backlog, bytes]);
    this.settle();
    return this;
  }

  /** Runs turns and deliveries until nothing moves. */
  settle(): void {
    for (;;) {
      if (this.#isTurnRequested) {
        this.#isTurnRequested = false;
        this.session.turn();
      } else if (this.confirmsAtOnce && this.#unconfirmed.length > 0) {
        this.confirm();
      } else if (this.#backlog.length > 0 && !this.isPaused) {
        const target = this.session.target();
        const count = Math.min(target.length, this.#backlog.length);
        target.set(this.#backlog.subarray(0, count));
        this.#backlog = this.#backlog.subarray(count);
        this.isPaused = !this.session.received(count);
      } else {
        return;
      }
    }
  }

  confirm(): void {
    const batches = this.#unconfirmed;
    this.#unconfirmed = [];
    for (const batch of batches) this.session.sent(batch);
    if (!this.confirmsAtOnce) this.settle();
  }

  /** Everything that was sent since the last call. */
  takeOutput(): Buffer {
    const output = Buffer.concat(this.#output);
    this.#output = [];
    return output;
  }

  takeReplies(): Reply[] {
    return readReplies(this.takeOutput());
  }

  // ── NbdTransport ─────────────────────────────────────────────────────────────────────────

  send(batch: NbdBatch): void {
    // Copied: the memory is used again after the confirmation.
    this.#output.push(...batch.pieces.map((piece) => Buffer.from(piece)));
    this.#unconfirmed.push(batch);
  }

  requestTurn(): void {
    this.#isTurnRequested = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  opened(chosen: NbdExport): void {
    this.openedExport = chosen.name;
  }

  end(reason: string): void {
    assert(this.ended === null, 'a connection ends once');
    this.ended = reason;
  }
}

/** A session past its handshake. */
export function openSession(device: BlockDevice, isStructured = true): SessionDriver {
  const driver = new SessionDriver(exportsOf(exportOf(device)));
  driver.feed(openingBytes('v1', isStructured));
  assert(driver.openedExport === 'v1', 'the export is open');
  driver.takeOutput();
  return driver;
}

export function readOptionReplies(bytes: Buffer): OptionReply[] {
  const replies: OptionReply[] = [];
  let at = 0;
  while (at < bytes.length) {
    assert(bytes.readBigUInt64BE(at) === 0x3e889045565a9n, 'an option reply starts here', { at });
    const length = bytes.readUInt32BE(at + 16);
    const data = bytes.subarray(at + 20, at + 20 + length);
    assert(data.length === length, 'the option reply is whole', { at });
    replies.push({ option: bytes.readUInt32BE(at + 8), type: bytes.readUInt32BE(at + 12), data });
    at += 20 + length;
  }
  return replies;
}

/** Simple replies carry no length: of data only when `readLengths` (by cookie) says so. */
export function readReplies(
  bytes: Buffer,
  readLengths: ReadonlyMap<bigint, number> = new Map(),
): Reply[] {
  const replies: Reply[] = [];
  let at = 0;
  while (at < bytes.length) {
    const magic = bytes.readUInt32BE(at);
    const cookie = bytes.readBigUInt64BE(at + 8);
    if (magic === 0x67446698) {
      const error = bytes.readUInt32BE(at + 4);
      const length = error === 0 ? (readLengths.get(cookie) ?? 0) : 0;
      replies.push({ cookie, error, chunk: null, data: bytes.subarray(at + 16, at + 16 + length) });
      at += 16 + length;
      continue;
    }
    assert(magic === 0x668e33ef, 'a reply starts here', { at, magic });
    const length = bytes.readUInt32BE(at + 16);
    const data = bytes.subarray(at + 20, at + 20 + length);
    assert(data.length === length, 'the chunk is whole', { at });
    const type = bytes.readUInt16BE(at + 6);
    replies.push({
      cookie,
      error: type >= 0x8000 ? data.readUInt32BE(0) : 0,
      chunk: { type, flags: bytes.readUInt16BE(at + 4), data },
      data: type === 1 ? data.subarray(8) : data,
    });
    at += 20 + length;
  }
  return replies;
}
