/**
 * The last map of a cluster as executors keep it on their disks (docs/decisions/0008): a header with a
 * checksum, then a `map` message of the control link, facts included. Decoding is hostile: what is not
 * exactly such a record is refused, and a damaged one is as good as none.
 *
 *      0  u32  magic "CISM"
 *      4  u32  format
 *      8  u32  CRC32C of bytes 12 to the end of the body
 *     12  u32  length of the body
 *     16  u64  term
 *     24  u64  version
 *     32  u64  milliseconds since 1970 when it was written, for people
 *     40       body
 */
import { crc32c } from '../base/crc32c.ts';
import { StorageError } from '../base/errors.ts';

const MAGIC = 0x4d534943; // "CISM", little endian
const FORMAT = 1;
export const MAP_HEADER_BYTES = 40;
/** As control messages: a map of 128k PGs takes about 4 MiB. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;
export const DURABLE_MAP_BYTES_MAX = MAP_HEADER_BYTES + BODY_BYTES_MAX;

export interface DurableMap {
  readonly term: number;
  readonly version: number;
  readonly writtenAtMs: number;
  /** An encoded `map` message (control-codec.ts). */
  readonly body: Buffer;
}

export function encodeDurableMap(map: DurableMap): Buffer {
  const bytes = Buffer.allocUnsafe(MAP_HEADER_BYTES + map.body.length);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(FORMAT, 4);
  bytes.writeUInt32LE(map.body.length, 12);
  bytes.writeBigUInt64LE(BigInt(map.term), 16);
  bytes.writeBigUInt64LE(BigInt(map.version), 24);
  bytes.writeBigUInt64LE(BigInt(Math.max(0, Math.floor(map.writtenAtMs))), 32);
  map.body.copy(bytes, MAP_HEADER_BYTES);
  bytes.writeUInt32LE(crc32c(bytes.subarray(12)), 8);
  return bytes;
}

/** Throws `corrupt`, or `foreign-data` for another format. Bytes behind the body are ignored. */
export function decodeDurableMap(source: Uint8Array): DurableMap {
  const bytes = Buffer.from(source.buffer, source.byteOffset, source.byteLength);
  if (bytes.length < MAP_HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) {
    throw new StorageError('corrupt', `Kept map of ${bytes.length} bytes does not begin like one`);
  }
  const length = bytes.readUInt32LE(12);
  const end = MAP_HEADER_BYTES + length;
  if (length > BODY_BYTES_MAX || end > bytes.length) {
    const held = bytes.length - MAP_HEADER_BYTES;
    throw new StorageError(
      'corrupt',
      `Kept map names a body of ${length} bytes, ${held} are there`,
    );
  }
  if (bytes.readUInt32LE(8) !== crc32c(bytes.subarray(12, end))) {
    throw new StorageError('corrupt', 'Kept map does not match its own checksum');
  }
  const format = bytes.readUInt32LE(4);
  if (format !== FORMAT) {
    throw new StorageError(
      'foreign-data',
      `Kept map has format ${format}, this program knows ${FORMAT}`,
    );
  }
  const [term, version, writtenAtMs] = [16, 24, 32].map((at) => Number(bytes.readBigUInt64LE(at)));
  if (![term, version, writtenAtMs].every(Number.isSafeInteger)) {
    throw new StorageError('corrupt', 'Kept map has a term or version beyond all bounds');
  }
  return {
    term: term ?? 0,
    version: version ?? 0,
    writtenAtMs: writtenAtMs ?? 0,
    body: bytes.subarray(MAP_HEADER_BYTES, end),
  };
}

/** Whether `a` is the newer one: a later term decides, then the version. */
export function isNewerMap(
  a: Pick<DurableMap, 'term' | 'version'>,
  b: Pick<DurableMap, 'term' | 'version'>,
): boolean {
  return a.term !== b.term ? a.term > b.term : a.version > b.version;
}
