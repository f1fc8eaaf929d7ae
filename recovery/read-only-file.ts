/**
 * A slab of a disk that must not be changed: reads go to the file, everything else is refused or does
 * nothing. Blocks that the device does not give are filled with a pattern that nobody writes, so that
 * one bad sector costs its block and not the disk.
 */
import { closeSync, fstatSync, openSync, read, readSync } from 'node:fs';
import { BLOCK_BYTES } from '../shared/base/units.ts';
import { toDiskError } from '../shared/node/linux-file.ts';
import { DiskError, type DiskFailure, type DiskFile } from '../shared/ports.ts';
import { UNREADABLE_BLOCK } from './block-choice.ts';

export class ReadOnlyFile implements DiskFile {
  readonly #fd: number;
  readonly #path: string;

  /** Throws `DiskError`. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#fd = openSync(path, 'r');
    } catch (error) {
      throw toDiskError(error, `Opening "${path}"`);
    }
  }

  readSync(target: Uint8Array, offset: number): void {
    try {
      this.#readWhole(target, offset);
    } catch {
      this.#readByBlock(target, offset);
    }
  }

  readCached(): boolean {
    return false;
  }

  read(target: Uint8Array, offset: number, done: (failure: DiskFailure | null) => void): void {
    read(this.#fd, target, 0, target.length, offset, (error, count) => {
      // The rest: blocks behind the end, or those around a bad sector.
      if (error !== null || count < target.length) this.readSync(target, offset);
      done(null);
    });
  }

  writeSync(): void {
    throw this.#refuse();
  }

  write(_source: Uint8Array, _offset: number, done: (failure: DiskFailure | null) => void): void {
    done(this.#refuse());
  }

  sync(done: (failure: DiskFailure | null) => void): void {
    done(null);
  }

  /** Free slots are given back when a store opens: here they stay as they are, and nobody looks. */
  punch(_offset: number, _length: number, done: (failure: DiskFailure | null) => void): void {
    done(null);
  }

  size(): number {
    return fstatSync(this.#fd).size;
  }

  truncate(): void {
    throw this.#refuse();
  }

  close(): void {
    closeSync(this.#fd);
  }

  #readWhole(target: Uint8Array, offset: number): void {
    let at = 0;
    while (at < target.length) {
      const count = readSync(this.#fd, target, at, target.length - at, offset + at);
      if (count === 0) break;
      at += count;
    }
    target.fill(0, at);
  }

  #readByBlock(target: Uint8Array, offset: number): void {
    for (let at = 0; at < target.length; at += BLOCK_BYTES) {
      const block = target.subarray(at, at + BLOCK_BYTES);
      try {
        this.#readWhole(block, offset + at);
      } catch {
        // EIO: the device does not give this one.
        block.set(UNREADABLE_BLOCK.subarray(0, block.length));
      }
    }
  }

  #refuse(): DiskError {
    return new DiskError('EROFS', `"${this.#path}" is read for a rescue and never written`);
  }
}
