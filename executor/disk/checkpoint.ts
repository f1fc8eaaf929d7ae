/**
 * Moves what changed from the journal into the index, so that the journal stays short:
 *
 *   1. end the journal file, durably, and begin the next;
 *   2. sync the slabs: what the ended file allocated must not need to be doubted any more;
 *   3. in batches: take the rows and tables of now, sync the journal (the index is never newer than
 *      the durable journal), commit;
 *   4. commit the number of the first journal file still needed, then remove the older ones.
 *
 * Records are absolute, so replaying the new file over a newer index does no harm. It also saves single
 * tables for cleaning (extent-cleaner.ts).
 */
import { present } from '../../shared/base/assert.ts';
import type { DiskFailure, IndexChange } from '../../shared/ports.ts';
import { ROW } from './extent-catalog.ts';
import type { SyncDone } from './group-sync.ts';
import {
  ENTRY_FLAG,
  encodeEntry,
  encodeNumber,
  encodeTable,
  entryKey,
  epochKey,
  generationKey,
  JOURNAL_KEY,
  tableKey,
} from './index-records.ts';
import { journalName, journalNumber } from './journal.ts';
import { NO_SLOT } from './journal-records.ts';
import { isNoSpace } from './stamp-keeper.ts';
import type { StoreCore } from './store-core.ts';

/** Per commit: 1 MiB of tables, some milliseconds of the index's own thread. */
const BATCH_ROWS = 256;
/** Rows looked at per batch: a fraction of a millisecond. */
const SCAN_ROWS = 64 * 1024;
/** Until a checkpoint that met a full index is tried again. */
const RETRY_MS = 1000;

/** A table whose content is in a commit, and its token in the cache. */
interface SavedTable {
  readonly row: number;
  readonly token: number;
}

interface Commit {
  readonly changes: readonly IndexChange[];
  readonly saved: readonly SavedTable[];
  readonly done: SyncDone;
}

export class Checkpoint {
  readonly #core: StoreCore;
  #isRunning = false;
  #retryAt = 0;
  #waiters: SyncDone[] = [];
  /** Bounded: one of the checkpoint, one of cleaning, and one per extent whose stamp is being weakened. */
  #commits: Commit[] = [];
  #isCommitting = false;

  constructor(core: StoreCore) {
    this.#core = core;
  }

