/**
 * Judges what clients of one volume saw: per cell (a few hundred bytes), could one register have
 * answered so? Knows nothing of the code under test.
 *
 * The method is that of Gibbons and Korach ("Testing Shared Memories", 1997) for registers whose written
 * values all differ. A write and the reads that returned it form a group; `first` is the earliest end
 * of any of them, `last` the latest start. The history is linearizable when for no two groups A and B
 * both A.first < B.last and B.first < A.last hold: each would have to lie wholly before the other. A
 * write without an answer ends never; so it may take effect at any time, but once it was read it counts,
 * and values cannot come and go.
 *
 * A blackout (power is lost everywhere) ends an era. What was flushed stays; of what came later, acked or not,
 * each cell keeps any one value, or a torn mixture of several. Which one it is shows with the first read
 * of it, and from then on it is a value like others: it does not change back.
 *
 * Blind spot: zeros carry no name. A read of zeros is right when some zero write (or the volume's
 * beginning) could have been its source; it is counted for that one only if no other could have been.
 */

/** Values kept per cell before old ones are looked through. */
const KEPT_MAX = 24;
const ZERO = 0;
/** The number of no write, and of no mixture either. */
const UNKNOWN = -1;
const NEVER = Number.POSITIVE_INFINITY;

/** Order of events; wall time plays no part. */
type Tick = number;

class Value {
  /** Of what a blackout left: unknown until it is read. */
  write: number;
  readonly start: Tick;
  end: Tick;
  firstReadEnd: Tick = NEVER;
  lastReadStart: Tick = -1;
  /** Power-safe as soon as it was acked (FUA). */
  readonly isDurable: boolean;
  /** What a blackout left: one of these, or a mixture of them when there are several. */
  options: ReadonlySet<number> | null;

  constructor(
    write: number,
    span: { readonly start: Tick; readonly end: Tick },
    isDurable: boolean,
    options: ReadonlySet<number> | null = null,
  ) {
    this.write = write;
    this.start = span.start;
    this.end = span.end;
    this.isDurable = isDurable;
    this.options = options;
  }

  /** The earliest end of the write and of the reads that returned it. */
  get first(): Tick {
    return Math.min(this.end, this.firstReadEnd);
  }

  /** The latest start of any of them. */
  get last(): Tick {
    return Math.max(this.start, this.lastReadStart);
  }
}

/** What one cell may hold. */
interface Cell {
  values: Value[];
  /** So many values make it worth while to look for those that no read can return any more. */
  pruneAt: number;
}

/** One request of a client. */
export interface HistoryEntry {
  readonly start: Tick;
  readonly generation: number;
  /** Cells whose contents it may change, with the value it writes; empty for reads and flushes. */
  readonly values: readonly (readonly [number, Value])[];
}

export class BlockHistory {
  readonly #cells = new Map<number, Cell>();
  readonly #reads = new Set<HistoryEntry>();
  /** Per generation: when its first answer came. */
  readonly #firstAnswer = new Map<number, Tick>();
  readonly #onViolation: (what: string) => void;
  #tick: Tick = 0;
  /** What was acked or read before this is on the disks: the start of the last flush that was answered. */
  #flushedThrough: Tick = 0;

  constructor(onViolation: (what: string) => void) {
    this.#onViolation = onViolation;
  }

  beginRead(generation: number): HistoryEntry {
    const entry = { start: this.#next(), generation, values: [] };
    this.#reads.add(entry);
    return entry;
  }

  /** `write`: its number, or 0 for zeros. */
  beginWrite(
    generation: number,
    cells: readonly number[],
    write: number,
    isDurable = false,
  ): HistoryEntry {
    const start = this.#next();
    const values = cells.map((cell): readonly [number, Value] => {
      const value = new Value(write, { start, end: NEVER }, isDurable);
      this.#cellOf(cell).values.push(value);
      return [cell, value];
    });
    return { start, generation, values };
  }

  /** The write was acked. */
  endWrite(entry: HistoryEntry): void {
    const end = this.#next();
    this.#answered(entry, end);
    for (const [cell, value] of entry.values) {
      value.end = end;
      this.#judge(cell, value);
    }
  }

  /** The flush (begun as a read) was answered: what was acked before it was asked for is on the disks. */
  endFlush(entry: HistoryEntry): void {
    this.#flushedThrough = Math.max(this.#flushedThrough, entry.start);
    this.endRead(entry, new Map());
  }

  /** Power is lost everywhere, and every gateway with it: nothing that is under way has an effect later. */
  blackout(): void {
    const tick = this.#next();
    const span = { start: tick, end: tick };
    for (const cell of this.#cells.values()) {
      const { values } = cell;
      const kept = values.filter((value) => this.#maySurvive(values, value));
      const options = new Set(kept.flatMap((value) => [...(value.options ?? [value.write])]));
      const [only] = options;
      const isKnown = options.size === 1 && only !== undefined;
      const write = isKnown ? only : UNKNOWN;
      cell.values = [new Value(write, span, true, isKnown ? null : options)];
      cell.pruneAt = KEPT_MAX;
    }
    this.#reads.clear();
  }

  /**
   * The read returned these values, by cell: numbers of writes, 0 for zeros, below -1 for a mixture of
   * bytes that is no write's (the same bytes, the same number).
   */
  endRead(entry: HistoryEntry, values: ReadonlyMap<number, number>): void {
    const end = this.#next();
    this.#answered(entry, end);
    this.#reads.delete(entry);
    for (const [cell, write] of values) this.#onRead(cell, write, entry.start, end);
  }

  /** The read failed, or nobody waits for it any more. */
  dropRead(entry: HistoryEntry): void {
    this.#reads.delete(entry);
  }

  get cells(): IterableIterator<number> {
    return this.#cells.keys();
  }

  #next(): Tick {
    this.#tick += 1;
    return this.#tick;
  }

  #cellOf(number: number): Cell {
    const known = this.#cells.get(number);
    if (known !== undefined) return known;
    // A new volume reads zeros.
    const values = [new Value(ZERO, { start: -1, end: -1 }, true)];
    const cell = { values, pruneAt: KEPT_MAX };
    this.#cells.set(number, cell);
    return cell;
  }

