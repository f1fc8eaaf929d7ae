/**
 * One file of a disk: `DiskFile` on node:fs. Writes are cut into 64 KiB: larger ones put the pages
 * into large folios, where every later 4 KiB overwrite costs up to 13 times as much on ext4
 * (measured on kernel 6.18). The size is kept here, so that asking for it costs nothing.
 */
import {
  closeSync,
  fdatasync,
  fstatSync,
  ftruncateSync,
  read,
  readSync,
  write,
  writeSync,
} from 'node:fs';
import type { DiskFailure, DiskFile } from '../ports.ts';
import { DiskError } from '../ports.ts';
import type { LinuxCalls } from './linux-calls.ts';

type Done = (failure: DiskFailure | null) => void;

/** See above. */
const WRITE_PIECE_BYTES = 64 * 1024;
/** One read may be as long as an extent; this only bounds what one pool thread does at a time. */
const READ_PIECE_BYTES = 4 * 1024 * 1024;

/** The code and text of what node:fs throws; unknown shapes become EIO, the safe reading. */
export function toDiskError(error: unknown, what: string): DiskError {
  if (error instanceof DiskError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'EIO';
  const text = error instanceof Error ? error.message : String(error);
  return new DiskError(code, `${what}: ${text}`);
}

export class LinuxFile implements DiskFile {
  readonly #fd: number;
  readonly #path: string;
  readonly #calls: LinuxCalls;
  #size: number;
  #isClosed = false;
  #running = 0;

  /** Takes over `fd`, open for reading and writing. */
  constructor(fd: number, path: string, calls: LinuxCalls) {
    this.#fd = fd;
    this.#path = path;
    this.#calls = calls;
    this.#size = fstatSync(fd).size;
    calls.adviseRandom(fd);
  }

  readSync(target: Uint8Array, offset: number): void {
    let position = 0;
    try {
      while (position < target.length) {
        const count = readSync(
          this.#fd,
          target,
          position,
          target.length - position,
          offset + position,
        );
        if (count === 0) break;
        position += count;
      }
    } catch (error) {
      throw toDiskError(error, `Reading ${target.length} bytes at ${offset} of "${this.#path}"`);
    }
    if (position < target.length) target.fill(0, position);
  }

  readCached(target: Uint8Array, offset: number): boolean {
    const wanted = Math.min(target.length, Math.max(0, this.#size - offset));
    if (wanted < target.length) {
      target.fill(0, wanted);
      if (wanted === 0) return true;
    }
    const part = wanted === target.length ? target : target.subarray(0, wanted);
    // A short count means that the rest is not cached: `read` does it all again.
    return this.#calls.readNoWait(this.#fd, part, offset) === wanted;
  }

  dropCached(offset: number, length: number): void {
    this.#calls.dropCached(this.#fd, offset, length);
  }

  writeSync(source: Uint8Array, offset: number): void {
    let position = 0;
    try {
      while (position < source.length) {
        const piece = Math.min(WRITE_PIECE_BYTES, source.length - position);
        position += writeSync(this.#fd, source, position, piece, offset + position);
      }
    } catch (error) {
      throw toDiskError(error, `Writing ${source.length} bytes at ${offset} of "${this.#path}"`);
    }
    if (offset + source.length > this.#size) this.#size = offset + source.length;
  }

  read(target: Uint8Array, offset: number, done: Done): void {
    let position = 0;
    const step = (): void => {
      const piece = Math.min(READ_PIECE_BYTES, target.length - position);
      read(this.#fd, target, position, piece, offset + position, (error, count) => {
        if (error !== null) {
          this.#finish(done, error, `Reading ${target.length} bytes at ${offset}`);
          return;
        }
        position += count;
        if (count > 0 && position < target.length) {
          step();
          return;
        }
        target.fill(0, position);
        this.#finish(done, null, '');
      });
    };
    this.#running += 1;
    step();
  }

  write(source: Uint8Array, offset: number, done: Done): void {
    let position = 0;
    const step = (): void => {
      const piece = Math.min(WRITE_PIECE_BYTES, source.length - position);
      write(this.#fd, source, position, piece, offset + position, (error, count) => {
        if (error !== null) {
          this.#finish(done, error, `Writing ${source.length} bytes at ${offset}`);
          return;
        }
        position += count;
        if (position < source.length) {
          step();
          return;
        }
        if (offset + position > this.#size) this.#size = offset + position;
        this.#finish(done, null, '');
      });
    };
    this.#running += 1;
    step();
  }

  sync(done: Done): void {
    this.#running += 1;
    fdatasync(this.#fd, (error) => this.#finish(done, error, 'Syncing'));
  }

  punch(offset: number, length: number, done: Done): void {
    this.#running += 1;
    this.#calls.punch(this.#fd, offset, length, (errno) => {
      const failure =
        errno === 0 ? null : new DiskError('EIO', `zeroing ${length} bytes failed, errno ${errno}`);
      this.#finish(done, failure, `Punching ${length} bytes at ${offset}`);
    });
  }

  size(): number {
    return this.#size;
  }

  truncate(size: number): void {
    try {
      ftruncateSync(this.#fd, size);
    } catch (error) {
      throw toDiskError(error, `Truncating "${this.#path}" to ${size} bytes`);
    }
    this.#size = size;
  }

  /** The descriptor lives until the last running operation has ended: its number is not reused under it. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#running === 0) closeSync(this.#fd);
  }

  #finish(done: Done, error: unknown, what: string): void {
    this.#running -= 1;
    if (this.#isClosed && this.#running === 0) closeSync(this.#fd);
    done(error === null ? null : toDiskError(error, `${what} of "${this.#path}"`));
  }
}
