/**
 * The Network Block Device protocol, fixed newstyle, as bytes: constants, and functions that read
 * and write its messages. All numbers are big endian. Encoders write into a given buffer and return
 * the offset behind what they wrote; decoders of option data return null for anything malformed.
 * What the messages mean is decided in executor/gateway (nbd-handshake.ts, nbd-session.ts).
 *
 * 64-bit numbers are two 32-bit halves here: cookies are opaque, and offsets beyond 2^53 lie
 * outside every volume.
 */

// ── Handshake ────────────────────────────────────────────────────────────────────────────────

/** "NBDMAGIC" and "IHAVEOPT". */
export const NBD_MAGIC_HIGH = 0x4e42444d;
export const NBD_MAGIC_LOW = 0x41474943;
export const OPTION_MAGIC_HIGH = 0x49484156;
export const OPTION_MAGIC_LOW = 0x454f5054;
export const OPTION_REPLY_MAGIC_HIGH = 0x0003e889;
export const OPTION_REPLY_MAGIC_LOW = 0x045565a9;

export const GREETING_BYTES = 18;
export const CLIENT_FLAGS_BYTES = 4;
export const OPTION_HEADER_BYTES = 16;
export const OPTION_REPLY_HEADER_BYTES = 20;
/** Follow the export's size and flags after EXPORT_NAME, unless the client asked for none. */
export const EXPORT_NAME_ZEROES_BYTES = 124;

/** The protocol's own bound for names and other texts. */
export const NBD_STRING_BYTES_MAX = 4096;

export const HANDSHAKE_FLAG = { fixedNewstyle: 1, noZeroes: 2 } as const;

export const OPTION = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

export const OPTION_REPLY = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  unsupported: 0x8000_0001,
  policy: 0x8000_0002,
  invalid: 0x8000_0003,
  unknown: 0x8000_0006,
  shutdown: 0x8000_0007,
  tooBig: 0x8000_0009,
} as const;
export type OptionReplyType = (typeof OPTION_REPLY)[keyof typeof OPTION_REPLY];

export const INFO = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const EXPORT_FLAG = {
  hasFlags: 1,
  readOnly: 2,
  sendFlush: 4,
  sendFua: 8,
  sendTrim: 32,
  sendWriteZeroes: 64,
  sendDf: 128,
  canMultiConn: 256,
  sendCache: 1024,
} as const;

export const BASE_ALLOCATION = 'base:allocation';

// ── Transmission ─────────────────────────────────────────────────────────────────────────────

export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const CHUNK_MAGIC = 0x668e33ef;

export const REQUEST_BYTES = 28;
export const SIMPLE_REPLY_BYTES = 16;
export const CHUNK_HEADER_BYTES = 20;
/** Chunk header and the offset that precedes the data of a read. */
export const OFFSET_DATA_HEADER_BYTES = CHUNK_HEADER_BYTES + 8;
export const STATUS_ENTRY_BYTES = 8;

export const COMMAND = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

export const COMMAND_FLAG = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16 } as const;

export const CHUNK_FLAG_DONE = 1;
export const CHUNK = {
  none: 0,
  offsetData: 1,
  blockStatus: 5,
  error: 0x8001,
} as const;

/** Bits of a `base:allocation` entry. */
export const STATE = { hole: 1, zero: 2 } as const;

/** Error numbers are part of the protocol, whatever the platform calls them. */
export const NBD_ERROR = {
  none: 0,
  notPermitted: 1,
  io: 5,
  invalid: 22,
  noSpace: 28,
  shutdown: 108,
} as const;
export type NbdError = (typeof NBD_ERROR)[keyof typeof NBD_ERROR];

/** One request as it came; reused for every request of a connection. */
export class NbdRequestHeader {
  flags = 0;
  type = 0;
  cookieHigh = 0;
  cookieLow = 0;
  offsetHigh = 0;
  offsetLow = 0;
  length = 0;

