/**
 * The simulated Disk port. Everything is in memory; asynchronous operations take time on the Clock
 * port; the seed decides what a crash leaves. Crash semantics:
 *
 * - process: written bytes stay, operations under way happen in part, callbacks never come;
 * - power: of the un-synced sectors any subset stays, one may be torn; removed files may come back;
 *   an index commit under way is there as a whole or not at all.
 *
 * Handles opened before a crash belong to the dead process: they do nothing any more.
 *
 * Faults: errors by operation (`inject`), a stall that ends and one that does not (`hang`), a file system
 * that is full early (`fillUp`), and what disk-defects.ts keeps: rot, unreadable pages, lost and
 * misdirected writes, slowness.
 */
import { present } from '../../../shared/base/assert.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import type { Clock, Disk, DiskFailure, DiskFile, DiskIndex } from '../../../shared/ports.ts';
import { DiskError } from '../../../shared/ports.ts';
import { DiskDefects } from './disk-defects.ts';
import { PAGE_BYTES, SimulatedBytes } from './simulated-file.ts';
import { SimulatedIndex, SimulatedIndexContent } from './simulated-index.ts';

export type DiskOp = 'read' | 'write' | 'sync' | 'punch' | 'commit' | 'open' | 'remove';

export interface DiskFault {
  readonly op: DiskOp;
  /** EIO, ENOSPC, EROFS, … */
  readonly code: string;
  /** Only for names that start with it. */
  readonly name?: string;
  /** How many operations fail; for ever when absent. */
  readonly times?: number;
  /** How many matching operations succeed before the first one fails. */
  readonly after?: number;
}

export interface SimulatedDiskOptions {
  readonly path: string;
  readonly totalBytes: number;
  /** Mean latency of asynchronous operations; each takes half to one and a half of it. */
  readonly latencyMs: number;
}

interface Operation {
  readonly effect: (part: number) => void;
}

interface ArmedFault {
  readonly fault: DiskFault;
  skip: number;
  left: number;
}

type Done = (failure: DiskFailure | null) => void;

export class SimulatedDisk implements Disk {
  readonly path: string;
  readonly #options: SimulatedDiskOptions;
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly #files = new Map<string, SimulatedBytes>();
  readonly #indexes = new Map<string, SimulatedIndexContent>();
  /** Removed since the last power loss: a removal is never synced, so it may be undone. */
  readonly #removed = new Map<string, SimulatedBytes>();
  #running = new Set<Operation>();
  #stalled: (() => void)[] | null = null;
  #isHung = false;
  #limitBytes: number;
  #faults: ArmedFault[] = [];
  /** Counts processes: handles of an earlier one are dead. */
  #incarnation = 0;
  readonly defects = new DiskDefects();
  /** How often each kind of operation was asked for: what tests look at. */
  readonly counts: Record<DiskOp, number> = {
    read: 0,
    write: 0,
    sync: 0,
    punch: 0,
    commit: 0,
    open: 0,
    remove: 0,
  };

  constructor(options: SimulatedDiskOptions, clock: Clock, prng: Prng) {
    this.path = options.path;
    this.#options = options;
    this.#limitBytes = options.totalBytes;
    this.#clock = clock;
    this.#prng = prng;
  }

  // ── Faults ───────────────────────────────────────────────────────────────────────────────────

