/**
 * A disk of ours as the extent store sees it, without a way to change it: slabs are read where they are,
 * all the rest (superblock, index, journal, maps) is a copy in a temporary folder. So the production
 * store opens and recovers it, journal and all, and the originals stay as they were.
 */
import { constants, cpSync, existsSync, mkdirSync, readdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { LinuxDisk } from '../shared/node/linux-disk.ts';
import { toDiskError } from '../shared/node/linux-file.ts';
import type { Disk, DiskFile, DiskIndex } from '../shared/ports.ts';
import { ReadOnlyFile } from './read-only-file.ts';

const SLABS = 'slabs';
/** What belongs to a store; other files in the directory are not looked at. */
const COPIED = /^(superblock\.json|index|journal|map-[ab])$/;

export class RescueDisk implements Disk {
  readonly path: string;
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
    return this.#copy.openIndex(name);
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