  /** False when the magic is wrong: the stream is out of step for good. */
  read(source: Buffer, at: number): boolean {
    if (source.readUInt32BE(at) !== REQUEST_MAGIC) return false;
    this.flags = source.readUInt16BE(at + 4);
    this.type = source.readUInt16BE(at + 6);
    this.cookieHigh = source.readUInt32BE(at + 8);
    this.cookieLow = source.readUInt32BE(at + 12);
    this.offsetHigh = source.readUInt32BE(at + 16);
    this.offsetLow = source.readUInt32BE(at + 20);
    this.length = source.readUInt32BE(at + 24);
    return true;
  }

  /** Exact below 2^53; above it is a number that is certainly beyond every volume. */
  get offset(): number {
    return this.offsetHigh * 0x1_0000_0000 + this.offsetLow;
  }
}

// ── Encoders ─────────────────────────────────────────────────────────────────────────────────

export function writeGreeting(target: Buffer, at: number): number {
  target.writeUInt32BE(NBD_MAGIC_HIGH, at);
  target.writeUInt32BE(NBD_MAGIC_LOW, at + 4);
  target.writeUInt32BE(OPTION_MAGIC_HIGH, at + 8);
  target.writeUInt32BE(OPTION_MAGIC_LOW, at + 12);
  target.writeUInt16BE(HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes, at + 16);
  return at + GREETING_BYTES;
}

/** One reply to an option, with its data. */
export function encodeOptionReply(option: number, type: OptionReplyType, data: Buffer): Buffer {
  const reply = Buffer.alloc(OPTION_REPLY_HEADER_BYTES + data.length);
  reply.writeUInt32BE(OPTION_REPLY_MAGIC_HIGH, 0);
  reply.writeUInt32BE(OPTION_REPLY_MAGIC_LOW, 4);
  reply.writeUInt32BE(option, 8);
  reply.writeUInt32BE(type, 12);
  reply.writeUInt32BE(data.length, 16);
  data.copy(reply, OPTION_REPLY_HEADER_BYTES);
  return reply;
}

/** Size and flags of an export, as they follow EXPORT_NAME and stand in INFO_EXPORT. */
function encodeSizeAndFlags(sizeBytes: number, flags: number): Buffer {
  const data = Buffer.alloc(10);
  writeU64(data, 0, sizeBytes);
  data.writeUInt16BE(flags, 8);
  return data;
}

export function encodeExportNameReply(
  sizeBytes: number,
  flags: number,
  withZeroes: boolean,
): Buffer {
  const head = encodeSizeAndFlags(sizeBytes, flags);
  return withZeroes ? Buffer.concat([head, Buffer.alloc(EXPORT_NAME_ZEROES_BYTES)]) : head;
}

export function encodeInfoExport(sizeBytes: number, flags: number): Buffer {
  return Buffer.concat([encodeU16(INFO.export), encodeSizeAndFlags(sizeBytes, flags)]);
}

export function encodeInfoText(info: 1 | 2, text: string): Buffer {
  return Buffer.concat([encodeU16(info), Buffer.from(text)]);
}

export interface BlockSizes {
  readonly minimum: number;
  readonly preferred: number;
  readonly maximum: number;
}

export function encodeInfoBlockSize(sizes: BlockSizes): Buffer {
  const data = Buffer.alloc(14);
  data.writeUInt16BE(INFO.blockSize, 0);
  data.writeUInt32BE(sizes.minimum, 2);
  data.writeUInt32BE(sizes.preferred, 6);
  data.writeUInt32BE(sizes.maximum, 10);
  return data;
}

/** Data of the `server` reply to LIST. */
export function encodeListEntry(name: string, description: string): Buffer {
  const nameBytes = Buffer.from(name);
  return Buffer.concat([encodeU32(nameBytes.length), nameBytes, Buffer.from(description)]);
}

export function encodeMetaContext(id: number, name: string): Buffer {
  return Buffer.concat([encodeU32(id), Buffer.from(name)]);
}

