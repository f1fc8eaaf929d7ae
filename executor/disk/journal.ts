/**
 * The append-only journal of one store: `journal/NNNNNN.log`. Records of one tick are buffered and
 * leave in one write (2 to 3 microseconds; from then on they survive the death of the process); a
 * sync makes them power-safe. Zeros are written ahead of the end, so that an append into them needs no
 * space that the file system might refuse, and a sync no change of the file's size.
 *
 * `rotate` ends the file and begins the next; records appended meanwhile wait for the new file.
 * The journal knows nothing of what its records mean (recovery.ts does).
 */
import { assert } from '../../shared/base/assert.ts';
import { KiB } from '../../shared/base/units.ts';
import type { Disk, DiskFailure, DiskFile } from '../../shared/ports.ts';
import { DiskError } from '../../shared/ports.ts';
import type { SyncDone } from './group-sync.ts';
import { GroupSync } from './group-sync.ts';
import type { JournalRecord } from './journal-records.ts';
import { encodeRecord, RECORD_BYTES_MAX } from './journal-records.ts';

export const JOURNAL_FOLDER = 'journal';
/** Zeros written ahead at a time: 6,000 records; 100 microseconds of writing. */
const AHEAD_BYTES = 256 * KiB;
/** One synchronous write at most (the port's bound). */
const PIECE_BYTES = 64 * KiB;
/** Room that ordinary records leave free: for the records that end things. */
const RESERVE_BYTES = 4 * KiB;
const ZEROS = new Uint8Array(PIECE_BYTES);

export interface JournalOptions {
  readonly diskId: number;
  readonly uuidChecksum: number;
  /** Of the file to begin with. */
  readonly firstFile: number;
  readonly firstSequence: number;
  /** Bound of one file: beyond it there is no room. */
  readonly fileBytesMax: number;
}

export function journalName(number: number): string {
  return `${JOURNAL_FOLDER}/${String(number).padStart(6, '0')}.log`;
}

/** The number in a journal file's name, or null. */
export function journalNumber(name: string): number | null {
  const match = /^journal\/(\d{6,})\.log$/.exec(name);
  return match === null ? null : Number(match[1]);
}

export class Journal {
  readonly #disk: Disk;
  readonly #options: JournalOptions;
  readonly #sync: GroupSync;
  #file: DiskFile;
  #number: number;
  #sequence: number;
  /** End of what is written; zeros reach from there to `#ahead`. */
  #position = 0;
  #ahead = 0;
  #buffer: Buffer = Buffer.alloc(PIECE_BYTES);
  #buffered = 0;
  #waiters: SyncDone[] = [];
  #isScheduled = false;
  #isRotating = false;
  #afterRotation: (() => void)[] = [];
  #failure: DiskFailure | null = null;

