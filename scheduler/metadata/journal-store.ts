/**
 * The metadata store on a coordination service: a journal. A commit is one document of changes, put into
 * the log by the same fenced transaction that moves the head; one that is larger than a transaction is
 * staged in parts first and counts when the head moves. From time to time the whole state is written
 * as a snapshot, and what nobody names any more is removed. The state itself is not kept in memory.
 *
 * Which service it is, the seat and its session are the coordinator's (coordinator.ts).
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type {
  Candidate,
  LeaderRecord,
  Leadership,
  Log,
  MetadataStore,
  Random,
  StoreChange,
  StoreSnapshot,
} from '../../shared/ports.ts';
import type { Coordinator, NodeName, NodePut, Seat } from './coordinator.ts';
import { TRANSACTION_BYTES_MAX } from './coordinator.ts';
import { cutDocument, encodeDocument, encodeManifest } from './documents.ts';
import { findGarbage, type References, removeAll } from './journal-garbage.ts';
import {
  decodeHead,
  EMPTY_HEAD,
  encodeCommit,
  encodeHead,
  type Head,
  logName,
} from './journal-head.ts';
import { type Journal, readJournal } from './journal-reader.ts';
import { stageParts, writeSnapshot } from './journal-snapshot.ts';

export interface JournalModules {
  readonly coordinator: Coordinator;
  readonly random: Random;
  readonly log: Log;
}

/** When a snapshot is due. */
export interface SnapshotPolicy {
  /** So many documents are read one by one when a leader begins: a second or two. */
  readonly logRecordsMax: number;
  /** A log smaller than this is never in the way. Beyond, it may grow as large as the snapshot. */
  readonly logBytesMin: number;
}

export const SNAPSHOT_POLICY: SnapshotPolicy = {
  logRecordsMax: 4_000,
  logBytesMin: 4 * 1024 * 1024,
};

export class JournalStore implements MetadataStore {
  readonly #modules: JournalModules;
  readonly #policy: SnapshotPolicy;
  #seat: Seat | null = null;
  #isCampaigning = false;
  #head: Head = EMPTY_HEAD;
  #headVersion = '';
  /** What the head names, known after the leader's load. */
  #references: References | null = null;
  /** Changes of the head, one after another. */
  #tail: Promise<unknown> = Promise.resolve();
  /** A snapshot or a collection of garbage under way. */
  #upkeep: Promise<void> | null = null;

  constructor(modules: JournalModules, policy: SnapshotPolicy = SNAPSHOT_POLICY) {
    this.#modules = modules;
    this.#policy = policy;
  }

  async campaign(candidate: Candidate): Promise<Leadership> {
    const { coordinator } = this.#modules;
    if (this.#isCampaigning || this.#leadingSeat() !== null) {
      throw new StorageError(
        'conflict',
        `This process leads or campaigns already on "${coordinator.name}"`,
      );
    }
    this.#isCampaigning = true;
    try {
      const seat = await coordinator.takeSeat(candidate);
      // Whoever led before can move the head no more: what is read now is the last it did.
      const record = await this.#orLeave(seat, coordinator.readHead());
      this.#head = decodeHead(record);
      this.#headVersion = record.version;
      this.#references = null;
      this.#seat = seat;
      return { term: seat.term, lost: seat.tenure.lost };
    } finally {
      this.#isCampaigning = false;
    }
  }

  leader(): Promise<LeaderRecord | null> {
    return this.#modules.coordinator.leader(this.#leadingSeat());
  }

  async load(): Promise<StoreSnapshot> {
    const seat = this.#leadingSeat();
    if (seat === null) return snapshotOf(await readJournal(this.#modules.coordinator));
    return this.#inTurn(async () => {
      const journal = await readJournal(this.#modules.coordinator);
      if (journal.headVersion === this.#headVersion) {
        this.#references = {
          snapshot: journal.head.snapshot?.name ?? null,
          snapshotParts: journal.snapshotParts,
          logParts: new Map(journal.logParts),
        };
        // What an earlier leader left behind when it died.
        this.#upkeepLater(seat, 'Old metadata could not be removed', () => this.#collect(seat));
      }
      return snapshotOf(journal);
    });
  }

  commit(changes: readonly StoreChange[], expectedRevision: number): Promise<number> {
    return this.#inTurn(async () => {
      const seat = this.#seat;
      if (seat === null) throw this.#conflict('is not led by this process');
      seat.tenure.assertHolds();
      const { revision } = this.#head;
      if (revision !== expectedRevision) {
        throw this.#conflict(`is at revision ${revision}, expected ${expectedRevision}`);
      }
      const document = await encodeDocument(encodeCommit(revision + 1, changes));
      let bytes = document;
      let parts: readonly NodeName[] = [];
      if (document.length > TRANSACTION_BYTES_MAX) {
        parts = await stageParts(seat, cutDocument(document), this.#modules.random);
        bytes = encodeManifest(parts);
      }
      const head: Head = {
        revision: revision + 1,
        commitId: this.#modules.random.uuid(),
        snapshot: this.#head.snapshot,
        logBytes: this.#head.logBytes + document.length,
      };
      await this.#moveHead(seat, head, [{ name: logName(head.revision), bytes }]);
      if (parts.length > 0) this.#references?.logParts.set(head.revision, parts);
      if (this.#isSnapshotDue()) this.#snapshotLater(seat);
      return head.revision;
    });
  }

