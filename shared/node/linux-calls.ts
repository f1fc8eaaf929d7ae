/**
 * The three system calls that Node lacks, through koffi: `posix_fadvise`, `fallocate` for punching
 * holes, and `preadv2(RWF_NOWAIT)`, which tells cached pages from others. Where koffi or a call
 * cannot be loaded everything still works: reads go to the thread pool, holes are written as zeros.
 */
import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';

export interface LinuxCalls {
  /** Keeps the kernel from reading ahead into large folios, which make 4 KiB overwrites 13 times dearer. */
  adviseRandom(fd: number): void;
  /** Drops clean pages of the range from the cache; those of other lengths than pages stay. */
  dropCached(fd: number, offset: number, length: number): void;
  /** Bytes read; -1 when it would have to wait for a device, or failed (a plain read tells why). */
  readNoWait(fd: number, target: Uint8Array, offset: number): number;
  /** `errno` is 0 for success. Runs on the thread pool. */
  punch(fd: number, offset: number, length: number, done: (errno: number) => void): void;
}

type NativeFunction = ((...args: readonly unknown[]) => unknown) & {
  async(...args: readonly unknown[]): void;
};

interface Koffi {
  load(path: null): { func(declaration: string): NativeFunction };
  address(value: Uint8Array): bigint;
  errno(): number;
}

const POSIX_FADV_RANDOM = 1;
const POSIX_FADV_DONTNEED = 4;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const RWF_NOWAIT = 8;
const EIO = 5;
/** Written in place of a hole where holes cannot be punched. */
const ZEROS = new Uint8Array(64 * 1024);

function writeZeros(
  fd: number,
  offset: number,
  length: number,
  done: (errno: number) => void,
): void {
  let position = 0;
  const step = (): void => {
    if (position >= length) {
      done(0);
      return;
    }
    try {
      position += writeSync(
        fd,
        ZEROS,
        0,
        Math.min(ZEROS.length, length - position),
        offset + position,
      );
    } catch {
      // The errno is lost on purpose: whoever cannot zero a range treats its disk as failed anyway.
      done(EIO);
      return;
    }
    setImmediate(step);
  };
  setImmediate(step);
}

export const PORTABLE_CALLS: LinuxCalls = {
  adviseRandom: () => undefined,
  dropCached: () => undefined,
  readNoWait: () => -1,
  punch: writeZeros,
};

function loadNative(): LinuxCalls {
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  const library = koffi.load(null);
  const fadvise = library.func(
    'int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)',
  );
  const fallocate = library.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
  const preadv2 = library.func(
    'int64_t preadv2(int fd, const void *iov, int count, int64_t offset, int flags)',
  );
  // One iovec, filled per call: base address and length. Calls are synchronous, so one is enough.
  const iovec = Buffer.alloc(16);
  return {
    adviseRandom(fd) {
      // Advice: a file system that refuses it serves all the same.
      fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    },
    dropCached(fd, offset, length) {
      fadvise(fd, offset, length, POSIX_FADV_DONTNEED);
    },
    readNoWait(fd, target, offset) {
      iovec.writeBigUInt64LE(koffi.address(target), 0);
      iovec.writeUInt32LE(target.length, 8);
      return Number(preadv2(fd, iovec, 1, offset, RWF_NOWAIT));
    },
    punch(fd, offset, length, done) {
      const mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
      fallocate.async(fd, mode, offset, length, (failure: unknown, result: unknown) => {
        if (failure === null && result === 0) done(0);
        // No holes on this file system (EOPNOTSUPP), or worse: writing zeros finds out.
        else writeZeros(fd, offset, length, done);
      });
    },
  };
}

let loaded: LinuxCalls | null = null;

/** The native calls, or the portable ones when koffi cannot be loaded here. */
export function linuxCalls(): LinuxCalls {
  if (loaded !== null) return loaded;
  try {
    loaded = process.platform === 'linux' ? loadNative() : PORTABLE_CALLS;
  } catch {
    // No prebuilt library for this system: slower, not broken.
    loaded = PORTABLE_CALLS;
  }
  return loaded;
}
