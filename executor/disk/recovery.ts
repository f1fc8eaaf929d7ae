/**
 * Opens the books of a store: the index, and after an unclean end the journal on top of it.
 *
 * Power loss keeps any subset of what was not synced, so a journal record may be there although the
 * data that it speaks of is not. Slots are zeros when they are given out. So a block that was allocated
 * after the last settled point, is all zeros on the disk, and was not declared to be zeros, was
 * never written: it becomes again what it was before. (After the death of the process alone, all
 * data is there, and nothing is undone.)
 *
 * Checksums of extents that were dirty or incomplete are marked stale (checksum-rebuilder.ts).
 */
import { StorageError } from '../../shared/base/errors.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import type { DiskIndex } from '../../shared/ports.ts';
import { PRESENCE } from '../../shared/wire/data-protocol.ts';
import { isZero } from './checksum-rebuilder.ts';
import type { ExtentCatalog } from './extent-catalog.ts';
import { ROW } from './extent-catalog.ts';
import {
  decodeEntry,
  decodeEntryKey,
  decodeNumber,
  decodeNumberKey,
  decodeTable,
  ENTRY_FLAG,
  JOURNAL_KEY,
  keysOf,
  TABLE_BYTES,
  tableKey,
} from './index-records.ts';
import type { JournalTrail } from './journal-reader.ts';
import type { JournalRecord } from './journal-records.ts';
import { EXTENT_FLAG, NO_SLOT, PRESENCE_FLAG } from './journal-records.ts';
import { countPresence, PRESENCE_BYTES, presenceAt, setPresence } from './presence.ts';
import type { SlabFiles } from './slab-files.ts';
import { slotOffset } from './slab-files.ts';
import type { ExtentAddress } from './store-types.ts';
import type { TableCache } from './table-cache.ts';

export interface Books {
  readonly index: DiskIndex;
  readonly catalog: ExtentCatalog;
  readonly tables: TableCache;
  readonly epochs: Map<number, number>;
  readonly generations: Map<number, number>;
}

export interface Replayed {
  /** Index entries that must go. */
  readonly removed: Map<string, ExtentAddress>;
  readonly changedEpochs: Set<number>;
  readonly changedGenerations: Set<number>;
  readonly undoneBlocks: number;
}

/** A file per second for 68 years: a higher number was never given, and the next ones must fit as well. */
const JOURNAL_FILES_MAX = 2 ** 31;

/** Fills the catalog, epochs and generations; returns the first journal file still needed. Throws `corrupt`. */
export function loadIndex(books: Books): number {
  const { index, catalog } = books;
  const entries = keysOf('e');
  for (const { key, value } of index.range(entries.from, entries.to)) {
    const address = decodeEntryKey(key);
    const entry = decodeEntry(value);
    if (address === null || entry === null) {
      throw new StorageError(
        'corrupt',
        `Index entry "${Buffer.from(key).toString('hex')}" is damaged`,
      );
    }
    const row = catalog.add(address, entry.pg);
    catalog.setSlot(row, entry.slot);
    catalog.epoch[row] = entry.epoch;
    catalog.dataBlocks[row] = entry.dataBlocks;
    catalog.zeroBlocks[row] = entry.zeroBlocks;
    catalog.setFlags(row, rowFlags(entry.flags), 0);
  }
  loadNumbers(index, 'p', books.epochs);
  loadNumbers(index, 'g', books.generations);
  const first = index.get(JOURNAL_KEY);
  if (first === null) return 1;
  const number = decodeNumber(first);
  if (number === null) throw new StorageError('corrupt', 'Index entry of the journal is damaged');
  if (number === 0 || number > JOURNAL_FILES_MAX) {
    const allowed = `1 to ${JOURNAL_FILES_MAX}`;
    throw new StorageError('corrupt', `Index names journal file "${number}", expected ${allowed}`);
  }
  return number;
}

function rowFlags(entryFlags: number): number {
  return (
    ((entryFlags & ENTRY_FLAG.dirty) === 0 ? 0 : ROW.dirty) |
    ((entryFlags & ENTRY_FLAG.incomplete) === 0 ? 0 : ROW.incomplete) |
    ((entryFlags & ENTRY_FLAG.stale) === 0 ? 0 : ROW.stale)
  );
}

