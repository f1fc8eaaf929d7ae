/**
 * Bytes of the journal's nodes. A document is JSON, compressed when that pays; one that is larger than a
 * node is cut into parts, and a manifest names them. First byte of a node: `i` JSON as it is, `z` the same
 * compressed (gzip), `m` a manifest; parts have no first byte of their own, they are slices of an `i` or `z`.
 */
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { NodeName } from './coordinator.ts';
import { TRANSACTION_BYTES_MAX } from './coordinator.ts';

const compress = promisify(gzip);
const expand = promisify(gunzip);

/** Below this the small win is not worth the loss of a readable node. */
const COMPRESS_FROM_BYTES = 4096;
/** One document, expanded. V8's strings end at 512 MiB; the largest cluster's whole state is a tenth of this. */
export const DOCUMENT_BYTES_MAX = 256 * 1024 * 1024;
const [INLINE, COMPRESSED, MANIFEST] = [...Buffer.from('izm')];

/** Throws `invalid-argument` for one that no store of ours can hold. */
export async function encodeDocument(text: string): Promise<Buffer> {
  const plain = Buffer.from(`i${text}`);
  if (plain.length > DOCUMENT_BYTES_MAX) {
    throw new StorageError(
      'invalid-argument',
      `Metadata of ${plain.length} bytes cannot be stored at once, allowed: ${DOCUMENT_BYTES_MAX} bytes`,
      { bytes: plain.length, allowed: DOCUMENT_BYTES_MAX },
    );
  }
  if (plain.length < COMPRESS_FROM_BYTES) return plain;
  return Buffer.concat([Buffer.from('z'), await compress(plain.subarray(1), { level: 1 })]);
}

/** Slices that fit into a node each. */
export function cutDocument(bytes: Buffer): readonly Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += TRANSACTION_BYTES_MAX) {
    parts.push(bytes.subarray(at, at + TRANSACTION_BYTES_MAX));
  }
  return parts;
}

export function encodeManifest(parts: readonly NodeName[]): Buffer {
  return Buffer.from(`m${JSON.stringify(parts)}`);
}

/** Names of the parts when the node is a manifest, null when it is the document itself. */
export function partsOf(bytes: Buffer, name: string): readonly NodeName[] | null {
  if (bytes[0] !== MANIFEST) return null;
  const parts = parseJson(bytes.toString('utf8', 1), name);
  if (!isPartList(parts)) throw damaged(name, 'it is no list of parts');
  return parts;
}

export function isPartList(value: unknown): value is readonly NodeName[] {
  return (
    Array.isArray(value) &&
    value.every((part) => typeof part === 'string' && /^parts\/[\w-]+$/.test(part))
  );
}

export async function decodeDocument(bytes: Buffer, name: string): Promise<unknown> {
  if (bytes[0] === INLINE) return parseJson(bytes.toString('utf8', 1), name);
  if (bytes[0] !== COMPRESSED) throw damaged(name, `it begins with byte ${bytes[0] ?? 'none'}`);
  let plain: Buffer;
  try {
    plain = await expand(bytes.subarray(1), { maxOutputLength: DOCUMENT_BYTES_MAX });
  } catch (error) {
    throw damaged(name, describeError(error));
  }
  return parseJson(plain.toString('utf8'), name);
}

export function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw damaged(name, describeError(error));
  }
}

export function damaged(name: string, why: string): StorageError {
  return new StorageError('corrupt', `Metadata "${name}" cannot be read: ${why}`, { name });
}
