/**
 * The slabs: sparse files of 256 slots of 4 MiB, opened at first use and kept open (opening per I/O
 * costs three to four times the I/O). Knows which of them hold un-synced data.
 */
import { EXTENT_BYTES, MiB } from '../../shared/base/units.ts';
import type { Disk, DiskFailure, DiskFile } from '../../shared/ports.ts';
import type { SyncDone } from './group-sync.ts';
import { GroupSync } from './group-sync.ts';

export const SLAB_FOLDER = 'slabs';
/** 1 GiB per slab: a thousand files per TiB, and holes of deleted volumes stay within one file. */
export const SLOTS_PER_SLAB = 256;

export class Slab {
  readonly file: DiskFile;
  readonly #sync: GroupSync;
  /** Since the last sync began. */
  unsyncedBytes = 0;

  constructor(file: DiskFile) {
    this.file = file;
    this.#sync = new GroupSync((done) => {
      this.unsyncedBytes = 0;
      file.sync(done);
    });
  }

  get isSynced(): boolean {
    return this.#sync.isIdle;
  }

  wrote(bytes: number): void {
    this.unsyncedBytes += bytes;
    this.#sync.mark();
  }

  sync(done: SyncDone): void {
    this.#sync.request(done);
  }
}

export function slabName(number: number): string {
  return `${SLAB_FOLDER}/${String(number).padStart(4, '0')}.slab`;
}

export function slotOffset(slot: number): number {
  return (slot % SLOTS_PER_SLAB) * EXTENT_BYTES;
}

export class SlabFiles {
  readonly #disk: Disk;
  readonly #slabs: (Slab | undefined)[] = [];

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** The slab of a slot. Throws `DiskError` when it cannot be opened or made. */
  of(slot: number): Slab {
    return (
      this.#slabs[Math.floor(slot / SLOTS_PER_SLAB)] ??
      this.#open(Math.floor(slot / SLOTS_PER_SLAB))
    );
  }

  #open(number: number): Slab {
    const slab = new Slab(this.#disk.open(slabName(number), { create: true }));
    this.#slabs[number] = slab;
    return slab;
  }

  /** Opens all slabs that exist, and calls `visit` with number and size in bytes. Throws `DiskError`. */
  openExisting(visit: (number: number, size: number) => void): void {
    for (const name of this.#disk.list()) {
      const match = /^slabs\/(\d{4,})\.slab$/.exec(name);
      if (match === null) continue;
      const number = Number(match[1]);
      visit(number, this.of(number * SLOTS_PER_SLAB).file.size());
    }
  }

  /** Marks everything that is open as un-synced: after a crash nobody knows. */
  distrust(): void {
    for (const slab of this.#slabs) slab?.wrote(0);
  }

  /** `done` when everything written to any slab before this call is durable. */
  syncAll(done: SyncDone): void {
    let waiting = 1;
    let failure: DiskFailure | null = null;
    const finish: SyncDone = (one) => {
      failure ??= one;
      waiting -= 1;
      if (waiting === 0) done(failure);
    };
    for (const slab of this.#slabs) {
      if (slab === undefined || slab.isSynced) continue;
      waiting += 1;
      slab.sync(finish);
    }
    finish(null);
  }

  close(): void {
    for (const slab of this.#slabs) slab?.file.close();
  }
}

/** Un-synced data of one slab from which a sync starts in the background: about 10 ms of an SSD's writing. */
export const BACKGROUND_SYNC_BYTES = 16 * MiB;