function loadNumbers(index: DiskIndex, letter: 'p' | 'g', target: Map<number, number>): void {
  const { from, to } = keysOf(letter);
  for (const { key, value } of index.range(from, to)) {
    const id = decodeNumberKey(key);
    const number = decodeNumber(value);
    if (id === null || number === null) {
      throw new StorageError(
        'corrupt',
        `Index entry "${Buffer.from(key).toString('hex')}" is damaged`,
      );
    }
    target.set(id, number);
  }
}

/** Blocks of one row that were allocated after the settled point, and what they were before. */
interface Doubt {
  readonly isDoubted: Uint8Array;
  readonly prior: Uint8Array;
}

export class JournalReplay {
  readonly #books: Books;
  readonly #settledThrough: number;
  readonly #touched = new Set<number>();
  readonly #doubts = new Map<number, Doubt>();
  readonly #removed = new Map<string, ExtentAddress>();
  readonly #changedEpochs = new Set<number>();
  readonly #changedGenerations = new Set<number>();

  constructor(books: Books, settledThrough: number) {
    this.#books = books;
    this.#settledThrough = settledThrough;
  }

  /** Replays, looks at the doubted blocks in the slabs, and marks stale what may be. */
  async run(trail: JournalTrail, slabs: SlabFiles): Promise<Replayed> {
    trail.replay((record, sequence) => this.#apply(record, sequence));
    const undoneBlocks = await this.#undoLost(slabs);
    const { catalog } = this.#books;
    for (const row of this.#touched) this.#recount(row);
    for (let row = 0; row < catalog.rowEnd; row += 1) {
      if (catalog.hasFlag(row, ROW.dirty | ROW.incomplete)) {
        catalog.setFlags(row, ROW.stale | ROW.changed, 0);
      }
    }
    return {
      removed: this.#removed,
      changedEpochs: this.#changedEpochs,
      changedGenerations: this.#changedGenerations,
      undoneBlocks,
    };
  }

  #apply(record: JournalRecord, sequence: number): void {
    switch (record.type) {
      case 'extent':
        this.#applyExtent(record);
        break;
      case 'presence':
        this.#applyPresence(record, sequence);
        break;
      case 'removal':
        this.#remove(record);
        break;
      case 'epoch':
        this.#books.epochs.set(record.pg, record.epoch);
        this.#changedEpochs.add(record.pg);
        break;
      case 'generation':
        if (record.generation === 0) this.#books.generations.delete(record.volume);
        else this.#books.generations.set(record.volume, record.generation);
        this.#changedGenerations.add(record.volume);
        break;
      case 'file':
      case 'settled':
      case 'synced':
      case 'end':
        break;
    }
  }

  #applyExtent(record: JournalRecord & { readonly type: 'extent' }): void {
    const { catalog } = this.#books;
    if ((record.flags & EXTENT_FLAG.fresh) !== 0) this.#remove(record);
    let row = catalog.find(record.volume, record.layer, record.extent);
    if (row < 0) {
      // Not fresh and not there: a later record removes it, and the index knows that already.
      row = catalog.add(record, record.pg);
      // All absent, but with the index's checksums: it may have been cleaned since, and then they count.
      this.#tableOf(row).fill(0, 0, PRESENCE_BYTES);
      this.#books.tables.markDirty(row);
      this.#touched.add(row);
      this.#removed.delete(nameOfExtent(record));
    }
    catalog.setSlot(row, record.slot);
    catalog.epoch[row] = record.epoch;
    const set =
      ((record.flags & EXTENT_FLAG.dirty) === 0 ? 0 : ROW.dirty) |
      ((record.flags & EXTENT_FLAG.incomplete) === 0 ? 0 : ROW.incomplete);
    catalog.setFlags(row, set | ROW.changed, ROW.dirty | ROW.incomplete);
  }

