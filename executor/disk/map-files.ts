/**
 * The last map on one disk: two files that take turns, so that one of them is whole whatever happens
 * while the other is written. All work on files is off the caller's thread; a map that comes while
 * one is being written waits, and only the newest of those that wait is written.
 *
 * Nobody serves by what lies here (docs/decisions/0008): it is for recoveries.
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { Disk, DiskFailure, DiskFile } from '../../shared/ports.ts';
import { DiskError } from '../../shared/ports.ts';
import {
  DURABLE_MAP_BYTES_MAX,
  type DurableMap,
  decodeDurableMap,
  isNewerMap,
} from '../../shared/wire/durable-map.ts';

export const MAP_NAMES = ['map-a', 'map-b'] as const;

/** `failure`: why the map could not be kept; the one before is still there. */
export type Kept = (failure: DiskFailure | null) => void;

export interface FoundMap {
  /** The whole file's record, as it was kept. */
  readonly bytes: Uint8Array;
  readonly map: DurableMap;
}

/** The newest map that is whole; `problems`: what is wrong with the others, for people. */
export function readMapFiles(disk: Disk): {
  readonly newest: FoundMap | null;
  readonly problems: readonly string[];
} {
  let newest: FoundMap | null = null;
  const problems: string[] = [];
  for (const name of MAP_NAMES) {
    const found = readOne(disk, name);
    if (typeof found === 'string') problems.push(found);
    else if (found !== null && (newest === null || isNewerMap(found.map, newest.map)))
      newest = found;
  }
  return { newest, problems };
}

/** Null when there is none, a text when it cannot be used. */
function readOne(disk: Disk, name: string): FoundMap | string | null {
  try {
    if (!disk.exists(name)) return null;
    const file = disk.open(name, { create: false });
    const size = file.size();
    file.close();
    // Made and not written yet, or far beyond what we write.
    if (size === 0) return null;
    if (size > DURABLE_MAP_BYTES_MAX) return `"${name}" on "${disk.path}" has ${size} bytes`;
    const bytes = disk.readFile(name);
    return { bytes, map: decodeDurableMap(bytes) };
  } catch (error) {
    if (!(error instanceof StorageError) && !(error instanceof DiskError)) throw error;
    return `"${name}" on "${disk.path}" is not used: ${describeError(error)}`;
  }
}

export class MapFiles {
  readonly #disk: Disk;
  /** Index into `MAP_NAMES` of the file to write next; null before the first look. */
  #next: number | null = null;
  #isWriting = false;
  #waiting: { readonly bytes: Uint8Array; readonly done: Kept } | null = null;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  get isIdle(): boolean {
    return !this.#isWriting;
  }

  /**
   * `bytes` (of `encodeDurableMap`) must stay as they are until `done`. `done` once it is power-safe, or
   * when a newer one took its place before it was begun.
   */
  keep(bytes: Uint8Array, done: Kept): void {
    if (this.#isWriting) {
      this.#waiting?.done(null);
      this.#waiting = { bytes, done };
      return;
    }
    this.#isWriting = true;
    let file: DiskFile;
    try {
      this.#next ??= this.#chooseFirst();
      file = this.#disk.open(MAP_NAMES[this.#next] ?? MAP_NAMES[0], { create: true });
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#finish(error, done);
      return;
    }
    const end = (failure: DiskFailure | null): void => {
      file.close();
      // After a failure the same file is tried again: the other one is the whole one.
      if (failure === null) this.#next = 1 - (this.#next ?? 0);
      this.#finish(failure, done);
    };
    file.write(bytes, 0, (failure) => {
      if (failure !== null) end(failure);
      else file.sync(end);
    });
  }

  /** The file that does not hold the newest whole map. */
  #chooseFirst(): number {
    const [first, second] = MAP_NAMES.map((name) => readOne(this.#disk, name));
    const a = typeof first === 'object' && first !== null ? first.map : null;
    const b = typeof second === 'object' && second !== null ? second.map : null;
    if (a === null) return 0;
    return b === null || isNewerMap(a, b) ? 1 : 0;
  }

  #finish(failure: DiskFailure | null, done: Kept): void {
    this.#isWriting = false;
    const waiting = this.#waiting;
    this.#waiting = null;
    done(failure);
    if (waiting !== null) this.keep(waiting.bytes, waiting.done);
  }
}
