/**
 * Reads the journal files that an unclean end left behind: which of them belong together, where each
 * of them ends, and their records in order. The newest may end anywhere (a crash tore its tail), but not
 * before records that are known to have been power-safe; an older one must be whole.
 */
import { StorageError } from '../../shared/base/errors.ts';
import { MiB } from '../../shared/base/units.ts';
import type { Disk, DiskFile } from '../../shared/ports.ts';
import { journalName, journalNumber } from './journal.ts';
import type { JournalRecord } from './journal-records.ts';
import { decodeRecord, encodeRecord, RECORD_BYTES_MAX } from './journal-records.ts';

/**
 * More records than a file can hold. Sequences leap by it after a crash, so that what is left of a torn
 * tail can never pass for the continuation of what is written over it.
 */
const SEQUENCE_LEAP = 2 ** 24;
/** Four times as much as a file may grow to (`journalBytesMax`): a longer one is damaged, and is not read. */
const FILE_BYTES_MAX = 256 * MiB;

export interface JournalOwner {
  readonly diskId: number;
  readonly uuidChecksum: number;
}

interface JournalContent {
  readonly number: number;
  readonly bytes: Buffer;
  readonly firstSequence: number;
  /** Bytes of whole records. */
  readonly end: number;
  readonly lastSequence: number;
  readonly isEnded: boolean;
}

/** A file whose first record is not there. */
interface Headless {
  readonly number: number;
  readonly bytes: Buffer;
}

export interface JournalTrail {
  /** Calls `visit` for every record, oldest first. */
  replay(visit: (record: JournalRecord, sequence: number) => void): void;
  /** Slab data of records up to this one is durable; 0 when nothing is known. */
  readonly settledThrough: number;
  readonly nextFile: number;
  readonly nextSequence: number;
  readonly recordCount: number;
}

/** Null when there is no file from `firstNeeded` on: the store was closed cleanly. Throws `corrupt`. */
export async function readJournals(
  disk: Disk,
  owner: JournalOwner,
  firstNeeded: number,
): Promise<JournalTrail | null> {
  const numbers = disk
    .list()
    .map(journalNumber)
    .filter((number): number is number => number !== null && number >= firstNeeded)
    .sort((a, b) => a - b);
  if (numbers.length === 0) return null;
  const contents: JournalContent[] = [];
  // A file gets its head only when the one before is durable: the newest ones may lack it.
  let headless: Headless | null = null;
  for (const number of numbers) {
    const content = await readOne(disk, owner, number);
    if ('end' in content) {
      if (headless !== null) {
        throw corrupt(headless.number, 'has no valid head although a newer file has one');
      }
      contents.push(content);
    } else headless ??= content;
  }
  checkChain(contents, firstNeeded);
  const last = contents[contents.length - 1];
  if (last !== undefined && !last.isEnded) checkTail(last, last.end, last.lastSequence);
  if (headless !== null) checkTail(headless, 0, last?.lastSequence ?? 0);
  if (last !== undefined && !last.isEnded) await seal(disk, last);
  return trailOf(contents, firstNeeded);
}

function trailOf(contents: readonly JournalContent[], firstNeeded: number): JournalTrail {
  const last = contents[contents.length - 1];
  let settledThrough = 0;
  let recordCount = 0;
  const replay = (visit: (record: JournalRecord, sequence: number) => void): void => {
    for (const content of contents) {
      for (let at = 0; at < content.end; ) {
        const found = decodeRecord(content.bytes, at);
        if (found === null) break;
        visit(found.record, found.sequence);
        at += found.length;
      }
    }
  };
  replay((record) => {
    recordCount += 1;
    if (record.type === 'settled') settledThrough = Math.max(settledThrough, record.through);
  });
  return {
    replay,
    settledThrough,
    recordCount,
    // A newest file without a head is begun anew.
    nextFile: last === undefined ? firstNeeded : last.number + 1,
    nextSequence: (last?.lastSequence ?? 0) + SEQUENCE_LEAP,
  };
}

