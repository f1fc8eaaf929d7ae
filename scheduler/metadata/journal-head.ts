/**
 * The head of the journal: the one small record whose change makes a commit or a snapshot count.
 *
 *   head ─▶ snapshot at revision S (documents of entries)
 *      └──▶ log of revisions S+1 … R, one document of changes each
 */
import { assert } from '../../shared/base/assert.ts';
import { StorageError } from '../../shared/base/errors.ts';
import type { StoreChange, StoreEntry } from '../../shared/ports.ts';
import type { HeadRecord, NodeName } from './coordinator.ts';
import { damaged, isPartList, parseJson } from './documents.ts';

const FORMAT = 1;

export interface Head {
  readonly revision: number;
  /** Of the newest commit: tells whose it was when the answer got lost. */
  readonly commitId: string;
  readonly snapshot: {
    readonly name: NodeName;
    readonly revision: number;
    readonly bytes: number;
  } | null;
  /** Of all documents of the log. */
  readonly logBytes: number;
}

export const EMPTY_HEAD: Head = { revision: 0, commitId: '', snapshot: null, logBytes: 0 };

export function encodeHead(head: Head): string {
  return JSON.stringify({ format: FORMAT, ...head });
}

export function decodeHead({ text }: HeadRecord): Head {
  if (text === '') return EMPTY_HEAD;
  const value = record(parseJson(text, 'head'), 'head');
  if (value['format'] !== FORMAT) {
    throw new StorageError(
      'corrupt',
      `Metadata has format ${JSON.stringify(value['format'])}, this version reads ${FORMAT}; run the version that wrote it`,
    );
  }
  const given = value['snapshot'];
  let snapshot: Head['snapshot'] = null;
  if (given !== null) {
    const fields = record(given, 'head');
    const name = fields['name'];
    if (!isSnapshotName(name)) throw damaged('head', `its snapshot is ${JSON.stringify(name)}`);
    snapshot = { name, revision: count(fields['revision']), bytes: count(fields['bytes']) };
  }
  const revision = count(value['revision']);
  if (snapshot !== null && snapshot.revision > revision) {
    throw damaged('head', `revision ${revision} lies before its snapshot's`);
  }
  return {
    revision,
    commitId: String(value['commitId']),
    snapshot,
    logBytes: count(value['logBytes']),
  };
}

/** Twelve digits: the names sort as the revisions do. */
export function logName(revision: number): NodeName {
  return `log/${String(revision).padStart(12, '0')}`;
}

export function logRevision(name: NodeName): number {
  assert(name.startsWith('log/'), 'a name of the log', { name });
  return Number(name.slice(4));
}

function isSnapshotName(value: unknown): value is NodeName {
  return typeof value === 'string' && /^snapshots\/[\w-]+$/.test(value);
}

// ── What documents hold ──────────────────────────────────────────────────────────────────────

export function encodeCommit(revision: number, changes: readonly StoreChange[]): string {
  return JSON.stringify({ revision, changes: changes.map(({ key, value }) => [key, value]) });
}

export function decodeCommit(value: unknown, revision: number): readonly StoreChange[] {
  const name = logName(revision);
  const fields = record(value, name);
  const changes = fields['changes'];
  if (fields['revision'] !== revision || !Array.isArray(changes)) {
    throw damaged(name, `it says revision ${JSON.stringify(fields['revision'])}`);
  }
  return changes.map((change) => {
    const [key, content] = pair(change, name);
    if (content !== null && typeof content !== 'string') throw damaged(name, 'a value is no text');
    return { key, value: content };
  });
}

export function encodeEntries(entries: readonly StoreEntry[]): string {
  return JSON.stringify(entries.map(({ key, value }) => [key, value]));
}

export function decodeEntries(value: unknown, name: string): readonly StoreEntry[] {
  if (!Array.isArray(value)) throw damaged(name, 'it is no list');
  return value.map((entry) => {
    const [key, content] = pair(entry, name);
    if (typeof content !== 'string') throw damaged(name, 'a value is no text');
    return { key, value: content };
  });
}

/** A snapshot's index: for each document the parts that make it. */
export function decodeSnapshotIndex(
  value: unknown,
  name: string,
): readonly (readonly NodeName[])[] {
  if (!Array.isArray(value) || !value.every(isPartList)) throw damaged(name, 'it names no parts');
  return value;
}

function pair(value: unknown, name: string): readonly [string, unknown] {
  if (!Array.isArray(value) || value.length !== 2 || typeof value[0] !== 'string') {
    throw damaged(name, 'an entry is no pair');
  }
  return [value[0], value[1]];
}

function record(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw damaged(name, 'it is no record');
  }
  return value as Readonly<Record<string, unknown>>;
}

function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw damaged('head', `a number is ${JSON.stringify(value)}`);
  }
  return value;
}
