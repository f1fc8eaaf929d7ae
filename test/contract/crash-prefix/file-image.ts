/**
 * The bytes of one file on the way to the platter: what is durable, and the changes since, in order. A crash
 * makes of it what the system may leave.
 *
 * - Process: all changes that were made stay; of a write under way, some of its first pages.
 * - Power: each sector of 512 bytes holds the durable content or that after any of the changes since; one
 *   sector may be torn between two of them; the file's length is any of those it had.
 */
import type { Prng } from '../../../shared/base/prng.ts';

export const PAGE_BYTES = 4096;
const SECTOR_BYTES = 512;
const SECTORS_PER_PAGE = PAGE_BYTES / SECTOR_BYTES;

/** `bytes` null: zeros. A truncation zeroes everything behind its offset. */
interface Change {
  readonly id: number;
  readonly offset: number;
  readonly length: number;
  readonly bytes: Buffer | null;
  /** The file ends at its offset from then on. */
  readonly isTruncation: boolean;
  isEnded: boolean;
}

export class FileImage {
  /** Never changed in place: copies share them. */
  #pages = new Map<number, Buffer>();
  #durableSize = 0;
  #size = 0;
  #changes: Change[] = [];

  copy(): FileImage {
    const copy = new FileImage();
    copy.#pages = new Map(this.#pages);
    copy.#durableSize = this.#durableSize;
    copy.#size = this.#size;
    copy.#changes = this.#changes.map((change) => ({ ...change }));
    return copy;
  }

  get size(): number {
    return this.#size;
  }

  write(id: number, offset: number, bytes: Buffer): void {
    this.#change({ id, offset, length: bytes.length, bytes, isTruncation: false, isEnded: false });
  }

  punch(id: number, offset: number, length: number): void {
    this.#change({ id, offset, length, bytes: null, isTruncation: false, isEnded: false });
  }

  truncate(id: number, size: number): void {
    const length = Math.max(0, this.#size - size);
    this.#change({ id, offset: size, length, bytes: null, isTruncation: true, isEnded: false });
  }

  end(id: number): void {
    for (const change of this.#changes) if (change.id === id) change.isEnded = true;
  }

  /** Changes that a sync which begins now makes durable. */
  endedNow(): ReadonlySet<number> {
    return new Set(this.#changes.filter((change) => change.isEnded).map((change) => change.id));
  }

  makeDurable(ids: ReadonlySet<number>): void {
    for (const change of this.#changes) {
      if (!ids.has(change.id)) continue;
      this.#apply(change);
      this.#durableSize = sizeAfter(this.#durableSize, change);
    }
    this.#changes = this.#changes.filter((change) => !ids.has(change.id));
  }

  loseProcess(prng: Prng): void {
    this.#changes = this.#changes.map((change) => {
      if (change.isEnded) return change;
      const part = prng.pick([0, 1, prng.fraction()]);
      const length = part >= 1 ? change.length : alignDown(change.length * part);
      const bytes = change.bytes === null ? null : change.bytes.subarray(0, length);
      return { ...change, length, bytes, isEnded: true };
    });
    this.#size = this.#changes.reduce(sizeAfter, this.#durableSize);
  }

  losePower(prng: Prng): void {
    const sizes = [this.#durableSize];
    for (const change of this.#changes) sizes.push(sizeAfter(sizes[sizes.length - 1] ?? 0, change));
    const size = prng.chance(0.5) ? this.#size : prng.pick(sizes);
    const bySector = this.#changesBySector();
    // Caches write neighbours together: often all of a file's changes share their fate.
    const keepChance = prng.pick([0, 0.1, 0.5, 0.9, 1]);
    const torn = prng.chance(0.3) && bySector.size > 0 ? prng.pick([...bySector.keys()]) : -1;
    for (const [sector, changes] of bySector) {
      let kept = changes.length;
      if (!prng.chance(keepChance)) kept = prng.chance(0.5) ? 0 : prng.below(changes.length);
      const start = sector * SECTOR_BYTES;
      for (const change of changes.slice(0, kept)) this.#applyTo(change, start, SECTOR_BYTES);
      const next = changes[kept];
      if (sector === torn && next !== undefined) {
        this.#applyTo(next, start, prng.below(SECTOR_BYTES));
      }
    }
    this.#changes = [];
    this.#cut(size);
    this.#size = size;
    this.#durableSize = size;
  }

  /** The pages that are not all zeros, as the system shows them now. */
  pages(): ReadonlyMap<number, Buffer> {
    const shown = this.copy();
    for (const change of shown.#changes) shown.#apply(change);
    shown.#cut(this.#size);
    return shown.#pages;
  }

  #change(change: Change): void {
    this.#changes.push(change);
    this.#size = sizeAfter(this.#size, change);
  }

  #changesBySector(): Map<number, Change[]> {
    const bySector = new Map<number, Change[]>();
    const touched = new Set(this.#pages.keys());
    for (const change of this.#changes) {
      if (change.bytes === null) continue;
      const end = change.offset + change.length;
      for (let page = Math.floor(change.offset / PAGE_BYTES); page * PAGE_BYTES < end; page += 1) {
        touched.add(page);
      }
    }
    for (const page of [...touched].sort((a, b) => a - b)) {
      for (let index = 0; index < SECTORS_PER_PAGE; index += 1) {
        const sector = page * SECTORS_PER_PAGE + index;
        const start = sector * SECTOR_BYTES;
        const changes = this.#changes.filter(
          ({ offset, length }) => offset < start + SECTOR_BYTES && offset + length > start,
        );
        if (changes.length > 0) bySector.set(sector, changes);
      }
    }
    return bySector;
  }

  #apply(change: Change): void {
    this.#applyTo(change, change.offset, change.length);
  }

  /** The part of the change that lies in the range. */
  #applyTo(change: Change, from: number, length: number): void {
    const start = Math.max(from, change.offset);
    const end = Math.min(from + length, change.offset + change.length);
    for (let at = start; at < end; ) {
      const page = Math.floor(at / PAGE_BYTES);
      const pageEnd = Math.min(end, (page + 1) * PAGE_BYTES);
      const found = this.#pages.get(page);
      if (change.bytes !== null || found !== undefined) {
        const content = found === undefined ? Buffer.alloc(PAGE_BYTES) : Buffer.from(found);
        const inPage = at - page * PAGE_BYTES;
        if (change.bytes === null) content.fill(0, inPage, inPage + pageEnd - at);
        else change.bytes.copy(content, inPage, at - change.offset, pageEnd - change.offset);
        this.#pages.set(page, content);
      }
      at = pageEnd;
    }
  }

  #cut(size: number): void {
    for (const [page, content] of this.#pages) {
      const start = page * PAGE_BYTES;
      if (start + PAGE_BYTES <= size) continue;
      if (start >= size) this.#pages.delete(page);
      else this.#pages.set(page, Buffer.from(content).fill(0, size - start));
    }
  }
}

function alignDown(bytes: number): number {
  return Math.floor(bytes / PAGE_BYTES) * PAGE_BYTES;
}

/** Of the file, once the change is made as well. */
function sizeAfter(size: number, { offset, length, bytes, isTruncation }: Change): number {
  if (isTruncation) return offset;
  return bytes === null ? size : Math.max(size, offset + length);
}
