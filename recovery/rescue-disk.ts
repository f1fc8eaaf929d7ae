/**
 * A disk of ours as the extent store sees it, without a way to change it: slabs are read where they are,
 * all the rest (superblock, index, journal, maps) is a copy in a temporary folder. So the production
 * store opens and recovers it, journal and all, and the originals stay as they were.
 */
import { constants, cpSync, existsSync, mkdirSync, readdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import {
  decodeEntry,
  decodeEntryKey,
  decodeNumber,
  decodeNumberKey,
  decodeTable,
  encodeTable,
  TABLE_BYTES,
} from '../executor/disk/index-records.ts';
import { LinuxDisk } from '../shared/node/linux-disk.ts';
import { toDiskError } from '../shared/node/linux-file.ts';
import type { Disk, DiskFile, DiskIndex } from '../shared/ports.ts';
import { ReadOnlyFile } from './read-only-file.ts';

const SLABS = 'slabs';
/** What belongs to a store; other files in the directory are not looked at. */
const COPIED = /^(superblock\.json|index|journal|map-[ab])$/;

export class RescueDisk implements Disk {
  readonly path: string;
  /** Records of the index that were damaged and left out, by key in hexadecimal. */
  readonly damaged = new Set<string>();
  readonly #copy: LinuxDisk;

  /** `scratch`: an empty folder for the copies, removed by the caller. Throws `DiskError`. */
  constructor(path: string, scratch: string) {
    this.path = path;
    try {
      mkdirSync(scratch, { recursive: true });
      for (const name of readdirSync(path)) {
        if (!COPIED.test(name)) continue;
        cpSync(join(path, name), join(scratch, name), {
          recursive: true,
          mode: constants.COPYFILE_FICLONE,
        });
      }
    } catch (error) {
      throw toDiskError(error, `Copying the books of "${path}" to "${scratch}"`);
    }
    this.#copy = new LinuxDisk(scratch);
  }

  open(name: string, options: { readonly create: boolean }): DiskFile {
    const original = join(this.path, name);
    // A slab that is gone reads as zeros from an empty file beside the copies.
    return name.startsWith(`${SLABS}/`) && existsSync(original)
      ? new ReadOnlyFile(original)
      : this.#copy.open(name, options);
  }

  openIndex(name: string): DiskIndex {
    return tolerant(this.#copy.openIndex(name), this.damaged);
  }

  /** For a store whose journal is damaged: it opens as of its last checkpoint. */
  dropJournal(): void {
    for (const name of this.#copy.list()) if (name.startsWith('journal/')) this.#copy.remove(name);
  }

  exists(name: string): boolean {
    return this.#copy.exists(name) || this.#slabs().includes(name);
  }

  list(): readonly string[] {
    return [...new Set([...this.#copy.list(), ...this.#slabs()])].sort();
  }

  readFile(name: string): Uint8Array {
    return this.#copy.readFile(name);
  }

  writeFile(name: string, bytes: Uint8Array): void {
    this.#copy.writeFile(name, bytes);
  }

  remove(name: string): void {
    this.#copy.remove(name);
  }

  space(): { readonly totalBytes: number; readonly freeBytes: number } {
    try {
      const status = statfsSync(this.path);
      return { totalBytes: status.blocks * status.bsize, freeBytes: status.bavail * status.bsize };
    } catch (error) {
      throw toDiskError(error, `Asking for the space of "${this.path}"`);
    }
  }

  #slabs(): readonly string[] {
    const folder = join(this.path, SLABS);
    if (!existsSync(folder)) return [];
    return readdirSync(folder).map((name) => `${SLABS}/${name}`);
  }
}

/** Tables of extents are kept apart from their entries, under the same numbers. */
const ENTRY_LETTER = 'e'.charCodeAt(0);
const TABLE_LETTER = 't'.charCodeAt(0);

/**
 * Leaves out what is damaged, so that one bad record costs its extent and not the disk. A damaged table
 * reads as an empty one: `damaged` names it, and whoever reads the extent asks there first.
 */
function tolerant(index: DiskIndex, damaged: Set<string>): DiskIndex {
  const note = (key: Uint8Array): void => {
    damaged.add(Buffer.from(key).toString('hex'));
  };
  return {
    get(key) {
      const value = index.get(key);
      if (value === null || key[0] !== TABLE_LETTER) return value;
      if (decodeTable(value, new Uint8Array(TABLE_BYTES))) return value;
      note(key);
      return encodeTable(new Uint8Array(TABLE_BYTES));
    },
    *range(from, to) {
      for (const entry of index.range(from, to)) {
        const isNumber = from[0] !== ENTRY_LETTER;
        const isWhole = isNumber
          ? decodeNumberKey(entry.key) !== null && decodeNumber(entry.value) !== null
          : decodeEntryKey(entry.key) !== null && decodeEntry(entry.value) !== null;
        if (isWhole) yield entry;
        else note(entry.key);
      }
    },
    commit: (changes, done) => index.commit(changes, done),
    close: () => index.close(),
  };
}