export function writeSimpleReply(
  target: Buffer,
  at: number,
  error: number,
  cookieHigh: number,
  cookieLow: number,
): number {
  target.writeUInt32BE(SIMPLE_REPLY_MAGIC, at);
  target.writeUInt32BE(error, at + 4);
  target.writeUInt32BE(cookieHigh, at + 8);
  target.writeUInt32BE(cookieLow, at + 12);
  return at + SIMPLE_REPLY_BYTES;
}

/**
 * Every reply is one chunk, so each is marked as the last. `length` is that of the chunk's payload.
 */
export function writeChunkHeader(
  target: Buffer,
  at: number,
  type: number,
  cookieHigh: number,
  cookieLow: number,
  length: number,
): number {
  target.writeUInt32BE(CHUNK_MAGIC, at);
  target.writeUInt16BE(CHUNK_FLAG_DONE, at + 4);
  target.writeUInt16BE(type, at + 6);
  target.writeUInt32BE(cookieHigh, at + 8);
  target.writeUInt32BE(cookieLow, at + 12);
  target.writeUInt32BE(length, at + 16);
  return at + CHUNK_HEADER_BYTES;
}

export function writeU64(target: Buffer, at: number, value: number): number {
  target.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at);
  target.writeUInt32BE(value % 0x1_0000_0000, at + 4);
  return at + 8;
}

function encodeU16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function encodeU32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

// ── Decoders of option data ──────────────────────────────────────────────────────────────────

export interface OptionHeader {
  readonly option: number;
  readonly length: number;
}

/** Null when the magic is wrong. */
export function decodeOptionHeader(source: Buffer, at: number): OptionHeader | null {
  if (source.readUInt32BE(at) !== OPTION_MAGIC_HIGH) return null;
  if (source.readUInt32BE(at + 4) !== OPTION_MAGIC_LOW) return null;
  return { option: source.readUInt32BE(at + 8), length: source.readUInt32BE(at + 12) };
}

/** A whole option's data as a name (EXPORT_NAME). */
export function decodeName(data: Buffer): string | null {
  return decodeText(data, 0, data.length);
}

/** The data of INFO and GO. */
export interface InfoQuery {
  readonly name: string;
  readonly infos: readonly number[];
}

export function decodeInfoQuery(data: Buffer): InfoQuery | null {
  if (data.length < 6) return null;
  const nameBytes = data.readUInt32BE(0);
  // Compared before it is used as an offset: a huge length must not be read at.
  if (nameBytes > data.length - 6) return null;
  const name = decodeText(data, 4, nameBytes);
  const count = data.readUInt16BE(4 + nameBytes);
  if (name === null || data.length !== 6 + nameBytes + 2 * count) return null;
  const infos: number[] = [];
  for (let index = 0; index < count; index += 1) {
    infos.push(data.readUInt16BE(6 + nameBytes + 2 * index));
  }
  return { name, infos };
}

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export interface MetaContextQuery {
  readonly name: string;
  readonly queries: readonly string[];
}

export function decodeMetaContextQuery(data: Buffer): MetaContextQuery | null {
  if (data.length < 8) return null;
  const nameBytes = data.readUInt32BE(0);
  if (nameBytes > data.length - 8) return null;
  const name = decodeText(data, 4, nameBytes);
  if (name === null) return null;
  const count = data.readUInt32BE(4 + nameBytes);
  let at = 8 + nameBytes;
  const queries: string[] = [];
  for (let index = 0; index < count; index += 1) {
    if (data.length - at < 4) return null;
    const length = data.readUInt32BE(at);
    if (length > data.length - at - 4) return null;
    const query = decodeText(data, at + 4, length);
    if (query === null) return null;
    queries.push(query);
    at += 4 + length;
  }
  return at === data.length ? { name, queries } : null;
}

/** UTF-8 without NUL, at most as long as the protocol allows; null otherwise. */
function decodeText(data: Buffer, at: number, length: number): string | null {
  if (length > NBD_STRING_BYTES_MAX) return null;
  const bytes = data.subarray(at, at + length);
  const text = bytes.toString('utf8');
  // What does not survive the way back was no UTF-8; two such names would look the same.
  if (text.includes('\0') || !Buffer.from(text).equals(bytes)) return null;
  return text;
}
