/**
 * What is wrong with one simulated device, page by page: pages whose content is not what was written
 * (rot, lost and misdirected writes), pages that cannot be read until they are written again, and how
 * slow it is. It remembers what is damaged for as long as it is, so that a run can ask whether a copy is
 * good; it does not know what the pages mean.
 */
import { DiskError } from '../../../shared/ports.ts';
import { PAGE_BYTES } from './simulated-file.ts';

/**
 * What becomes of one write: `lost` is acked and never stored; `misdirected` lands at `offset` of the same file
 * instead of where it should.
 */
export type WriteFate =
  | { readonly kind: 'stored' }
  | { readonly kind: 'lost' }
  | { readonly kind: 'misdirected'; readonly offset: number };

/** Asked for each write while it is set; the platter follows its answer. */
export type WriteJudge = (name: string, offset: number, length: number) => WriteFate;

const STORED: WriteFate = { kind: 'stored' };

export class DiskDefects {
  /** Pages that hold something else than what was last written to them, by file. */
  readonly #damaged = new Map<string, Set<number>>();
  /** Pages that cannot be read, by file. */
  readonly #unreadable = new Map<string, Set<number>>();
  /** Damaged pages that were rewritten but not synced: power loss may bring the old content back. */
  #rewritten: PagesByName[] = [new Map()];
  #judge: WriteJudge | null = null;
  /** Operations take so many times as long. */
  slowness = 1;

  /** Null: writes go where they should. */
  judgeWrites(judge: WriteJudge | null): void {
    this.#judge = judge;
  }

  noteDamage(name: string, offset: number, length: number): void {
    addPages(this.#damaged, name, offset, length);
  }

  /** A latent error: reads fail with EIO until the pages are written again. */
  makeUnreadable(name: string, offset: number, length: number): void {
    addPages(this.#unreadable, name, offset, length);
  }

  /** Whether any byte of the range is not what it should be, or cannot be read. */
  isDamaged(name: string, offset: number, length: number): boolean {
    return (
      hasPage(this.#damaged, name, offset, length) ||
      hasPage(this.#unreadable, name, offset, length)
    );
  }

  get damagedPages(): number {
    let count = 0;
    for (const pages of this.#damaged.values()) count += pages.size;
    for (const pages of this.#unreadable.values()) count += pages.size;
    return count;
  }

  /** The error that a read of the range meets, or null. */
  readError(name: string, offset: number, length: number): DiskError | null {
    if (this.#unreadable.size === 0 || !hasPage(this.#unreadable, name, offset, length)) {
      return null;
    }
    return new DiskError(
      'EIO',
      `Injected latent error on reading ${length} bytes at ${offset} of "${name}"`,
    );
  }

  fateOf(name: string, offset: number, length: number): WriteFate {
    return this.#judge?.(name, offset, length) ?? STORED;
  }

  /** Whole pages of the range were written as they should be, or given back: good again. */
  onRewritten(name: string, offset: number, length: number): void {
    if (this.#damaged.size === 0 && this.#unreadable.size === 0) return;
    const newest = this.#rewritten[this.#rewritten.length - 1] ?? new Map();
    for (const page of removePages(this.#damaged, name, offset, length)) {
      addPages(newest, name, page * PAGE_BYTES, PAGE_BYTES);
    }
    removePages(this.#unreadable, name, offset, length);
  }

  /** Call the returned function when the sync of the file is over: what was rewritten before it is safe. */
  beginSync(name: string): () => void {
    const before = this.#rewritten[this.#rewritten.length - 1] ?? new Map();
    if (before.has(name)) this.#rewritten.push(new Map());
    return () => {
      before.delete(name);
      this.#rewritten = this.#rewritten.filter((pages, at, all) => {
        return pages.size > 0 || at === all.length - 1;
      });
    };
  }

  onPowerLoss(): void {
    for (const pages of this.#rewritten) {
      for (const [name, known] of pages) {
        for (const page of known) this.noteDamage(name, page * PAGE_BYTES, PAGE_BYTES);
      }
    }
    this.#rewritten = [new Map()];
  }

  onRemoved(name: string): void {
    this.#damaged.delete(name);
    this.#unreadable.delete(name);
  }
}

type PagesByName = Map<string, Set<number>>;

/** Every page that the range touches. */
function addPages(pages: PagesByName, name: string, offset: number, length: number): void {
  const known = pages.get(name) ?? new Set();
  pages.set(name, known);
  const end = Math.ceil((offset + length) / PAGE_BYTES);
  for (let page = Math.floor(offset / PAGE_BYTES); page < end; page += 1) known.add(page);
}

/** Only the pages that the range covers; returns those that were there. */
function removePages(pages: PagesByName, name: string, offset: number, length: number): number[] {
  const known = pages.get(name);
  if (known === undefined) return [];
  const removed: number[] = [];
  const end = Math.floor((offset + length) / PAGE_BYTES);
  for (let page = Math.ceil(offset / PAGE_BYTES); page < end; page += 1) {
    if (known.delete(page)) removed.push(page);
  }
  if (known.size === 0) pages.delete(name);
  return removed;
}

function hasPage(pages: PagesByName, name: string, offset: number, length: number): boolean {
  const known = pages.get(name);
  if (known === undefined) return false;
  const end = Math.ceil((offset + length) / PAGE_BYTES);
  for (let page = Math.floor(offset / PAGE_BYTES); page < end; page += 1) {
    if (known.has(page)) return true;
  }
  return false;
}
