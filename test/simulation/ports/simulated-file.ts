/**
 * The bytes of one simulated file, and what power loss may leave of them. Content is kept as sparse
 * pages. Each layer of `#unsynced` holds, per page, the content before the first write since a sync
 * began: the newest layer collects, older ones belong to syncs still under way.
 */
import type { Prng } from '../../../shared/base/prng.ts';

export const PAGE_BYTES = 4096;
/** What a device writes as a whole. */
export const SECTOR_BYTES = 512;

/** Shared by every page that was written with nothing but zeros (files are zeroed ahead): never changed. */
const ZERO_PAGE = new Uint8Array(PAGE_BYTES);

interface Layer {
  /** Content before; null for a page that was not there. */
  readonly before: Map<number, Uint8Array | null>;
  readonly sizeBefore: number;
}

export class SimulatedBytes {
  #pages = new Map<number, Uint8Array>();
  #layers: Layer[] = [{ before: new Map(), sizeBefore: 0 }];
  size = 0;

  /** Pages that hold something: what the file takes of the file system. */
  get pageCount(): number {
    return this.#pages.size;
  }

  /** Offsets of the pages of the range that hold something, in order. */
  pagesWithin(offset: number, length: number): number[] {
    const first = Math.ceil(offset / PAGE_BYTES);
    const end = Math.floor((offset + length) / PAGE_BYTES);
    return [...this.#pages.keys()]
      .filter((page) => page >= first && page < end)
      .sort((a, b) => a - b)
      .map((page) => page * PAGE_BYTES);
  }

  /** How many pages a write of this range would add. */
  pagesMissing(offset: number, length: number): number {
    let missing = 0;
    const end = Math.ceil((offset + length) / PAGE_BYTES);
    for (let page = Math.floor(offset / PAGE_BYTES); page < end; page += 1) {
      if (!this.#pages.has(page)) missing += 1;
    }
    return missing;
  }

  read(target: Uint8Array, offset: number): void {
    target.fill(0);
    this.#eachPage(offset, target.length, (page, inPage, inRange, length) => {
      const content = this.#pages.get(page);
      if (content !== undefined) target.set(content.subarray(inPage, inPage + length), inRange);
    });
  }

  write(source: Uint8Array, offset: number): void {
    this.#eachPage(offset, source.length, (page, inPage, inRange, length) => {
      this.#remember(page);
      const part = source.subarray(inRange, inRange + length);
      if (length === PAGE_BYTES && Buffer.compare(part, ZERO_PAGE) === 0) {
        this.#pages.set(page, ZERO_PAGE);
      } else {
        this.#writable(page).set(part, inPage);
      }
    });
    this.size = Math.max(this.size, offset + source.length);
  }

  punch(offset: number, length: number): void {
    this.#eachPage(offset, length, (page, inPage, _inRange, part) => {
      if (!this.#pages.has(page)) return;
      this.#remember(page);
      if (part === PAGE_BYTES) this.#pages.delete(page);
      else this.#writable(page).fill(0, inPage, inPage + part);
    });
  }

  truncate(size: number): void {
    if (size < this.size) this.punch(size, this.size - size);
    this.size = size;
  }

  /** Everything written so far becomes durable when the returned function is called. */
  beginSync(): () => void {
    const layer = this.#layers[this.#layers.length - 1] as Layer;
    this.#layers.push({ before: new Map(), sizeBefore: this.size });
    return () => {
      // Syncs may end out of order: a later one covers the earlier ones.
      const index = this.#layers.indexOf(layer);
      if (index >= 0) this.#layers.splice(0, index + 1);
    };
  }

  /** Keeps any subset of the un-synced sectors, at most one of them torn, and any un-synced size. */
  losePower(prng: Prng): void {
    const kept = new Set<number>();
    let mayTear = prng.chance(0.5);
    let size = this.size;
    let sizeIsKept = false;
    for (const layer of [...this.#layers].reverse()) {
      if (!sizeIsKept && layer.sizeBefore !== size) {
        if (prng.chance(0.5)) sizeIsKept = true;
        else size = layer.sizeBefore;
      }
      // Whole pages and whole layers often share their fate: caches write neighbours together.
      const keepChance = prng.pick([0, 0.1, 0.5, 0.9, 1]);
      for (const [page, before] of layer.before) {
        const tore = this.#revertSectors(page, before, { prng, keepChance, kept, mayTear });
        if (tore) mayTear = false;
      }
    }
    if (size < this.size) this.punch(size, this.size - size);
    this.size = size;
    this.settle();
  }

  /** What is there now is durable. */
  settle(): void {
    this.#layers = [{ before: new Map(), sizeBefore: this.size }];
  }

  flipBit(offset: number, bit: number): void {
    const page = Math.floor(offset / PAGE_BYTES);
    if (!this.#pages.has(page)) return;
    const content = this.#writable(page);
    const index = offset % PAGE_BYTES;
    content[index] = (content[index] ?? 0) ^ (1 << bit);
  }

  #revertSectors(
    page: number,
    before: Uint8Array | null,
    fate: { prng: Prng; keepChance: number; kept: Set<number>; mayTear: boolean },
  ): boolean {
    const old = before ?? ZERO_PAGE;
    const content = this.#writable(page);
    let tore = false;
    for (let start = 0; start < PAGE_BYTES; start += SECTOR_BYTES) {
      const sector = page * (PAGE_BYTES / SECTOR_BYTES) + start / SECTOR_BYTES;
      if (fate.kept.has(sector)) continue;
      if (fate.prng.chance(fate.keepChance)) {
        fate.kept.add(sector);
        continue;
      }
      let from = start;
      if (fate.mayTear && !tore && fate.prng.chance(0.05)) {
        // The first part of the sector is new, the rest is old.
        from = start + fate.prng.below(SECTOR_BYTES);
        fate.kept.add(sector);
        tore = true;
      }
      content.set(old.subarray(from, start + SECTOR_BYTES), from);
    }
    return tore;
  }

  #remember(page: number): void {
    const { before } = this.#layers[this.#layers.length - 1] as Layer;
    if (before.has(page)) return;
    const content = this.#pages.get(page);
    const isShared = content === undefined || content === ZERO_PAGE;
    before.set(page, isShared ? (content ?? null) : Uint8Array.from(content));
  }

  /** The page's own bytes. */
  #writable(page: number): Uint8Array {
    const content = this.#pages.get(page);
    if (content !== undefined && content !== ZERO_PAGE) return content;
    const own = new Uint8Array(PAGE_BYTES);
    this.#pages.set(page, own);
    return own;
  }

  #eachPage(
    offset: number,
    length: number,
    visit: (page: number, inPage: number, inRange: number, length: number) => void,
  ): void {
    let position = 0;
    while (position < length) {
      const page = Math.floor((offset + position) / PAGE_BYTES);
      const inPage = (offset + position) % PAGE_BYTES;
      const part = Math.min(PAGE_BYTES - inPage, length - position);
      visit(page, inPage, position, part);
      position += part;
    }
  }
}
