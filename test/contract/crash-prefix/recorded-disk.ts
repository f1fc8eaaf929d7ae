/**
 * The real Linux disk, recorded. Every operation really happens; but its success is reported only when
 * the test says so (`pump`), in an order that the seed chooses. So the store above works on real files
 * and yet does the same thing every time, whatever the machine is doing.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Prng } from '../../../shared/base/prng.ts';
import type { LinuxDisk } from '../../../shared/node/linux-disk.ts';
import { LMDB_FILE } from '../../../shared/node/lmdb-file.ts';
import type { Disk, DiskFailure, DiskFile, DiskIndex, IndexChange } from '../../../shared/ports.ts';
import type { DiskEvent } from './disk-events.ts';

type Done = (failure: DiskFailure | null) => void;

/** A wait that outlasts this many rounds of the loop without any operation under way is stuck. */
const IDLE_ROUNDS_MAX = 1000;

export interface RecordedDiskHooks {
  /** Runs before anything is recorded: the last moment to note what the store says of itself. */
  readonly beforeEvent: (event: DiskEvent) => void;
  /** In real time: reports the success of an operation that has ended, at once or later. */
  readonly deliver?: (report: () => void) => void;
}

interface Answer {
  readonly id: number;
  readonly report: () => void;
}

export class RecordedDisk implements Disk {
  readonly path: string;
  readonly events: DiskEvent[] = [];
  readonly #inner: LinuxDisk;
  readonly #prng: Prng;
  readonly #hooks: RecordedDiskHooks;
  #nextId = 1;
  #running = 0;
  #answers: Answer[] = [];
  #wake: (() => void) | null = null;

  constructor(inner: LinuxDisk, prng: Prng, hooks: RecordedDiskHooks) {
    this.path = inner.path;
    this.#inner = inner;
    this.#prng = prng;
    this.#hooks = hooks;
  }

  // ── Letting things happen ────────────────────────────────────────────────────────────────────

  /** Reports one operation of those under way; false when there is none. */
  async pump(): Promise<boolean> {
    await this.#quiet();
    if (this.#answers.length === 0) return false;
    const answers = this.#answers.sort((a, b) => a.id - b.id);
    const [chosen] = answers.splice(this.#prng.below(answers.length), 1);
    if (chosen !== undefined) {
      this.#record({ kind: 'end', id: chosen.id });
      chosen.report();
    }
    await settle();
    return true;
  }

  /** Until nothing is under way. */
  async drain(): Promise<void> {
    while (await this.pump());
  }

  async wait<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const mark = (): void => {
      isSettled = true;
    };
    promise.then(mark, mark);
    let idle = 0;
    while (!isSettled && idle < IDLE_ROUNDS_MAX) idle = (await this.pump()) ? 0 : idle + 1;
    if (!isSettled) throw new Error('The store waits although no operation is under way');
    return promise;
  }

  /** Until everything that really runs has come back. */
  async #quiet(): Promise<void> {
    await settle();
    while (this.#running > 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await settle();
    }
  }

  // ── The port ─────────────────────────────────────────────────────────────────────────────────

  open(name: string, options: { readonly create: boolean }): DiskFile {
    const isNew = options.create && !this.#inner.exists(name);
    if (isNew) this.#record({ kind: 'create', name });
    return this.#wrap(name, this.#inner.open(name, options));
  }

  openIndex(name: string): DiskIndex {
    const inner = this.#inner.openIndex(name);
    const file = join(this.path, name, LMDB_FILE);
    this.#record({ kind: 'index', bytes: readFileSync(file) });
    return {
      get: (key) => inner.get(key),
      range: (from, to) => inner.range(from, to),
      commit: (changes: readonly IndexChange[], done: Done) => {
        const after = { bytes: Buffer.alloc(0) };
        const id = this.#begin();
        this.#record({ kind: 'commit', id, after });
        inner.commit(changes, (failure) => {
          after.bytes = readFileSync(file);
          this.#finish(id, () => done(failure));
        });
      },
      close: () =>
        new Promise((resolve, reject) => {
          const id = this.#begin();
          inner.close().then(() => this.#finish(id, resolve), reject);
        }),
    };
  }

  exists(name: string): boolean {
    return this.#inner.exists(name);
  }

  list(): readonly string[] {
    return this.#inner.list();
  }

  readFile(name: string): Uint8Array {
    return this.#inner.readFile(name);
  }

  writeFile(name: string, bytes: Uint8Array): void {
    this.#record({ kind: 'replace', name, bytes: Buffer.from(bytes) });
    this.#inner.writeFile(name, bytes);
  }

  remove(name: string): void {
    if (this.#inner.exists(name)) this.#record({ kind: 'remove', name });
    this.#inner.remove(name);
  }

  space(): { readonly totalBytes: number; readonly freeBytes: number } {
    return this.#inner.space();
  }

  #wrap(name: string, inner: DiskFile): DiskFile {
    const readSync = (target: Uint8Array, offset: number): void => inner.readSync(target, offset);
    return {
      readSync,
      readCached: (target, offset) => {
        // What is cached depends on the machine; the seed decides instead.
        if (this.#prng.chance(0.25)) return false;
        readSync(target, offset);
        return true;
      },
      writeSync: (source, offset) => {
        const id = this.#take();
        this.#record({ kind: 'write', id, name, offset, bytes: Buffer.from(source) });
        inner.writeSync(source, offset);
        this.#record({ kind: 'end', id });
      },
      read: (target, offset, done) => {
        const id = this.#begin();
        inner.read(target, offset, (failure) => this.#finish(id, () => done(failure)));
      },
      write: (source, offset, done) => {
        const id = this.#begin();
        this.#record({ kind: 'write', id, name, offset, bytes: Buffer.from(source) });
        inner.write(source, offset, (failure) => this.#finish(id, () => done(failure)));
      },
      sync: (done) => {
        const id = this.#begin();
        this.#record({ kind: 'sync', id, name });
        inner.sync((failure) => this.#finish(id, () => done(failure)));
      },
      punch: (offset, length, done) => {
        const id = this.#begin();
        this.#record({ kind: 'punch', id, name, offset, length });
        inner.punch(offset, length, (failure) => this.#finish(id, () => done(failure)));
      },
      size: () => inner.size(),
      truncate: (size) => {
        const id = this.#take();
        this.#record({ kind: 'truncate', id, name, size });
        inner.truncate(size);
        this.#record({ kind: 'end', id });
      },
      close: () => inner.close(),
    };
  }

  #record(event: DiskEvent): void {
    if (event.kind !== 'end') this.#hooks.beforeEvent(event);
    this.events.push(event);
  }

  #take(): number {
    this.#nextId += 1;
    return this.#nextId;
  }

  #begin(): number {
    this.#running += 1;
    return this.#take();
  }

  #finish(id: number, report: () => void): void {
    this.#running -= 1;
    const { deliver } = this.#hooks;
    if (deliver !== undefined) {
      deliver(() => {
        this.#record({ kind: 'end', id });
        report();
      });
      return;
    }
    this.#answers.push({ id, report });
    const wake = this.#wake;
    if (this.#running > 0 || wake === null) return;
    this.#wake = null;
    wake();
  }
}

/** One macrotask: promises that can settle have settled. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