  async resign(): Promise<void> {
    const seat = this.#seat;
    this.#seat = null;
    await seat?.leave('This process resigned');
  }

  async close(): Promise<void> {
    await this.resign();
    await this.#modules.coordinator.close();
  }

  /** Resolves when no snapshot is being written and no garbage collected. */
  async settled(): Promise<void> {
    while (this.#upkeep !== null) await this.#upkeep;
  }

  #leadingSeat(): Seat | null {
    return this.#seat !== null && this.#seat.tenure.endReason === null ? this.#seat : null;
  }

  /** The transaction that counts. When its answer got lost, the head tells whose change it holds. */
  async #moveHead(seat: Seat, head: Head, puts: readonly NodePut[]): Promise<void> {
    const text = encodeHead(head);
    const { isDone, version } = await seat.write({
      head: { text, fromVersion: this.#headVersion },
      puts,
    });
    if (isDone && version !== null) {
      this.#head = head;
      this.#headVersion = version;
      return;
    }
    const found = await this.#modules.coordinator.readHead();
    if (found.text === text) {
      this.#head = head;
      this.#headVersion = found.version;
      return;
    }
    const reason = `Metadata store "${this.#modules.coordinator.name}" was changed by somebody else: its head is ${found.text.slice(0, 200)}, not of revision ${this.#head.revision}`;
    seat.tenure.end(reason);
    throw new StorageError('conflict', reason);
  }

  // ── Snapshots and what is left over ────────────────────────────────────────────────────────

  #isSnapshotDue(): boolean {
    const { revision, snapshot, logBytes } = this.#head;
    const { logRecordsMax, logBytesMin } = this.#policy;
    return (
      revision - (snapshot?.revision ?? 0) >= logRecordsMax ||
      logBytes >= Math.max(logBytesMin, snapshot?.bytes ?? 0)
    );
  }

  /** Not in the commits' way: only its last transaction takes their turn. */
  #snapshotLater(seat: Seat): void {
    if (this.#references === null) return;
    this.#upkeepLater(seat, 'No snapshot of the metadata was made', () => this.#snapshot(seat));
  }

  /**
   * One at a time: what looks for nodes that nobody names would take the parts of a snapshot in the
   * making for such.
   */
  #upkeepLater(seat: Seat, complaint: string, work: () => Promise<void>): void {
    if (this.#upkeep !== null) return;
    this.#upkeep = work()
      .then(() => {
        this.#upkeep = null;
        // The log grew on meanwhile.
        if (this.#seat === seat && this.#isSnapshotDue()) this.#snapshotLater(seat);
      })
      .catch((error: unknown) => {
        const level = seat.tenure.endReason === null ? 'warn' : 'debug';
        this.#modules.log(level, complaint, { reason: describeError(error) });
        this.#upkeep = null;
      });
  }

  async #snapshot(seat: Seat): Promise<void> {
    const { coordinator, random, log } = this.#modules;
    const journal = await readJournal(coordinator);
    const written = await writeSnapshot(seat, journal.entries, journal.head.revision, random);
    await this.#inTurn(async () => {
      const head: Head = {
        ...this.#head,
        snapshot: {
          name: written.index.name,
          revision: journal.head.revision,
          bytes: written.bytes,
        },
        logBytes: this.#head.logBytes - journal.head.logBytes,
      };
      await this.#moveHead(seat, head, [written.index]);
      const logParts = new Map(this.#references?.logParts);
      for (const revision of logParts.keys()) {
        if (revision <= journal.head.revision) logParts.delete(revision);
      }
      this.#references = {
        snapshot: head.snapshot?.name ?? null,
        snapshotParts: written.parts,
        logParts,
      };
    });
    log('debug', 'Snapshot of the metadata was made', {
      revision: journal.head.revision,
      bytes: written.bytes,
    });
    await this.#collect(seat);
  }

  async #collect(seat: Seat): Promise<void> {
    const { coordinator } = this.#modules;
    const garbage = await this.#inTurn(async () => {
      if (this.#references === null) return [];
      return findGarbage(coordinator, this.#head, this.#references);
    });
    await removeAll(seat, garbage);
  }

  // ── Small things ───────────────────────────────────────────────────────────────────────────

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work);
    // The next one runs whatever became of this one; the caller hears of errors.
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  async #orLeave<T>(seat: Seat, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      await seat.leave(describeError(error));
      throw error;
    }
  }

  #conflict(why: string): StorageError {
    return new StorageError(
      'conflict',
      `Metadata store "${this.#modules.coordinator.name}" ${why}`,
    );
  }
}

function snapshotOf({ head, entries }: Journal): StoreSnapshot {
  return {
    revision: head.revision,
    entries: Array.from(entries, ([key, value]) => ({ key, value })),
  };
}
