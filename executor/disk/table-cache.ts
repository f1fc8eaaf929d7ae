/**
 * Presence and checksums of the extents in use: one table of 4352 bytes per loaded extent, in
 * chunks that live as long as the store. A table that is newer than the index is pinned; of the
 * others the one that was not used for longest (by the clock's hand) makes room.
 */
import { assert } from '../../shared/base/assert.ts';
import type { ExtentCatalog } from './extent-catalog.ts';
import { TABLE_BYTES } from './index-records.ts';

const TABLE = {
  used: 1,
  /** Newer than the index. */
  dirty: 2,
  /** A commit that holds its content is under way. */
  saving: 4,
} as const;

/** Tables per allocation: 272 KiB each. */
const CHUNK_TABLES = 64;

export class TableCache {
  readonly #catalog: ExtentCatalog;
  readonly #countMax: number;
  readonly #tables: Uint8Array[] = [];
  #flags: number[] = [];
  #rows: number[] = [];
  readonly #free: number[] = [];
  #hand = 0;
  pinnedCount = 0;

  constructor(catalog: ExtentCatalog, countMax: number) {
    this.#catalog = catalog;
    this.#countMax = countMax;
  }

  /** Null when the row's table is not loaded. The bytes may be changed; say so with `markDirty`. */
  find(row: number): Uint8Array | null {
    const table = this.#catalog.table[row] ?? -1;
    if (table < 0) return null;
    this.#flags[table] = (this.#flags[table] ?? 0) | TABLE.used;
    return this.#tables[table] ?? null;
  }

  /** A table for the row, with undefined content. */
  assign(row: number): Uint8Array {
    assert(this.#catalog.table[row] === -1, 'a row has one table', { row });
    const table = this.#free.pop() ?? this.#evict() ?? this.#grow();
    this.#rows[table] = row;
    this.#flags[table] = TABLE.used;
    this.#catalog.table[row] = table;
    return this.#tables[table] as Uint8Array;
  }

  markDirty(row: number): void {
    const table = this.#catalog.table[row] ?? -1;
    const before = this.#flags[table] ?? 0;
    if ((before & (TABLE.dirty | TABLE.saving)) === 0) this.pinnedCount += 1;
    this.#flags[table] = before | TABLE.dirty;
  }

  isDirty(row: number): boolean {
    const table = this.#catalog.table[row] ?? -1;
    return table >= 0 && ((this.#flags[table] ?? 0) & TABLE.dirty) !== 0;
  }

  /** Its content of now is about to be committed. */
  beginSave(row: number): void {
    const table = this.#catalog.table[row] ?? -1;
    this.#flags[table] = ((this.#flags[table] ?? 0) & ~TABLE.dirty) | TABLE.saving;
  }

  /** The commit is over. The row may have been removed meanwhile: then there is nothing to do. */
  endSave(row: number): void {
    const table = this.#catalog.table[row] ?? -1;
    if (table < 0 || this.#rows[table] !== row) return;
    const before = this.#flags[table] ?? 0;
    if ((before & TABLE.saving) === 0) return;
    this.#flags[table] = before & ~TABLE.saving;
    if ((before & TABLE.dirty) === 0) this.pinnedCount -= 1;
  }

  /** Forgets the row's table, saved or not. */
  drop(row: number): void {
    const table = this.#catalog.table[row] ?? -1;
    if (table < 0) return;
    if (((this.#flags[table] ?? 0) & (TABLE.dirty | TABLE.saving)) !== 0) this.pinnedCount -= 1;
    this.#release(table);
    this.#free.push(table);
  }

  #release(table: number): void {
    this.#catalog.table[this.#rows[table] ?? -1] = -1;
    this.#rows[table] = -1;
    this.#flags[table] = 0;
  }

  /** Null while the cache may still grow, and when everything in it is pinned. */
  #evict(): number | null {
    if (this.#tables.length < this.#countMax) return null;
    // Two rounds: the first one takes the marks of use away.
    for (let step = 0; step < 2 * this.#tables.length; step += 1) {
      const table = this.#hand;
      this.#hand = (this.#hand + 1) % this.#tables.length;
      const flags = this.#flags[table] ?? 0;
      if ((flags & (TABLE.dirty | TABLE.saving)) !== 0) continue;
      if ((flags & TABLE.used) !== 0) {
        this.#flags[table] = flags & ~TABLE.used;
        continue;
      }
      this.#release(table);
      return table;
    }
    return null;
  }

  /** Beyond `countMax` only while everything is pinned: a checkpoint is due then (checkpoint.ts). */
  #grow(): number {
    const chunk = new Uint8Array(CHUNK_TABLES * TABLE_BYTES);
    const first = this.#tables.length;
    for (let index = 0; index < CHUNK_TABLES; index += 1) {
      this.#tables.push(chunk.subarray(index * TABLE_BYTES, (index + 1) * TABLE_BYTES));
      this.#flags.push(0);
      this.#rows.push(-1);
      if (index > 0) this.#free.push(first + index);
    }
    return first;
  }
}
