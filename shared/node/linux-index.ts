/**
 * `DiskIndex` on LMDB. Every commit is synced before it is reported (LMDB's overlapping sync is off), on LMDB's own
 * thread; reads see memory-mapped pages and cost microseconds.
 */

import type { RootDatabase } from 'lmdb';
import { open } from 'lmdb';
import type { DiskFailure, DiskIndex, IndexChange } from '../ports.ts';
import { DiskError } from '../ports.ts';
import { toDiskError } from './linux-file.ts';
import { findLmdbDamage } from './lmdb-file.ts';

/** LMDB gives numbers: errno where the system refused, its own where the map is full. */
const CODES: Readonly<Record<string, string>> = {
  '5': 'EIO',
  '28': 'ENOSPC',
  '30': 'EROFS',
  '122': 'EDQUOT',
  '-30792': 'ENOSPC',
};

function toIndexError(error: unknown, what: string): DiskError {
  const { code, message } = toDiskError(error, what);
  return new DiskError(CODES[code] ?? code, message);
}

export class LinuxIndex implements DiskIndex {
  readonly #database: RootDatabase<Buffer, Buffer>;
  readonly #path: string;

  /** `path`: a folder, created when absent. Throws `DiskError`. */
  constructor(path: string) {
    this.#path = path;
    const damage = findLmdbDamage(path);
    if (damage !== null) {
      throw new DiskError('EUCLEAN', `Opening the index "${path}" failed: ${damage}`);
    }
    try {
      this.#database = open<Buffer, Buffer>({
        path,
        encoding: 'binary',
        keyEncoding: 'binary',
        noSubdir: false,
        overlappingSync: false,
        // Nothing outside this process opens it; 1 reader per transaction in flight is plenty.
        maxReaders: 16,
        // Values go out as copies and are never kept by the binding.
        cache: false,
      });
    } catch (error) {
      throw toIndexError(error, `Opening the index "${path}"`);
    }
  }

  get(key: Uint8Array): Uint8Array | null {
    try {
      return this.#database.getBinary(toBuffer(key)) ?? null;
    } catch (error) {
      throw toIndexError(error, `Reading the index "${this.#path}"`);
    }
  }

  *range(from: Uint8Array, to: Uint8Array): Iterable<{ key: Uint8Array; value: Uint8Array }> {
    const entries = this.#database.getRange({ start: toBuffer(from), end: toBuffer(to) });
    for (const { key, value } of entries) yield { key, value: Uint8Array.from(value) };
  }

  commit(changes: readonly IndexChange[], done: (failure: DiskFailure | null) => void): void {
    const database = this.#database;
    const transaction = database.transaction(() => {
      for (const { key, value } of changes) {
        if (value === null) void database.remove(toBuffer(key));
        else void database.put(toBuffer(key), toBuffer(value));
      }
    });
    transaction.then(
      () => done(null),
      (error: unknown) => done(toIndexError(error, `Committing to the index "${this.#path}"`)),
    );
  }

  async close(): Promise<void> {
    await this.#database.close();
  }
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
