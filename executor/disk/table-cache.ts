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
} as const;

/** Tables per allocation: 272 KiB each. */
const CHUNK_TABLES = 64;

export class TableCache {
  readonly #catalog: ExtentCatalog;
  readonly #countMax: number;
  readonly #tables: Uint8Array[] = [];
  readonly #flags: number[] = [];
  readonly #rows: number[] = [];
  /** Commits under way that hold its content. */
  readonly #saves: number[] = [];
  /** Differs with every assignment of a table: a save of the last owner's does not end a new owner's. */
  readonly #tokens: number[] = [];
  #nextToken = 1;
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
    this.#tokens[table] = this.#nextToken;
    this.#nextToken += 1;
    this.#catalog.table[row] = table;
    return this.#tables[table] as Uint8Array;
  }

  markDirty(row: number): void {
    const table = this.#catalog.table[row] ?? -1;
    const before = this.#flags[table] ?? 0;
    if (!this.#isPinned(table)) this.pinnedCount += 1;
    this.#flags[table] = before | TABLE.dirty;
  }

  isDirty(row: number): boolean {
    const table = this.#catalog.table[row] ?? -1;
    return table >= 0 && ((this.#flags[table] ?? 0) & TABLE.dirty) !== 0;
  }

  /** Its content of now is about to be committed. Returns what `endSave` wants. */
  beginSave(row: number): number {
    const table = this.#catalog.table[row] ?? -1;
    this.#flags[table] = (this.#flags[table] ?? 0) & ~TABLE.dirty;
    this.#saves[table] = (this.#saves[table] ?? 0) + 1;
    return this.#tokens[table] ?? 0;
  }

  /** The commit is over. The row may have been removed meanwhile, or even made again. */
  endSave(row: number, token: number, isSaved: boolean): void {
    const table = this.#catalog.table[row] ?? -1;
    if (table < 0 || this.#tokens[table] !== token) return;
    this.#saves[table] = (this.#saves[table] ?? 0) - 1;
    if (!isSaved) this.#flags[table] = (this.#flags[table] ?? 0) | TABLE.dirty;
    if (!this.#isPinned(table)) this.pinnedCount -= 1;
  }

  /** Forgets the row's table, saved or not. */
  drop(row: number): void {
    const table = this.#catalog.table[row] ?? -1;
    if (table < 0) return;
    if (this.#isPinned(table)) this.pinnedCount -= 1;
    this.#release(table);
    this.#free.push(table);
  }

  #release(table: number): void {
    this.#catalog.table[this.#rows[table] ?? -1] = -1;
    this.#rows[table] = -1;
    this.#flags[table] = 0;
    this.#saves[table] = 0;
  }

  #isPinned(table: number): boolean {
    return ((this.#flags[table] ?? 0) & TABLE.dirty) !== 0 || (this.#saves[table] ?? 0) > 0;
  }

  /** Null while the cache may still grow, and when everything in it is pinned. */
  #evict(): number | null {
    if (this.#tables.length < this.#countMax) return null;
    // Two rounds: the first one takes the marks of use away.
    for (let step = 0; step < 2 * this.#tables.length; step += 1) {
      const table = this.#hand;
      this.#hand = (this.#hand + 1) % this.#tables.length;
      const flags = this.#flags[table] ?? 0;
      if (this.#isPinned(table)) continue;
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
      this.#saves.push(0);
      this.#tokens.push(0);
      if (index > 0) this.#free.push(first + index);
    }
    return first;
  }
}