  /** Creates the first file. Throws `DiskError`. */
  constructor(options: JournalOptions, disk: Disk) {
    this.#disk = disk;
    this.#options = options;
    this.#number = options.firstFile;
    this.#sequence = options.firstSequence;
    this.#sync = new GroupSync((done) => this.#syncFile(done));
    this.#file = disk.open(journalName(this.#number), { create: true });
    this.#file.truncate(0);
    this.#put(this.#fileRecord(this.#number));
    this.#flushBuffer();
    if (this.#failure !== null) throw this.#failure;
  }

  /** Number of the file that grows now. */
  get number(): number {
    return this.#number;
  }

  /** Of the record appended last. */
  get sequence(): number {
    return this.#sequence - 1;
  }

  /** Length of the current file. */
  get bytes(): number {
    return this.#position + this.#buffered;
  }

  /**
   * Whether `count` more records fit: asked before anything changes, so that a full disk refuses an
   * operation as a whole.
   */
  hasRoom(count: number): boolean {
    const needed = this.bytes + count * RECORD_BYTES_MAX + RESERVE_BYTES;
    if (needed > this.#options.fileBytesMax) return false;
    return needed <= this.#ahead || this.#isRotating || this.#writeAhead(needed);
  }

  /** Returns the record's sequence. It is written at the end of this tick, or with the next sync. */
  append(record: JournalRecord): number {
    if (this.#buffered + RECORD_BYTES_MAX > this.#buffer.length) this.#makeRoom();
    const sequence = this.#put(record);
    this.#sync.mark();
    this.#schedule();
    return sequence;
  }

  /** Whether records wait to be written. */
  get isBuffered(): boolean {
    return this.#buffered > 0;
  }

  /** `done` once all records appended so far are written: they survive the death of the process. */
  afterWritten(done: SyncDone): void {
    if (this.#failure === null && this.#buffered === 0) {
      done(null);
      return;
    }
    this.#waiters.push(done);
    this.#schedule();
  }

  /** Writes what was appended at once; false when it has to wait for the end of a rotation. */
  writeNow(): boolean {
    this.#flushBuffer();
    return this.#buffered === 0;
  }

  /** `done` once all records appended so far are power-safe. */
  sync(done: SyncDone): void {
    this.#sync.request(done);
  }

  /**
   * Ends the current file, durably, and begins the next one; `done` gets the number of the ended file.
   * A disk without room for the next file changes nothing: `done` gets ENOSPC.
   */
  rotate(done: (failure: DiskFailure | null, ended: number) => void): void {
    assert(!this.#isRotating, 'one rotation at a time');
    const ended = this.#number;
    const old = this.#file;
    const next = this.#openNext(ended + 1);
    if (!('file' in next)) {
      done(next, ended);
      return;
    }
    this.#put({ type: 'end' });
    this.#flushBuffer();
    this.#isRotating = true;
    this.#put(this.#fileRecord(ended + 1));
    old.sync((failure) => {
      this.#failure ??= failure;
      this.#isRotating = false;
      old.close();
      this.#file = next.file;
      this.#number = ended + 1;
      this.#position = 0;
      this.#ahead = AHEAD_BYTES;
      this.#flushBuffer();
      const waiting = this.#afterRotation;
      this.#afterRotation = [];
      for (const resume of waiting) resume();
      done(this.#failure, ended);
    });
  }

  /** The next file with its first zeros, so that nothing can refuse what follows. */
  #openNext(number: number): { readonly file: DiskFile } | DiskFailure {
    try {
      const file = this.#disk.open(journalName(number), { create: true });
      file.truncate(0);
      for (let at = 0; at < AHEAD_BYTES; at += PIECE_BYTES) file.writeSync(ZEROS, at);
      return { file };
    } catch (error) {
      return toFailure(error);
    }
  }

  close(): void {
    this.#file.close();
  }

  #fileRecord(number: number): JournalRecord {
    const { diskId, uuidChecksum } = this.#options;
    return { type: 'file', diskId, uuidChecksum, number };
  }

  #put(record: JournalRecord): number {
    const sequence = this.#sequence;
    this.#sequence += 1;
    this.#buffered += encodeRecord(record, sequence, this.#buffer, this.#buffered);
    return sequence;
  }

  /** During a rotation the buffer grows (bounded by what is in flight); otherwise it is written. */
  #makeRoom(): void {
    if (!this.#isRotating) {
      this.#flushBuffer();
      if (this.#buffered === 0) return;
    }
    const larger = Buffer.alloc(this.#buffer.length * 2);
    this.#buffer.copy(larger, 0, 0, this.#buffered);
    this.#buffer = larger;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#flushBuffer();
    });
  }

  #flushBuffer(): void {
    if (this.#isRotating) return;
    if (this.#failure === null && this.#buffered > 0) {
      try {
        for (let at = 0; at < this.#buffered; at += PIECE_BYTES) {
          const piece = this.#buffer.subarray(at, Math.min(at + PIECE_BYTES, this.#buffered));
          this.#file.writeSync(piece, this.#position + at);
        }
        this.#position += this.#buffered;
        this.#ahead = Math.max(this.#ahead, this.#position);
      } catch (error) {
        this.#failure = toFailure(error);
      }
    }
    if (this.#failure === null) this.#buffered = 0;
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const done of waiters) done(this.#failure);
  }

  #syncFile(done: SyncDone): void {
    if (this.#isRotating) {
      this.#afterRotation.push(() => this.#syncFile(done));
      return;
    }
    this.#flushBuffer();
    if (this.#failure !== null) {
      done(this.#failure);
      return;
    }
    const through = this.sequence;
    this.#file.sync((failure) => {
      if (failure === null) this.#noteSynced(through);
      done(failure);
    });
  }

  /**
   * Written behind what it speaks of, and not synced for its own sake: with it, recovery tells records that a
   * crash has torn off from records that have rotted. Left out where there is no room at hand for it.
   */
  #noteSynced(through: number): void {
    const hasRoom = this.bytes + RECORD_BYTES_MAX <= this.#ahead;
    if (!hasRoom || this.#isRotating || this.#failure !== null) return;
    this.#put({ type: 'synced', through });
    this.#schedule();
  }

  /**
   * False when the disk is full. After another failure it does as if there were room: what is appended
   * then fails with it and takes the disk out, whereas a refusal for want of room would be repeated for ever.
   */
  #writeAhead(needed: number): boolean {
    try {
      while (this.#ahead < needed) {
        const end = this.#ahead + AHEAD_BYTES;
        // Only behind what is buffered: the records come first.
        for (let at = Math.max(this.#ahead, this.#position); at < end; at += PIECE_BYTES) {
          this.#file.writeSync(ZEROS.subarray(0, Math.min(PIECE_BYTES, end - at)), at);
        }
        this.#ahead = end;
      }
      return true;
    } catch (error) {
      const { code } = toFailure(error);
      if (code === 'ENOSPC' || code === 'EDQUOT') return false;
      this.#failure ??= toFailure(error);
      return true;
    }
  }
}

function toFailure(error: unknown): DiskFailure {
  if (error instanceof DiskError) return error;
  throw error;
}