async function readOne(
  disk: Disk,
  owner: JournalOwner,
  number: number,
): Promise<JournalContent | Headless> {
  const file = disk.open(journalName(number), { create: false });
  if (file.size() > FILE_BYTES_MAX) {
    const size = file.size();
    file.close();
    throw corrupt(number, `has ${size} bytes, at most ${FILE_BYTES_MAX} expected`);
  }
  const bytes = await readAll(file);
  file.close();
  const head = decodeRecord(bytes, 0);
  if (head === null || head.record.type !== 'file') return { number, bytes };
  const { diskId, uuidChecksum, number: stored } = head.record;
  if (diskId !== owner.diskId || uuidChecksum !== owner.uuidChecksum || stored !== number) {
    throw corrupt(number, 'belongs to another disk or was renamed');
  }
  let at = 0;
  let sequence = head.sequence - 1;
  let isEnded = false;
  while (!isEnded) {
    const found = decodeRecord(bytes, at);
    if (found === null || found.sequence !== sequence + 1) break;
    sequence = found.sequence;
    at += found.length;
    isEnded = found.record.type === 'end';
  }
  return { number, bytes, firstSequence: head.sequence, end: at, lastSequence: sequence, isEnded };
}

/**
 * A file breaks off at `end`, after record `sequence`. A crash does that to what was not synced; when a later
 * record says that more was, the disk has destroyed it, and what is left must not pass for all there was.
 */
function checkTail({ number, bytes }: Headless, end: number, sequence: number): void {
  // Records are whole words.
  for (let at = end; at < bytes.length; at += 4) {
    const found = decodeRecord(bytes, at);
    if (found?.record.type !== 'synced') continue;
    // Left by a former life of the file number: sequences have leapt since.
    const isOurs = found.sequence > sequence && found.sequence < sequence + SEQUENCE_LEAP;
    if (!isOurs || found.record.through <= sequence) continue;
    const lost = found.record.through - sequence;
    throw corrupt(number, `breaks off at byte ${end}, ${lost} records before what was power-safe`);
  }
}

/** Neighbouring numbers, growing sequences, only the last one without an end. */
function checkChain(contents: readonly JournalContent[], firstNeeded: number): void {
  contents.forEach((content, index) => {
    const before = contents[index - 1];
    if (before === undefined) {
      if (content.number !== firstNeeded) {
        throw corrupt(content.number, `is the oldest, expected number ${firstNeeded}`);
      }
      return;
    }
    if (!before.isEnded) throw corrupt(before.number, 'breaks off although a newer file exists');
    if (content.number !== before.number + 1 || content.firstSequence <= before.lastSequence) {
      throw corrupt(content.number, `does not continue number ${before.number}`);
    }
  });
}

/** Ends a torn file after its last whole record, so that a newer file may follow. */
function seal(disk: Disk, content: JournalContent): Promise<void> {
  const file = disk.open(journalName(content.number), { create: false });
  const record = Buffer.alloc(RECORD_BYTES_MAX);
  const length = encodeRecord({ type: 'end' }, content.lastSequence + 1, record, 0);
  file.truncate(content.end);
  file.writeSync(record.subarray(0, length), content.end);
  return new Promise((resolve, reject) => {
    file.sync((failure) => {
      file.close();
      if (failure === null) resolve();
      else
        reject(new StorageError('disk-failed', `Sealing the journal failed: ${failure.message}`));
    });
  });
}

function readAll(file: DiskFile): Promise<Buffer> {
  const bytes = Buffer.alloc(file.size());
  return new Promise((resolve, reject) => {
    const step = (at: number): void => {
      if (at >= bytes.length) {
        resolve(bytes);
        return;
      }
      const end = Math.min(bytes.length, at + MiB);
      file.read(bytes.subarray(at, end), at, (failure) => {
        if (failure === null) step(end);
        else
          reject(new StorageError('disk-failed', `Reading the journal failed: ${failure.message}`));
      });
    };
    step(0);
  });
}

function corrupt(number: number, what: string): StorageError {
  return new StorageError('corrupt', `Journal file "${journalName(number)}" ${what}`, { number });
}
