/**
 * A whole disk as far as a record of events has come: its files, its index, what was removed. `crash` makes
 * of it what the death of the process or of the power may leave, `writeOut` puts that into a directory.
 *
 * The index is taken as atomic: what is there is LMDB's real file, after the last commit that was reported or,
 * when one was under way, perhaps after that (index-kill.test.ts kills real commits).
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Prng } from '../../../shared/base/prng.ts';
import { LMDB_FILE } from '../../../shared/node/lmdb-file.ts';
import type { CrashKind, DiskEvent } from './disk-events.ts';
import { FileImage, PAGE_BYTES } from './file-image.ts';

export class DiskImage {
  #files = new Map<string, FileImage>();
  /** A removal is never synced: after power loss the file may be there again. */
  #removed = new Map<string, FileImage>();
  /** By id: what a sync under way will make durable. */
  #syncs = new Map<number, { readonly name: string; readonly covered: ReadonlySet<number> }>();
  #commits = new Map<number, Buffer>();
  #index: Buffer | null = null;
  /** A small file that was being replaced: its draft. */
  #draft: { readonly name: string; readonly bytes: Buffer } | null = null;

  copy(): DiskImage {
    const copy = new DiskImage();
    copy.#files = copyFiles(this.#files);
    copy.#removed = copyFiles(this.#removed);
    copy.#syncs = new Map(this.#syncs);
    copy.#commits = new Map(this.#commits);
    copy.#index = this.#index;
    copy.#draft = this.#draft;
    return copy;
  }

  apply(event: DiskEvent): void {
    switch (event.kind) {
      case 'create':
        this.#removed.delete(event.name);
        this.#files.set(event.name, new FileImage());
        break;
      case 'write':
        this.#file(event.name).write(event.id, event.offset, event.bytes);
        break;
      case 'punch':
        this.#file(event.name).punch(event.id, event.offset, event.length);
        break;
      case 'truncate':
        this.#file(event.name).truncate(event.id, event.size);
        break;
      case 'sync': {
        const covered = this.#file(event.name).endedNow();
        this.#syncs.set(event.id, { name: event.name, covered });
        break;
      }
      case 'end':
        this.#end(event.id);
        break;
      case 'replace':
        this.#replace(event.name, event.bytes);
        break;
      case 'remove':
        this.#removed.set(event.name, this.#file(event.name));
        this.#files.delete(event.name);
        break;
      case 'index':
        this.#index = event.bytes;
        break;
      case 'commit':
        this.#commits.set(event.id, event.after.bytes);
        break;
      case 'mark':
        break;
    }
  }

  /** `next`: what was about to happen, and may have left its first traces. */
  crash(kind: CrashKind, next: DiskEvent | undefined, prng: Prng): void {
    const files = prng.fork('files');
    for (const file of this.#files.values()) {
      file.loseProcess(files);
      if (kind === 'power') file.losePower(files);
    }
    for (const [name, file] of this.#removed) {
      if (kind !== 'power' || prng.chance(0.5)) continue;
      file.loseProcess(files);
      file.losePower(files);
      this.#files.set(name, file);
    }
    if (kind === 'power') this.#removed.clear();
    this.#syncs.clear();
    for (const after of this.#commits.values()) if (prng.chance(0.5)) this.#index = after;
    this.#commits.clear();
    if (next?.kind === 'replace' && prng.chance(0.5)) {
      this.#draft = {
        name: `${next.name}.new`,
        bytes: next.bytes.subarray(0, prng.below(next.bytes.length + 1)),
      };
    }
    // The folder is made before the file in it, LMDB's file before its first page.
    if (next?.kind === 'index' && this.#index === null && prng.chance(0.7)) {
      this.#index = prng.chance(0.5) ? Buffer.alloc(0) : next.bytes;
    }
  }

  /** `path` exists and is empty. */
  writeOut(path: string): void {
    for (const [name, file] of this.#files) writeFile(join(path, name), file);
    if (this.#draft !== null) writeFileSync(join(path, this.#draft.name), this.#draft.bytes);
    if (this.#index === null) return;
    mkdirSync(join(path, 'index'));
    writeFileSync(join(path, 'index', LMDB_FILE), this.#index);
  }

  #end(id: number): void {
    const sync = this.#syncs.get(id);
    if (sync !== undefined) {
      // Removed meanwhile: a removed file may come back with what was synced.
      const file = this.#files.get(sync.name) ?? this.#removed.get(sync.name);
      file?.makeDurable(sync.covered);
      this.#syncs.delete(id);
      return;
    }
    const after = this.#commits.get(id);
    if (after !== undefined) {
      this.#index = after;
      this.#commits.delete(id);
      return;
    }
    for (const file of this.#files.values()) file.end(id);
  }

  #replace(name: string, bytes: Buffer): void {
    const file = new FileImage();
    file.write(0, 0, bytes);
    file.end(0);
    file.makeDurable(new Set([0]));
    this.#files.set(name, file);
    this.#draft = null;
  }

  #file(name: string): FileImage {
    const file = this.#files.get(name);
    if (file === undefined) throw new Error(`The record speaks of "${name}", which does not exist`);
    return file;
  }
}

function copyFiles(files: ReadonlyMap<string, FileImage>): Map<string, FileImage> {
  return new Map([...files].map(([name, file]) => [name, file.copy()]));
}

function writeFile(path: string, file: FileImage): void {
  mkdirSync(dirname(path), { recursive: true });
  const descriptor = openSync(path, 'w');
  try {
    for (const [page, content] of file.pages()) {
      writeSync(descriptor, content, 0, PAGE_BYTES, page * PAGE_BYTES);
    }
    ftruncateSync(descriptor, file.size);
  } finally {
    closeSync(descriptor);
  }
}
