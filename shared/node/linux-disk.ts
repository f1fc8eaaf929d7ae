/**
 * The real Disk port: one directory on a local file system. Created names are made durable at once
 * by syncing their folder; that is rare (a slab per GiB, a journal file per 16 MiB) and takes a
 * millisecond or two.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { assert } from '../base/assert.ts';
import type { Disk, DiskFile, DiskIndex } from '../ports.ts';
import type { LinuxCalls } from './linux-calls.ts';
import { linuxCalls } from './linux-calls.ts';
import { LinuxFile, toDiskError } from './linux-file.ts';
import { LinuxIndex } from './linux-index.ts';

/** One level of folder, no dots in front: what the port allows. */
const NAME = /^[a-z0-9+-][a-z0-9.+-]*(\/[a-z0-9+-][a-z0-9.+-]*)?$/i;

export class LinuxDisk implements Disk {
  readonly path: string;
  readonly #calls: LinuxCalls;

  /** `path` is created when absent. `calls`: `PORTABLE_CALLS` to do without koffi. Throws `DiskError`. */
  constructor(path: string, calls: LinuxCalls = linuxCalls()) {
    this.path = path;
    this.#calls = calls;
    try {
      mkdirSync(path, { recursive: true });
    } catch (error) {
      throw toDiskError(error, `Making the directory "${path}"`);
    }
  }

  open(name: string, options: { readonly create: boolean }): DiskFile {
    const path = this.#resolve(name);
    try {
      const isNew = options.create && !existsSync(path);
      if (isNew) this.#makeFolderOf(path);
      const fd = openSync(path, isNew ? 'wx+' : 'r+');
      if (isNew) syncFolder(dirname(path));
      return new LinuxFile(fd, path, this.#calls);
    } catch (error) {
      throw toDiskError(error, `Opening "${path}"`);
    }
  }

  openIndex(name: string): DiskIndex {
    const index = new LinuxIndex(this.#resolve(name));
    syncFolder(this.path);
    return index;
  }

  exists(name: string): boolean {
    return existsSync(this.#resolve(name));
  }

  list(): readonly string[] {
    try {
      const names: string[] = [];
      for (const entry of readdirSync(this.path, { withFileTypes: true })) {
        if (!entry.isDirectory()) {
          names.push(entry.name);
          continue;
        }
        const below = readdirSync(join(this.path, entry.name));
        if (below.length === 0) names.push(entry.name);
        for (const name of below) names.push(`${entry.name}/${name}`);
      }
      return names.sort();
    } catch (error) {
      throw toDiskError(error, `Listing "${this.path}"`);
    }
  }

  readFile(name: string): Uint8Array {
    const path = this.#resolve(name);
    try {
      return Uint8Array.from(readFileSync(path));
    } catch (error) {
      throw toDiskError(error, `Reading "${path}"`);
    }
  }

  writeFile(name: string, bytes: Uint8Array): void {
    const path = this.#resolve(name);
    const draft = `${path}.new`;
    try {
      this.#makeFolderOf(path);
      const fd = openSync(draft, 'w');
      try {
        let position = 0;
        while (position < bytes.length) position += writeSync(fd, bytes, position);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(draft, path);
      syncFolder(dirname(path));
    } catch (error) {
      throw toDiskError(error, `Writing "${path}"`);
    }
  }

  remove(name: string): void {
    const path = this.#resolve(name);
    try {
      rmSync(path, { force: true });
    } catch (error) {
      throw toDiskError(error, `Removing "${path}"`);
    }
  }

  space(): { readonly totalBytes: number; readonly freeBytes: number } {
    try {
      const status = statfsSync(this.path);
      return {
        totalBytes: status.blocks * status.bsize,
        freeBytes: status.bavail * status.bsize,
      };
    } catch (error) {
      throw toDiskError(error, `Asking for the space of "${this.path}"`);
    }
  }

  #resolve(name: string): string {
    assert(NAME.test(name), 'a file name has at most one level of folder', { name });
    return join(this.path, name);
  }

  #makeFolderOf(path: string): void {
    const folder = dirname(path);
    if (existsSync(folder)) return;
    mkdirSync(folder);
    syncFolder(this.path);
  }
}

/** Makes the names in a folder durable. */
function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
