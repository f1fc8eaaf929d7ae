/**
 * The records of the journal, bytes and values. A journal file is a sequence of records; numbers are
 * little endian.
 *
 *     0  u32  CRC32C of bytes 4 to length
 *     4  u16  length of the record in bytes
 *     6  u8   type
 *     7  u8   flags
 *     8  u32  sequence, low half: grows by one from record to record, across files
 *    12  u32  sequence, high half
 *    16       body, by type
 *
 * Every record states what is, not what changes, so that replaying it twice does no harm. Decoding is
 * hostile: anything that is not exactly a record of ours is `null`.
 */
import { assert } from '../../shared/base/assert.ts';
import { crc32c } from '../../shared/base/crc32c.ts';
import { BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';

export const JOURNAL_MAGIC = 0x4a534943; // "CISJ", little endian
export const JOURNAL_VERSION = 1;
const HEADER_BYTES = 16;
/** The longest record (an extent's). */
export const RECORD_BYTES_MAX = 44;

export const RECORD = {
  /** First of every file. */
  file: 1,
  /** Slot and stamp of an extent; `fresh`: it did not exist before, and is all absent. */
  extent: 2,
  presence: 3,
  removal: 4,
  epoch: 5,
  generation: 6,
  /** Slab data of all records up to `through` is durable. */
  settled: 7,
  /** Last of every file but the newest. */
  end: 8,
  /** All records up to `through` are power-safe: one that is missing has not been torn off, it was destroyed. */
  synced: 9,
} as const;

/** Of extent records. */
export const EXTENT_FLAG = { dirty: 1, incomplete: 2, fresh: 4 } as const;
/** Of presence records: a block of the range may truly hold zeros, so zeros prove nothing. */
export const PRESENCE_FLAG = { mayBeZeros: 1 } as const;
/** Slot of an extent that holds no data. */
export const NO_SLOT = 0xffff_ffff;

export type JournalRecord =
  | {
      readonly type: 'file';
      readonly diskId: number;
      readonly uuidChecksum: number;
      readonly number: number;
    }
  | {
      readonly type: 'extent';
      readonly flags: number;
      readonly volume: number;
      readonly layer: number;
      readonly extent: number;
      readonly pg: number;
      readonly slot: number;
      readonly epoch: number;
    }
  | {
      readonly type: 'presence';
      readonly flags: number;
      readonly volume: number;
      readonly layer: number;
      readonly extent: number;
      readonly block: number;
      readonly count: number;
      readonly presence: number;
      /** What the whole range was before. */
      readonly prior: number;
    }
  | {
      readonly type: 'removal';
      readonly volume: number;
      readonly layer: number;
      readonly extent: number;
    }
  | { readonly type: 'epoch'; readonly pg: number; readonly epoch: number }
  /** Generation 0: the volume is forgotten. */
  | { readonly type: 'generation'; readonly volume: number; readonly generation: number }
  | { readonly type: 'settled'; readonly through: number }
  | { readonly type: 'synced'; readonly through: number }
  | { readonly type: 'end' };

/** Writes the record at `offset` of `target`; returns its length. */
export function encodeRecord(
  record: JournalRecord,
  sequence: number,
  target: Buffer,
  offset: number,
): number {
  const body = offset + HEADER_BYTES;
  let flags = 0;
  let end = body;
  switch (record.type) {
    case 'file':
      target.writeUInt32LE(JOURNAL_MAGIC, body);
      target.writeUInt32LE(JOURNAL_VERSION, body + 4);
      target.writeUInt32LE(record.diskId, body + 8);
      target.writeUInt32LE(record.uuidChecksum, body + 12);
      end = target.writeUInt32LE(record.number, body + 16);
      break;
    case 'extent':
      flags = record.flags;
      writeAddress(record, target, body);
      target.writeUInt32LE(record.pg, body + 12);
      target.writeUInt32LE(record.slot, body + 16);
      end = target.writeUInt32LE(record.epoch, body + 20);
      break;
    case 'presence':
      flags = record.flags;
      writeAddress(record, target, body);
      target.writeUInt16LE(record.block, body + 12);
      target.writeUInt16LE(record.count, body + 14);
      target.writeUInt16LE(record.presence, body + 16);
      end = target.writeUInt16LE(record.prior, body + 18);
      break;
    case 'removal':
      end = writeAddress(record, target, body);
      break;
    case 'epoch':
      target.writeUInt32LE(record.pg, body);
      end = target.writeUInt32LE(record.epoch, body + 4);
      break;
    case 'generation':
      target.writeUInt32LE(record.volume, body);
      end = target.writeUInt32LE(record.generation, body + 4);
      break;
    case 'settled':
    case 'synced':
      end = writeLong(record.through, target, body);
      break;
    case 'end':
      break;
  }
  const length = end - offset;
  assert(length <= RECORD_BYTES_MAX, 'a record is at most as long as its bound', { length });
  target.writeUInt16LE(length, offset + 4);
  target[offset + 6] = RECORD[record.type];
  target[offset + 7] = flags;
  writeLong(sequence, target, offset + 8);
  target.writeUInt32LE(crc32c(target.subarray(offset + 4, end)), offset);
  return length;
}

/** The record at `offset`, or null when there is none that is whole. */
export function decodeRecord(
  source: Buffer,
  offset: number,
): { readonly record: JournalRecord; readonly sequence: number; readonly length: number } | null {
  if (offset + HEADER_BYTES > source.length) return null;
  const length = source.readUInt16LE(offset + 4);
  if (length < HEADER_BYTES || length > RECORD_BYTES_MAX || offset + length > source.length)
    return null;
  if (source.readUInt32LE(offset) !== crc32c(source.subarray(offset + 4, offset + length)))
    return null;
  const record = decodeBody(source, offset, length);
  if (record === null) return null;
  const sequence = readLong(source, offset + 8);
  return Number.isSafeInteger(sequence) ? { record, sequence, length } : null;
}

const BODY_BYTES: Readonly<Record<number, number>> = {
  [RECORD.file]: 20,
  [RECORD.extent]: 24,
  [RECORD.presence]: 20,
  [RECORD.removal]: 12,
  [RECORD.epoch]: 8,
  [RECORD.generation]: 8,
  [RECORD.settled]: 8,
  [RECORD.end]: 0,
  [RECORD.synced]: 8,
};

function decodeBody(source: Buffer, offset: number, length: number): JournalRecord | null {
  const type = source[offset + 6] ?? 0;
  const flags = source[offset + 7] ?? 0;
  const body = offset + HEADER_BYTES;
  if (BODY_BYTES[type] !== length - HEADER_BYTES) return null;
  switch (type) {
    case RECORD.file:
      if (source.readUInt32LE(body) !== JOURNAL_MAGIC) return null;
      if (source.readUInt32LE(body + 4) !== JOURNAL_VERSION) return null;
      return {
        type: 'file',
        diskId: source.readUInt32LE(body + 8),
        uuidChecksum: source.readUInt32LE(body + 12),
        number: source.readUInt32LE(body + 16),
      };
    case RECORD.extent:
      return {
        type: 'extent',
        flags,
        ...readAddress(source, body),
        pg: source.readUInt32LE(body + 12),
        slot: source.readUInt32LE(body + 16),
        epoch: source.readUInt32LE(body + 20),
      };
    case RECORD.presence:
      return decodePresence(source, body, flags);
    case RECORD.removal:
      return { type: 'removal', ...readAddress(source, body) };
    case RECORD.epoch:
      return { type: 'epoch', pg: source.readUInt32LE(body), epoch: source.readUInt32LE(body + 4) };
    case RECORD.generation:
      return {
        type: 'generation',
        volume: source.readUInt32LE(body),
        generation: source.readUInt32LE(body + 4),
      };
    case RECORD.settled:
      return { type: 'settled', through: readLong(source, body) };
    case RECORD.synced:
      return { type: 'synced', through: readLong(source, body) };
    case RECORD.end:
      return { type: 'end' };
    default:
      return null;
  }
}

function decodePresence(source: Buffer, body: number, flags: number): JournalRecord | null {
  const block = source.readUInt16LE(body + 12);
  const count = source.readUInt16LE(body + 14);
  const presence = source.readUInt16LE(body + 16);
  const prior = source.readUInt16LE(body + 18);
  if (count === 0 || block + count > BLOCKS_PER_EXTENT || presence > 2 || prior > 2) return null;
  return { type: 'presence', flags, ...readAddress(source, body), block, count, presence, prior };
}

interface Address {
  readonly volume: number;
  readonly layer: number;
  readonly extent: number;
}

function writeAddress(address: Address, target: Buffer, offset: number): number {
  target.writeUInt32LE(address.volume, offset);
  target.writeUInt32LE(address.layer, offset + 4);
  return target.writeUInt32LE(address.extent, offset + 8);
}

function readAddress(source: Buffer, offset: number): Address {
  return {
    volume: source.readUInt32LE(offset),
    layer: source.readUInt32LE(offset + 4),
    extent: source.readUInt32LE(offset + 8),
  };
}

/** A safe integer as two halves. */
function writeLong(value: number, target: Buffer, offset: number): number {
  target.writeUInt32LE(value % 0x1_0000_0000, offset);
  return target.writeUInt32LE(Math.floor(value / 0x1_0000_0000), offset + 4);
}

function readLong(source: Buffer, offset: number): number {
  return source.readUInt32LE(offset + 4) * 0x1_0000_0000 + source.readUInt32LE(offset);
}
