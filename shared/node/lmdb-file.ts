/**
 * A look at an LMDB file before the library maps it. LMDB trusts its file: opening one that holds garbage or
 * was cut short ends the whole process with a signal, and with it everything else that it serves.
 * This sees a damaged head and missing roots; damage in the pages between is beyond it.
 *
 * ```
 * page 0, page 1 (meta)  0 header, 24 bytes │ 24 magic │ 28 version │ 48 page size, 88 root of the free
 *                        list │ 136 root of the data │ 152 transaction; the higher one of the two counts
 * ```
 */
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';

export const LMDB_FILE = 'data.mdb';
const MAGIC = 0xbeefc0de;
/** Of the library's format; another one would need another look. */
const VERSION = 2;
const META_BYTES = 160;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;
/** An empty tree. */
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

/** What is wrong with the file in that folder; null when nothing shows, or when there is none yet. */
export function findLmdbDamage(folder: string): string | null {
  const path = join(folder, LMDB_FILE);
  if (!existsSync(path)) return null;
  const file = openSync(path, 'r');
  try {
    const sizeBytes = fstatSync(file).size;
    if (sizeBytes === 0) return null;
    const first = readMeta(file, 0);
    const pageBytes = first?.pageBytes ?? 0;
    if (first === null || pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX) {
      return `"${path}" does not begin like a database`;
    }
    const second = readMeta(file, pageBytes);
    if (second === null) return `"${path}" has a damaged second page`;
    const newest = second.transaction > first.transaction ? second : first;
    const pages = BigInt(Math.floor(sizeBytes / pageBytes));
    const missing = newest.roots.find((root) => root !== NO_PAGE && root >= pages);
    if (missing === undefined) return null;
    return `"${path}" was cut short: it has ${pages} pages and needs page ${missing}`;
  } finally {
    closeSync(file);
  }
}

interface Meta {
  readonly pageBytes: number;
  readonly roots: readonly bigint[];
  readonly transaction: bigint;
}

function readMeta(file: number, at: number): Meta | null {
  const bytes = Buffer.alloc(META_BYTES);
  if (readSync(file, bytes, 0, META_BYTES, at) < META_BYTES) return null;
  if (bytes.readUInt32LE(24) !== MAGIC || bytes.readUInt32LE(28) !== VERSION) return null;
  return {
    pageBytes: bytes.readUInt32LE(48),
    roots: [bytes.readBigUInt64LE(88), bytes.readBigUInt64LE(136)],
    transaction: bytes.readBigUInt64LE(152),
  };
}