  #applyPresence(record: JournalRecord & { readonly type: 'presence' }, sequence: number): void {
    const { catalog, tables } = this.#books;
    const row = catalog.find(record.volume, record.layer, record.extent);
    // As above: a later record removes it.
    if (row < 0) return;
    const table = this.#tableOf(row);
    setPresence(table, record.block, record.count, record.presence);
    tables.markDirty(row);
    catalog.setFlags(row, ROW.changed, 0);
    this.#touched.add(row);
    if (sequence <= this.#settledThrough) return;
    const isDoubtful =
      record.presence === PRESENCE.data &&
      record.prior !== PRESENCE.data &&
      (record.flags & PRESENCE_FLAG.mayBeZeros) === 0;
    let doubt = this.#doubts.get(row);
    if (doubt === undefined) {
      if (!isDoubtful) return;
      doubt = {
        isDoubted: new Uint8Array(BLOCKS_PER_EXTENT),
        prior: new Uint8Array(BLOCKS_PER_EXTENT),
      };
      this.#doubts.set(row, doubt);
    }
    doubt.isDoubted.fill(isDoubtful ? 1 : 0, record.block, record.block + record.count);
    doubt.prior.fill(record.prior, record.block, record.block + record.count);
  }

  #remove(address: ExtentAddress): void {
    const { catalog, tables } = this.#books;
    const { volume, layer, extent } = address;
    this.#removed.set(nameOfExtent(address), { volume, layer, extent });
    const row = catalog.find(volume, layer, extent);
    if (row < 0) return;
    this.#touched.delete(row);
    this.#doubts.delete(row);
    tables.drop(row);
    catalog.setSlot(row, NO_SLOT);
    catalog.remove(row);
  }

  #tableOf(row: number): Uint8Array {
    const { catalog, tables, index } = this.#books;
    const found = tables.find(row);
    if (found !== null) return found;
    const address = catalog.addressOf(row);
    const value = index.get(tableKey(address));
    const table = tables.assign(row);
    if (value === null) return table.fill(0, 0, TABLE_BYTES);
    if (decodeTable(value, table)) return table;
    throw new StorageError(
      'corrupt',
      `Table of extent ${nameOfExtent(address)} is damaged in the index`,
    );
  }

  async #undoLost(slabs: SlabFiles): Promise<number> {
    const { catalog } = this.#books;
    const block = new Uint8Array(BLOCK_BYTES);
    let undone = 0;
    for (const [row, doubt] of this.#doubts) {
      const slot = catalog.slot[row] ?? NO_SLOT;
      const table = this.#tableOf(row);
      for (let at = 0; at < BLOCKS_PER_EXTENT; at += 1) {
        if (doubt.isDoubted[at] === 0 || presenceAt(table, at) !== PRESENCE.data) continue;
        if (slot !== NO_SLOT) {
          slabs.of(slot).file.readSync(block, slotOffset(slot) + at * BLOCK_BYTES);
          if (!isZero(block)) continue;
        }
        setPresence(table, at, 1, doubt.prior[at] ?? PRESENCE.absent);
        undone += 1;
      }
      // One extent at a time: whoever else lives in this process gets on.
      await Promise.resolve();
    }
    return undone;
  }

  #recount(row: number): void {
    const { catalog } = this.#books;
    const presence = this.#tableOf(row).subarray(0, PRESENCE_BYTES);
    catalog.dataBlocks[row] = countPresence(presence, 0, BLOCKS_PER_EXTENT, PRESENCE.data);
    catalog.zeroBlocks[row] = countPresence(presence, 0, BLOCKS_PER_EXTENT, PRESENCE.zero);
    if (catalog.slot[row] !== NO_SLOT || catalog.dataBlocks[row] === 0) return;
    const name = nameOfExtent(catalog.addressOf(row));
    throw new StorageError('corrupt', `Extent ${name} has data by the journal, and no slot for it`);
  }
}

function nameOfExtent(address: ExtentAddress): string {
  return `${address.volume}/${address.layer}/${address.extent}`;
}

/** Slots by owner; throws `corrupt` when two extents claim one. */
export function usedSlots(catalog: ExtentCatalog, slotCount: number): Uint8Array {
  const used = new Uint8Array(slotCount);
  for (let row = 0; row < catalog.rowEnd; row += 1) {
    const slot = catalog.slot[row] ?? NO_SLOT;
    if (!catalog.hasFlag(row, ROW.used) || slot === NO_SLOT || slot >= slotCount) continue;
    if (used[slot] === 1) {
      const name = nameOfExtent(catalog.addressOf(row));
      throw new StorageError(
        'corrupt',
        `Slot ${slot} belongs to extent ${name} and to another one`,
      );
    }
    used[slot] = 1;
  }
  return used;
}