  /** Starts one when the journal is long or too many tables are pinned. Cheap: called after every change. */
  startWhenDue(): void {
    const { journal, tables, parts } = this.#core;
    const { tuning } = parts;
    if (this.#isRunning || this.#core.failure !== null) return;
    if (
      journal.bytes < tuning.journalCheckpointBytes &&
      tables.pinnedCount < tuning.pinnedTablesMax
    )
      return;
    if (this.#retryAt > 0 && parts.clock.now() < this.#retryAt) return;
    this.run((failure) => {
      if (failure !== null && !isNoSpace(failure)) this.#core.fail('Writing a checkpoint', failure);
    });
  }

  /** One that begins now; behind one under way, the next. */
  run(done: SyncDone): void {
    if (this.#isRunning) {
      this.#waiters.push(() => this.run(done));
      return;
    }
    this.#isRunning = true;
    const finish: SyncDone = (failure) => {
      this.#isRunning = false;
      this.#retryAt = failure === null ? 0 : this.#core.parts.clock.now() + RETRY_MS;
      const waiters = this.#waiters;
      this.#waiters = [];
      done(failure);
      for (const waiter of waiters) waiter(failure);
    };
    this.#core.journal.rotate((failure, ended) => {
      if (failure !== null) {
        finish(failure);
        return;
      }
      this.#core.syncSlabs((failed) => {
        if (failed === null) this.#saveRows(0, () => this.#saveRest(ended, finish), finish);
        else finish(failed);
      });
    });
  }

  /** Makes checksums and presence of these rows durable in the index, as they are now. */
  saveTables(rows: readonly number[], done: SyncDone): void {
    const changes: IndexChange[] = [];
    const saved: SavedTable[] = [];
    for (const row of rows) {
      if (!this.#core.tables.isDirty(row)) continue;
      saved.push(this.#saveTable(row, changes));
    }
    this.#commit(changes, saved, done);
  }

  /** The row's entry, for the index. */
  entryChange(row: number): IndexChange {
    const { catalog } = this.#core;
    const flags =
      (catalog.hasFlag(row, ROW.dirty) ? ENTRY_FLAG.dirty : 0) |
      (catalog.hasFlag(row, ROW.incomplete) ? ENTRY_FLAG.incomplete : 0) |
      (catalog.hasFlag(row, ROW.stale) ? ENTRY_FLAG.stale : 0);
    return {
      key: entryKey(catalog.addressOf(row)),
      value: encodeEntry({
        pg: catalog.pg[row] ?? 0,
        slot: catalog.slot[row] ?? NO_SLOT,
        epoch: catalog.epoch[row] ?? 0,
        flags,
        dataBlocks: catalog.dataBlocks[row] ?? 0,
        zeroBlocks: catalog.zeroBlocks[row] ?? 0,
      }),
    };
  }

  #saveTable(row: number, changes: IndexChange[]): SavedTable {
    const { catalog, tables } = this.#core;
    const table = present(tables.find(row), 'a dirty table');
    changes.push({ key: tableKey(catalog.addressOf(row)), value: encodeTable(table) });
    return { row, token: tables.beginSave(row) };
  }

  #saveRows(from: number, done: () => void, fail: SyncDone): void {
    const { catalog, tables } = this.#core;
    const changes: IndexChange[] = [];
    const rows: number[] = [];
    const saved: SavedTable[] = [];
    let row = from;
    const end = Math.min(catalog.rowEnd, from + SCAN_ROWS);
    for (; row < end && rows.length < BATCH_ROWS; row += 1) {
      const flags = catalog.flags[row] ?? 0;
      const hasNewTable = (flags & ROW.used) !== 0 && tables.isDirty(row);
      if ((flags & ROW.changed) === 0 && !hasNewTable) continue;
      changes.push(this.entryChange(row));
      if (hasNewTable) {
        saved.push(this.#saveTable(row, changes));
      }
      catalog.setFlags(row, 0, ROW.changed);
      rows.push(row);
    }
    const next = row;
    this.#commit(changes, saved, (failure) => {
      if (failure !== null) {
        for (const lost of rows)
          if (catalog.flags[lost] !== 0) catalog.setFlags(lost, ROW.changed, 0);
        fail(failure);
      } else if (next < catalog.rowEnd) {
        this.#saveRows(next, done, fail);
      } else {
        done();
      }
    });
  }

  /** Removals, epochs, generations, and which journal files are needed from now on. */
  #saveRest(ended: number, done: SyncDone): void {
    const core = this.#core;
    const changes: IndexChange[] = [];
    const removed = [...core.removed];
    core.removed.clear();
    for (const [, address] of removed) {
      // Made again since: its new entry was saved above, or will be by the next checkpoint, whose
      // journal file is kept. Deleting is right in both cases only while it does not exist.
      if (core.catalog.find(address.volume, address.layer, address.extent) >= 0) continue;
      changes.push(
        { key: entryKey(address), value: null },
        { key: tableKey(address), value: null },
      );
    }
    const epochs = [...core.changedEpochs];
    core.changedEpochs.clear();
    for (const pg of epochs) {
      changes.push({ key: epochKey(pg), value: encodeNumber(core.parts.epochs.get(pg) ?? 0) });
    }
    const generations = [...core.changedGenerations];
    core.changedGenerations.clear();
    for (const volume of generations) {
      const generation = core.parts.generations.get(volume);
      const value = generation === undefined ? null : encodeNumber(generation);
      changes.push({ key: generationKey(volume), value });
    }
    changes.push({ key: JOURNAL_KEY, value: encodeNumber(ended + 1) });
    this.#commit(changes, [], (failure) => {
      if (failure !== null) {
        for (const [name, address] of removed) core.removed.set(name, address);
        for (const pg of epochs) core.changedEpochs.add(pg);
        for (const volume of generations) core.changedGenerations.add(volume);
        done(failure);
        return;
      }
      done(this.#removeJournals(ended));
    });
  }

  #removeJournals(ended: number): DiskFailure | null {
    const { disk } = this.#core.parts;
    try {
      for (const name of disk.list()) {
        const number = journalNumber(name);
        if (number !== null && number <= ended) disk.remove(journalName(number));
      }
      return null;
    } catch (error) {
      this.#core.failWith('Removing old journal files', error);
      return null;
    }
  }

  /**
   * The journal first, then the index, one commit at a time and in order: a later one may hold a newer
   * version of the same table. `saved`: rows whose tables are among the changes. Without changes it
   * waits for the commits before it.
   */
  #commit(changes: readonly IndexChange[], saved: readonly SavedTable[], done: SyncDone): void {
    this.#commits.push({ changes, saved, done });
    if (!this.#isCommitting) this.#commitNext();
  }

  #commitNext(): void {
    const commit = this.#commits.shift();
    if (commit === undefined) return;
    this.#isCommitting = true;
    const { journal, tables, parts } = this.#core;
    const finish: SyncDone = (failure) => {
      for (const { row, token } of commit.saved) tables.endSave(row, token, failure === null);
      this.#isCommitting = false;
      commit.done(failure);
      if (!this.#isCommitting) this.#commitNext();
    };
    if (commit.changes.length === 0) {
      finish(null);
      return;
    }
    journal.sync((failure) => {
      if (failure !== null) finish(failure);
      else parts.index.commit(commit.changes, finish);
    });
  }
}