  inject(fault: DiskFault): void {
    this.#faults.push({
      fault,
      skip: fault.after ?? 0,
      left: fault.times ?? Number.POSITIVE_INFINITY,
    });
  }

  heal(): void {
    this.#faults = [];
  }

  /** The file system has only so many bytes left, whatever its owner was promised. */
  fillUp(freeBytes: number): void {
    this.#limitBytes = Math.min(this.#options.totalBytes, this.#usedBytes() + freeBytes);
  }

  /** Somebody made room again. */
  makeRoom(): void {
    this.#limitBytes = this.#options.totalBytes;
  }

  /** Asynchronous operations hang for ever, whoever asks; not even a new process helps. */
  hang(): void {
    this.#isHung = true;
    this.stall();
  }

  get isHung(): boolean {
    return this.#isHung;
  }

  /** Asynchronous operations hang until `resume`. */
  stall(): void {
    this.#stalled ??= [];
  }

  resume(): void {
    if (this.#isHung) return;
    const waiting = this.#stalled ?? [];
    this.#stalled = null;
    for (const start of waiting) start();
  }

  /** Rot: nobody wrote it, and nobody is told. */
  flipBit(name: string, offset: number, bit: number): void {
    present(this.#files.get(name), name).flipBit(offset, bit);
    this.defects.noteDamage(name, offset, 1);
  }

  /** Flips a bit of a value in an index; false when it has no entry whose key begins so. */
  flipIndexBit(name: string, keyStart: string, prng: Prng): boolean {
    return this.#indexes.get(name)?.flipBit(keyStart, prng) ?? false;
  }

  /** Offsets of the pages of the range that hold something, in order. */
  pagesOf(name: string, offset: number, length: number): number[] {
    return this.#files.get(name)?.pagesWithin(offset, length) ?? [];
  }

  /** The file as it is on the platter and in the caches now; for tests. */
  bytesOf(name: string): Uint8Array {
    const file = present(this.#files.get(name), name);
    const bytes = new Uint8Array(file.size);
    file.read(bytes, 0);
    return bytes;
  }

  /** Ends the process that uses the disk, or the power of the machine. */
  crash(kind: 'process' | 'power', prng: Prng = this.#prng): void {
    this.#incarnation += 1;
    this.#stalled = this.#isHung ? [] : null;
    for (const operation of this.#running) operation.effect(prng.fraction());
    this.#running = new Set();
    if (kind === 'process') return;
    this.defects.onPowerLoss();
    for (const file of this.#files.values()) file.losePower(prng);
    for (const [name, file] of this.#removed) {
      if (this.#files.has(name) || prng.chance(0.5)) continue;
      file.losePower(prng);
      this.#files.set(name, file);
    }
    this.#removed.clear();
  }

  // ── The port ─────────────────────────────────────────────────────────────────────────────────

  open(name: string, options: { readonly create: boolean }): DiskFile {
    this.#throwFault('open', name);
    let bytes = this.#files.get(name);
    if (bytes === undefined) {
      if (!options.create) throw new DiskError('ENOENT', `Opening "${name}": no such file`);
      bytes = new SimulatedBytes();
      this.#files.set(name, bytes);
      this.#removed.delete(name);
    }
    return this.#handle(name, bytes);
  }

  openIndex(name: string): DiskIndex {
    let content = this.#indexes.get(name);
    if (content === undefined) {
      content = new SimulatedIndexContent();
      this.#indexes.set(name, content);
    }
    return new SimulatedIndex(name, content, (op, at, effect, done) =>
      this.#start(op, at, this.#incarnation, (part) => (part >= 0.5 ? effect() : undefined), done),
    );
  }

  exists(name: string): boolean {
    return this.#files.has(name) || this.#indexes.has(name);
  }

  list(): readonly string[] {
    return [
      ...this.#files.keys(),
      ...[...this.#indexes.keys()].map((name) => `${name}/data.mdb`),
    ].sort();
  }

  readFile(name: string): Uint8Array {
    this.#throwFault('read', name);
    const file = this.#files.get(name);
    if (file === undefined) throw new DiskError('ENOENT', `Reading "${name}": no such file`);
    const bytes = new Uint8Array(file.size);
    file.read(bytes, 0);
    return bytes;
  }

  writeFile(name: string, bytes: Uint8Array): void {
    this.#throwFault('write', name);
    const file = new SimulatedBytes();
    file.write(bytes, 0);
    file.settle();
    this.#files.set(name, file);
    this.#removed.delete(name);
    this.defects.onRemoved(name);
  }

  remove(name: string): void {
    this.#throwFault('remove', name);
    const file = this.#files.get(name);
    if (file === undefined) return;
    this.#files.delete(name);
    this.#removed.set(name, file);
    this.defects.onRemoved(name);
  }

  space(): { readonly totalBytes: number; readonly freeBytes: number } {
    return {
      totalBytes: this.#options.totalBytes,
      freeBytes: Math.max(0, this.#limitBytes - this.#usedBytes()),
    };
  }

  #usedBytes(): number {
    let pages = 0;
    for (const file of this.#files.values()) pages += file.pageCount;
    return pages * PAGE_BYTES;
  }

  #handle(name: string, bytes: SimulatedBytes): DiskFile {
    const incarnation = this.#incarnation;
    const isDead = (): boolean => incarnation !== this.#incarnation;
    const readSync = (target: Uint8Array, offset: number): void => {
      this.#throwFault('read', name);
      const failure = this.defects.readError(name, offset, target.length);
      if (failure !== null) throw failure;
      bytes.read(target, offset);
    };
    return {
      readSync,
      readCached: (target, offset) => {
        // Deterministic, and often enough false that both ways are walked.
        if (isDead() || this.#prng.chance(0.25)) return false;
        readSync(target, offset);
        return true;
      },
      writeSync: (source, offset) => {
        if (isDead()) return;
        this.#throwFault('write', name);
        this.#throwWhenFull(name, bytes, offset, source.length);
        this.#store(name, bytes, source, offset);
      },
      read: (target, offset, done) => {
        let failure: DiskFailure | null = null;
        const effect = (): void => {
          failure = this.defects.readError(name, offset, target.length);
          if (failure === null) bytes.read(target, offset);
        };
        this.#start('read', name, incarnation, effect, (other) => done(failure ?? other));
      },
      write: (source, offset, done) => {
        const failure = this.#fullness(name, bytes, offset, source.length);
        const effect = (part: number): void => {
          // The system writes page by page: a dying process leaves whole ones.
          const pages = Math.floor((source.length * part) / PAGE_BYTES);
          const length = part >= 1 ? source.length : pages * PAGE_BYTES;
          if (length > 0) this.#store(name, bytes, source.subarray(0, length), offset);
        };
        this.#start(
          'write',
          name,
          incarnation,
          failure === null ? effect : () => undefined,
          (other) => done(failure ?? other),
        );
      },
      sync: (done) => {
        const settle = bytes.beginSync();
        const forget = this.defects.beginSync(name);
        const finish = (): void => {
          settle();
          forget();
        };
        this.#start('sync', name, incarnation, (part) => (part >= 1 ? finish() : undefined), done);
      },
      punch: (offset, length, done) => {
        const effect = (): void => {
          bytes.punch(offset, length);
          this.defects.onRewritten(name, offset, length);
        };
        this.#start('punch', name, incarnation, effect, done);
      },
      size: () => bytes.size,
      truncate: (size) => {
        if (!isDead()) bytes.truncate(size);
      },
      close: () => undefined,
    };
  }

  /** Writes as the device does: where it should be, elsewhere, or nowhere. */
  #store(name: string, bytes: SimulatedBytes, source: Uint8Array, offset: number): void {
    const { defects } = this;
    const fate = defects.fateOf(name, offset, source.length);
    if (fate.kind === 'stored') {
      bytes.write(source, offset);
      defects.onRewritten(name, offset, source.length);
      return;
    }
    defects.noteDamage(name, offset, source.length);
    if (fate.kind === 'lost') return;
    bytes.write(source, fate.offset);
    defects.noteDamage(name, fate.offset, source.length);
  }

  /** `effect(1)` when the operation completes, `effect(part)` when a crash cuts it short. */
  #start(
    op: DiskOp,
    name: string,
    incarnation: number,
    effect: (part: number) => void,
    done: Done,
  ): void {
    if (incarnation !== this.#incarnation) return;
    this.counts[op] += 1;
    const failure = this.#findFault(op, name);
    const operation: Operation = { effect: failure === null ? effect : () => undefined };
    this.#running.add(operation);
    const start = (): void => {
      const { slowness } = this.defects;
      const ms = this.#options.latencyMs * slowness * (0.5 + this.#prng.fraction());
      this.#clock.after(ms, () => {
        if (incarnation !== this.#incarnation) return;
        if (this.#stalled !== null) {
          this.#stalled.push(start);
          return;
        }
        this.#running.delete(operation);
        operation.effect(1);
        done(failure);
      });
    };
    if (this.#stalled === null) start();
    else this.#stalled.push(start);
  }

  #throwFault(op: DiskOp, name: string): void {
    this.counts[op] += 1;
    const failure = this.#findFault(op, name);
    if (failure !== null) throw failure;
  }

  #findFault(op: DiskOp, name: string): DiskError | null {
    for (const armed of this.#faults) {
      const { fault } = armed;
      if (fault.op !== op || armed.left <= 0) continue;
      if (fault.name !== undefined && !name.startsWith(fault.name)) continue;
      if (armed.skip > 0) {
        armed.skip -= 1;
        continue;
      }
      armed.left -= 1;
      return new DiskError(fault.code, `Injected ${fault.code} on ${op} of "${name}"`);
    }
    return null;
  }

  #throwWhenFull(name: string, bytes: SimulatedBytes, offset: number, length: number): void {
    const failure = this.#fullness(name, bytes, offset, length);
    if (failure !== null) throw failure;
  }

  #fullness(name: string, bytes: SimulatedBytes, offset: number, length: number): DiskError | null {
    const missing = bytes.pagesMissing(offset, length);
    if (missing === 0) return null;
    // Counting every page is dear; only a disk that can become full has to.
    if (this.#limitBytes === Number.MAX_SAFE_INTEGER) return null;
    if (this.#usedBytes() + missing * PAGE_BYTES <= this.#limitBytes) return null;
    return new DiskError(
      'ENOSPC',
      `Writing ${length} bytes at ${offset} of "${name}": disk is full`,
    );
  }
}
