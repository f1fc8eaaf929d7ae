/**
 * `superblock.json`: whose disk this is. Written once, when the store is made, and never changed. It
 * is JSON so that people can read it, in one canonical spelling so that any changed byte shows.
 */
import { crc32c } from '../../shared/base/crc32c.ts';
import { StorageError } from '../../shared/base/errors.ts';
import type { Disk } from '../../shared/ports.ts';

export const SUPERBLOCK_NAME = 'superblock.json';
/** Of everything below the directory: superblock, index records, slabs and journal together. */
export const FORMAT_VERSION = 1;
const MAGIC = 'cistern-disk';
/** Nothing that we write comes near; a larger file is not ours. */
const SUPERBLOCK_BYTES_MAX = 4096;

export interface Superblock {
  readonly clusterId: string;
  readonly diskId: number;
  readonly uuid: string;
  /** At the time of creation, for people; the bound in force comes with every opening. */
  readonly capacityBytes: number;
}

export function encodeSuperblock(superblock: Superblock): Uint8Array {
  const { clusterId, diskId, uuid, capacityBytes } = superblock;
  const fields = { magic: MAGIC, format: FORMAT_VERSION, clusterId, diskId, uuid, capacityBytes };
  const checksum = crc32c(new TextEncoder().encode(JSON.stringify(fields)));
  const text = JSON.stringify(
    { ...fields, crc32c: checksum.toString(16).padStart(8, '0') },
    null,
    2,
  );
  return new TextEncoder().encode(`${text}\n`);
}

/** Throws as `decodeSuperblock`; a file that cannot be one is not read at all. */
export function readSuperblock(disk: Disk): Superblock {
  const file = disk.open(SUPERBLOCK_NAME, { create: false });
  const size = file.size();
  file.close();
  if (size > SUPERBLOCK_BYTES_MAX) {
    throw new StorageError(
      'corrupt',
      `Superblock has ${size} bytes, at most ${SUPERBLOCK_BYTES_MAX} expected`,
    );
  }
  return decodeSuperblock(disk.readFile(SUPERBLOCK_NAME));
}

/** Throws `corrupt` when it is damaged, `foreign-data` when it is of another program or version. */
export function decodeSuperblock(bytes: Uint8Array): Superblock {
  const fields = parse(bytes);
  if (fields['magic'] !== MAGIC) {
    throw new StorageError(
      'foreign-data',
      `Superblock has magic ${JSON.stringify(fields['magic'] ?? null)}, expected "${MAGIC}"`,
    );
  }
  const { clusterId, diskId, uuid, capacityBytes, format } = fields;
  if (
    typeof format === 'number' &&
    Number.isInteger(format) &&
    format !== FORMAT_VERSION &&
    isIntact(bytes, fields)
  ) {
    throw new StorageError(
      'foreign-data',
      `Superblock has format ${format}, this program knows ${FORMAT_VERSION}`,
    );
  }
  if (
    typeof clusterId !== 'string' ||
    typeof uuid !== 'string' ||
    typeof diskId !== 'number' ||
    typeof capacityBytes !== 'number'
  ) {
    throw new StorageError('corrupt', 'Superblock lacks a field or holds one of the wrong type');
  }
  const superblock = { clusterId, diskId, uuid, capacityBytes };
  const expected = encodeSuperblock(superblock);
  if (bytes.length !== expected.length || bytes.some((byte, index) => byte !== expected[index])) {
    throw new StorageError('corrupt', 'Superblock does not match its own checksum');
  }
  return superblock;
}

function parse(bytes: Uint8Array): Record<string, unknown> {
  if (bytes.length <= SUPERBLOCK_BYTES_MAX) {
    try {
      const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
        return value as Record<string, unknown>;
      }
    } catch {
      // Not JSON: reported below like every other shape that is none of ours.
    }
  }
  throw new StorageError('corrupt', `Superblock of ${bytes.length} bytes is no JSON object`);
}

/** Whether the checksum fits the other fields as they are: a newer format, not a damaged one. */
function isIntact(bytes: Uint8Array, fields: Record<string, unknown>): boolean {
  const { crc32c: stored, ...rest } = fields;
  const checksum = crc32c(new TextEncoder().encode(JSON.stringify(rest)));
  return bytes.length > 0 && stored === checksum.toString(16).padStart(8, '0');
}
