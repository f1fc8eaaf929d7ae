/**
 * Files that are written, synced, renamed into place, and their folder synced: one after the other, the oldest
 * removed on the way. Whatever was synced has to be there after a power loss; what has its name has to
 * be whole.
 */
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { describeError } from '../../../../shared/base/errors.ts';
import { Prng } from '../../../../shared/base/prng.ts';

/** The volume is small. */
const KEPT = 24;
const BYTES_MAX = 120_000;

export class SyncedFiles {
  readonly #directory: string;
  readonly #seed: string;
  readonly #synced = new Set<number>();
  #next = 1;
  #count = 0;
  #isStopping = false;
  #running: Promise<void> = Promise.resolve();
  /** Empty while all is well. */
  failure = '';

  constructor(mount: string, seed: string) {
    this.#directory = join(mount, 'files');
    this.#seed = seed;
  }

  get count(): number {
    return this.#count;
  }

  start(): void {
    this.#isStopping = false;
    this.failure = '';
    this.#running = this.#write().catch((error: unknown) => {
      this.failure = describeError(error);
    });
  }

  /** Resolves when it writes no more, be it because it cannot. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  async verify(): Promise<void> {
    if (!existsSync(this.#directory)) {
      expect(this.#synced.size, 'synced files, and their folder is gone').to.equal(0);
      return;
    }
    const found = await readdir(this.#directory);
    for (const number of this.#synced) expect(found, 'synced files').to.include(`file${number}`);
    for (const name of found) {
      if (!name.startsWith('file')) continue;
      const content = await readFile(join(this.#directory, name));
      const isRight = content.equals(this.#content(Number(name.slice('file'.length))));
      expect(isRight, `${name} is what was written, ${content.length} bytes`).to.equal(true);
    }
  }

  async #write(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    while (!this.#isStopping) {
      const number = this.#next;
      this.#next += 1;
      const draft = join(this.#directory, 'draft');
      await syncFile(draft, this.#content(number));
      await rename(draft, join(this.#directory, `file${number}`));
      await syncFile(this.#directory, null);
      this.#synced.add(number);
      this.#count += 1;
      const [oldest] = this.#synced;
      if (this.#synced.size <= KEPT || oldest === undefined) continue;
      // From here on it may be gone.
      this.#synced.delete(oldest);
      await rm(join(this.#directory, `file${oldest}`));
    }
  }

  #content(number: number): Buffer {
    const prng = new Prng(`${this.#seed} file ${number}`);
    return Buffer.from(prng.bytes(1 + prng.below(BYTES_MAX)));
  }
}

async function syncFile(path: string, content: Buffer | null): Promise<void> {
  const file = await open(path, content === null ? 'r' : 'w');
  try {
    if (content !== null) await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}