  /** No request that began after a newer gateway's first answer may succeed at an older one. */
  #answered(entry: HistoryEntry, end: Tick): void {
    const { generation } = entry;
    if (!this.#firstAnswer.has(generation)) this.#firstAnswer.set(generation, end);
    for (const [other, first] of this.#firstAnswer) {
      if (other > generation && first < entry.start) {
        this.#onViolation(
          `a gateway of generation ${generation} answered a request that began after generation ${other} had answered`,
        );
      }
    }
  }

  #onRead(number: number, write: number, start: Tick, end: Tick): void {
    const cell = this.#cellOf(number);
    let only: Value | null = null;
    let candidateCount = 0;
    for (const value of cell.values) {
      if (!isNamed(value, write) || value.start >= end) continue;
      if (!mayRead(cell.values, value, start, end)) continue;
      candidateCount += 1;
      only = value;
    }
    if (only === null) {
      const held = cell.values.map((value) => describe(value)).join(', ');
      this.#onViolation(
        `cell ${number}: read [${start}, ${end}] returned ${name(write)}, which no single disk could have; it held ${held}`,
      );
      return;
    }
    if (candidateCount > 1) return;
    only.write = write;
    only.options = null;
    only.firstReadEnd = Math.min(only.firstReadEnd, end);
    only.lastReadStart = Math.max(only.lastReadStart, start);
    this.#prune(cell);
  }

  /** No flushed value came certainly after it. */
  #maySurvive(values: readonly Value[], value: Value): boolean {
    return values.every(
      (other) => other === value || !this.#isFlushed(other) || value.first >= other.last,
    );
  }

  #isFlushed(value: Value): boolean {
    return value.first < this.#flushedThrough || (value.isDurable && value.end !== NEVER);
  }

  #judge(number: number, value: Value): void {
    const cell = this.#cellOf(number);
    for (const other of cell.values) {
      if (other === value || !areInConflict(value, other)) continue;
      this.#onViolation(
        `cell ${number}: the ack of ${describe(value)} cannot be ordered with ${describe(other)}: a value was read before and after it`,
      );
      return;
    }
    this.#prune(cell);
  }

  /** Drops values that no read from now on may return, not even after a blackout. */
  #prune(cell: Cell): void {
    if (cell.values.length < cell.pruneAt) return;
    let oldestRead = this.#tick;
    for (const read of this.#reads) oldestRead = Math.min(oldestRead, read.start);
    // A value is dead when another one, flushed and over before any read that is under way, came after it.
    let latest: Value | null = null;
    let second: Value | null = null;
    for (const value of cell.values) {
      if (!this.#isFlushed(value) || value.first >= oldestRead) continue;
      if (latest === null || value.last > latest.last) {
        second = latest;
        latest = value;
      } else if (second === null || value.last > second.last) {
        second = value;
      }
    }
    cell.values = cell.values.filter((value) => {
      const killer = value === latest ? second : latest;
      return killer === null || killer.last <= value.first;
    });
    // Looking again pays only after some more writes.
    cell.pruneAt = Math.max(KEPT_MAX, 2 * cell.values.length);
  }
}

function mayRead(values: readonly Value[], value: Value, start: Tick, end: Tick): boolean {
  const first = Math.min(value.first, end);
  const last = Math.max(value.last, start);
  for (const other of values) {
    if (other !== value && first < other.last && other.first < last) return false;
  }
  return true;
}

/** A mixture has the name of nothing that was written. */
function isNamed(value: Value, write: number): boolean {
  if (value.options === null) return value.write === write;
  return write < UNKNOWN ? value.options.size > 1 : value.options.has(write);
}

function areInConflict(a: Value, b: Value): boolean {
  return a.first < b.last && b.first < a.last;
}

function name(write: number): string {
  if (write < UNKNOWN) return `a torn or foreign cell ${(-write).toString(16)}`;
  return write === ZERO ? 'zeros' : `w${write}`;
}

function describe(value: Value): string {
  const end = value.end === NEVER ? 'no answer' : String(value.end);
  const reads =
    value.firstReadEnd === NEVER
      ? ''
      : `, read until ${value.firstReadEnd} and from ${value.lastReadStart}`;
  const what =
    value.options === null
      ? name(value.write)
      : `what a blackout left of ${[...value.options].map(name).join(' or ')}`;
  return `${what} [${value.start}, ${end}${reads}]`;
}
