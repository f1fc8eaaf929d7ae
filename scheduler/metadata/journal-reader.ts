/**
 * Reads the journal: snapshot, then the log on top. Nodes never change once they are written, so what a
 * head names is one consistent state; a snapshot that is made meanwhile removes nodes under the reader,
 * who then begins again from the newer head.
 */
import { assert } from '../../shared/base/assert.ts';
import { StorageError } from '../../shared/base/errors.ts';
import type { Coordinator, NodeName } from './coordinator.ts';
import { damaged, decodeDocument, parseJson, partsOf } from './documents.ts';
import {
  decodeCommit,
  decodeEntries,
  decodeHead,
  decodeSnapshotIndex,
  type Head,
  logName,
} from './journal-head.ts';

/** A snapshot takes much longer to make than to read; five in a row mean something else. */
const ATTEMPTS = 5;
/** Nodes asked for at once: 16 of the largest are 8 MiB. */
const READ_TOGETHER = 16;
/** Small documents of the log: a commit is some hundred bytes most of the time. */
const LOG_TOGETHER = 128;

export interface Journal {
  readonly head: Head;
  readonly headVersion: string;
  readonly entries: ReadonlyMap<string, string>;
  readonly snapshotParts: readonly NodeName[];
  /** Parts of the log's large documents, by revision. */
  readonly logParts: ReadonlyMap<number, readonly NodeName[]>;
}

/** Rejects with `corrupt` when what the head names is not there or cannot be read. */
export async function readJournal(coordinator: Coordinator): Promise<Journal> {
  let lastVersion: string | null = null;
  let missing = '';
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const record = await coordinator.readHead();
    if (record.version === lastVersion) {
      throw damaged(missing, `it is missing in "${coordinator.name}", although the head names it`);
    }
    lastVersion = record.version;
    const reader = new Reader(coordinator);
    try {
      const head = decodeHead(record);
      await reader.read(head);
      return { head, headVersion: record.version, ...reader };
    } catch (error) {
      if (!(error instanceof MissingNode)) throw error;
      missing = error.node;
    }
  }
  throw new StorageError(
    'unavailable',
    `Metadata in "${coordinator.name}" changed ${ATTEMPTS} times while it was read`,
  );
}

class MissingNode extends Error {
  readonly node: string;

  constructor(node: string) {
    super(node);
    this.node = node;
  }
}

class Reader {
  readonly entries = new Map<string, string>();
  readonly snapshotParts: NodeName[] = [];
  readonly logParts = new Map<number, readonly NodeName[]>();
  readonly #coordinator: Coordinator;

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator;
  }

  async read(head: Head): Promise<void> {
    if (head.snapshot !== null) await this.#readSnapshot(head.snapshot.name);
    const first = (head.snapshot?.revision ?? 0) + 1;
    for (let at = first; at <= head.revision; at += LOG_TOGETHER) {
      await this.#readLog(at, Math.min(head.revision, at + LOG_TOGETHER - 1));
    }
  }

  async #readSnapshot(name: NodeName): Promise<void> {
    const [index] = await this.#nodes([name]);
    assert(index !== undefined, 'one name gives one node');
    const documents = decodeSnapshotIndex(parseJson(index.toString('utf8'), name), name);
    const names = documents.flat();
    this.snapshotParts.push(...names);
    let document: Buffer[] = [];
    let next = 0;
    for (let at = 0; at < names.length; at += READ_TOGETHER) {
      for (const part of await this.#nodes(names.slice(at, at + READ_TOGETHER))) {
        document.push(part);
        if (document.length < (documents[next]?.length ?? 0)) continue;
        const value = await decodeDocument(Buffer.concat(document), name);
        for (const entry of decodeEntries(value, name)) this.entries.set(entry.key, entry.value);
        document = [];
        next += 1;
      }
    }
  }

  async #readLog(first: number, last: number): Promise<void> {
    const names: NodeName[] = [];
    for (let revision = first; revision <= last; revision += 1) names.push(logName(revision));
    const nodes = await this.#nodes(names);
    for (const [index, node] of nodes.entries()) {
      const revision = first + index;
      const name = logName(revision);
      const parts = partsOf(node, name);
      if (parts !== null) this.logParts.set(revision, parts);
      const document = parts === null ? node : await this.#joined(parts);
      for (const { key, value } of decodeCommit(await decodeDocument(document, name), revision)) {
        if (value === null) this.entries.delete(key);
        else this.entries.set(key, value);
      }
    }
  }

  async #joined(parts: readonly NodeName[]): Promise<Buffer> {
    const buffers: Buffer[] = [];
    for (let at = 0; at < parts.length; at += READ_TOGETHER) {
      buffers.push(...(await this.#nodes(parts.slice(at, at + READ_TOGETHER))));
    }
    return Buffer.concat(buffers);
  }

  async #nodes(names: readonly NodeName[]): Promise<readonly Buffer[]> {
    const nodes = await this.#coordinator.read(names);
    return nodes.map((node, index) => {
      if (node === null) throw new MissingNode(names[index] ?? '');
      return node;
    });
  }
}
