/**
 * The durable facts as tables, with a log of what a step changed. `takeChanges` gives that log to
 * the shell, which commits it as one transaction before any effect leaves.
 */
import { assert, present } from '../../shared/base/assert.ts';
import { StorageError } from '../../shared/base/errors.ts';
import type { DiskId, JobId, NodeId, PgId, VolumeId } from '../../shared/base/ids.ts';
import type { StoreChange, StoreEntry } from '../../shared/ports.ts';
import { DiskIndex } from './disks/disk-index.ts';
import type {
  ClusterRecord,
  DiskRecord,
  EventRecord,
  JobRecord,
  NodeRecord,
  PgFamilyRecord,
  PgRecord,
  PoolRecord,
  ScrubRecord,
  VolumeRecord,
} from './records.ts';

/** One kind of record: an ordered map whose changes are remembered until they are taken. */
export class Table<K extends string | number, T> {
  readonly prefix: string;
  /** Whether executors see these records: a change makes a new map version. */
  readonly isMapped: boolean;
  readonly #rows = new Map<K, T>();
  readonly #changed = new Set<K>();
  readonly #keyOf: (record: T) => K;
  readonly #defaults: Partial<T>;
  /** Keeps an index over the rows; absent when there is none. */
  onChange: ((before: T | undefined, after: T | undefined) => void) | undefined;

  /** `defaults`: fields that records of older versions lack. */
  constructor(
    prefix: string,
    isMapped: boolean,
    keyOf: (record: T) => K,
    defaults: Partial<T> = {},
  ) {
    this.prefix = prefix;
    this.isMapped = isMapped;
    this.#keyOf = keyOf;
    this.#defaults = defaults;
  }

  get size(): number {
    return this.#rows.size;
  }

  find(key: K): T | undefined {
    return this.#rows.get(key);
  }

  get(key: K): T {
    return present(this.#rows.get(key), `${this.prefix}${key}`);
  }

  has(key: K): boolean {
    return this.#rows.has(key);
  }

  keys(): IterableIterator<K> {
    return this.#rows.keys();
  }

  values(): IterableIterator<T> {
    return this.#rows.values();
  }

  put(record: T): void {
    const key = this.#keyOf(record);
    this.onChange?.(this.#rows.get(key), record);
    this.#rows.set(key, record);
    this.#changed.add(key);
  }

  /** Replaces the named fields of an existing record. */
  update(key: K, fields: Partial<T>): T {
    const next = { ...this.get(key), ...fields };
    this.put(next);
    return next;
  }

  delete(key: K): void {
    const before = this.#rows.get(key);
    if (!this.#rows.delete(key)) return;
    this.onChange?.(before, undefined);
    this.#changed.add(key);
  }

  /** Loads a row without marking it as changed. */
  load(record: T): void {
    // The record's own fields first: one that lacks none is loaded as it was written, in order, too.
    const row = { ...record, ...this.#defaults, ...record };
    this.onChange?.(undefined, row);
    this.#rows.set(this.#keyOf(record), row);
  }

  takeChanged(): readonly K[] {
    if (this.#changed.size === 0) return [];
    const keys = [...this.#changed];
    this.#changed.clear();
    return keys;
  }
}

/** Keys of mapped records that a step changed: what the next map delta is made of. */
export interface MapChanges {
  readonly nodes: readonly NodeId[];
  readonly disks: readonly DiskId[];
  readonly pgs: readonly PgId[];
  readonly volumes: readonly VolumeId[];
}

export interface FactChanges {
  readonly store: readonly StoreChange[];
  /** null when no mapped record changed. */
  readonly map: MapChanges | null;
}

const CLUSTER_KEY = 'cluster';

export class Facts {
  readonly nodes = new Table<NodeId, NodeRecord>('node/', true, (record) => record.id);
  readonly disks = new Table<DiskId, DiskRecord>('disk/', true, (record) => record.id);
  readonly diskIndex = new DiskIndex();
  readonly pools = new Table<string, PoolRecord>('pool/', false, (record) => record.name);
  readonly families = new Table<string, PgFamilyRecord>('family/', true, (record) =>
    familyKey(record.pool, record.replicas),
  );
  readonly pgs = new Table<PgId, PgRecord>('pg/', true, (record) => record.id);
  readonly volumes = new Table<VolumeId, VolumeRecord>('volume/', true, (record) => record.id, {
    durability: 'flush',
  });
  readonly jobs = new Table<JobId, JobRecord>('job/', false, (record) => record.id);
  readonly scrubs = new Table<PgId, ScrubRecord>('scrub/', false, (record) => record.pg);
  readonly events = new Table<number, EventRecord>('event/', false, (record) => record.id);
  #cluster: ClusterRecord;
  #isClusterChanged: boolean;

  /** A new cluster's facts: everything is a change. */
  constructor(cluster: ClusterRecord) {
    this.#cluster = cluster;
    this.#isClusterChanged = true;
    this.disks.onChange = (before, after) => this.diskIndex.note(before, after);
  }

  /** Throws `corrupt` when the store holds something that is not ours; `null` when it is empty. */
  static load(entries: readonly StoreEntry[]): Facts | null {
    if (entries.length === 0) return null;
    const clusterEntry = entries.find((entry) => entry.key === CLUSTER_KEY);
    if (clusterEntry === undefined) {
      throw new StorageError('corrupt', 'Metadata store has records but no record "cluster"', {
        firstKey: entries[0]?.key,
      });
    }
    const facts = new Facts(parseRecord<ClusterRecord>(clusterEntry));
    facts.#isClusterChanged = false;
    // In order of number, as the records were made: a manager that loads them decides as one that made them.
    const ordered = entries.toSorted((a, b) => numberOf(a.key) - numberOf(b.key));
    for (const entry of ordered) if (entry.key !== CLUSTER_KEY) facts.#loadEntry(entry);
    return facts;
  }

  get cluster(): ClusterRecord {
    return this.#cluster;
  }

  updateCluster(fields: Partial<ClusterRecord>): void {
    this.#cluster = { ...this.#cluster, ...fields };
    this.#isClusterChanged = true;
  }

  /** Takes the next number of a sequence, for ever: numbers are not used again. */
  allocate(
    sequence: 'nextNode' | 'nextDisk' | 'nextVolume' | 'nextPg' | 'nextJob' | 'nextEvent',
  ): number {
    const value = this.#cluster[sequence];
    this.updateCluster({ [sequence]: value + 1 });
    return value;
  }

  /** What changed since the last call; a change of a mapped record also makes a new map version. */
  takeChanges(): FactChanges {
    const map: MapChanges = {
      nodes: this.nodes.takeChanged(),
      disks: this.disks.takeChanged(),
      pgs: this.pgs.takeChanged(),
      volumes: this.volumes.takeChanged(),
    };
    const families = this.families.takeChanged();
    const pools = this.pools.takeChanged();
    // Families and pools are not in the map itself, but executors keep them beside it.
    const unmappedCount = families.length + pools.length;
    const isMapChanged =
      map.nodes.length + map.disks.length + map.pgs.length + map.volumes.length + unmappedCount > 0;
    if (isMapChanged) this.updateCluster({ mapVersion: this.#cluster.mapVersion + 1 });
    const store: StoreChange[] = [];
    if (this.#isClusterChanged) {
      store.push({ key: CLUSTER_KEY, value: JSON.stringify(this.#cluster) });
      this.#isClusterChanged = false;
    }
    collect(store, this.nodes, map.nodes);
    collect(store, this.disks, map.disks);
    collect(store, this.families, families);
    collect(store, this.pgs, map.pgs);
    collect(store, this.volumes, map.volumes);
    collect(store, this.pools, pools);
    collect(store, this.jobs, this.jobs.takeChanged());
    collect(store, this.scrubs, this.scrubs.takeChanged());
    collect(store, this.events, this.events.takeChanged());
    return { store, map: isMapChanged ? map : null };
  }

  /** Every record as the store holds it, except those whose key `isLeftOut`. */
  entries(isLeftOut: (key: string) => boolean): readonly StoreEntry[] {
    const entries: StoreEntry[] = [{ key: CLUSTER_KEY, value: JSON.stringify(this.#cluster) }];
    for (const table of this.#tables()) {
      if (isLeftOut(table.prefix)) continue;
      for (const key of table.keys()) {
        entries.push({ key: `${table.prefix}${key}`, value: JSON.stringify(table.find(key)) });
      }
    }
    return entries;
  }

  #tables(): readonly Table<string | number, unknown>[] {
    // Each table is used only with keys and records that its own prefix names.
    return [
      this.nodes,
      this.disks,
      this.pools,
      this.families,
      this.pgs,
      this.volumes,
      this.jobs,
      this.scrubs,
      this.events,
    ] as unknown as Table<string | number, unknown>[];
  }

  #loadEntry(entry: StoreEntry): void {
    for (const table of this.#tables()) {
      if (entry.key.startsWith(table.prefix)) {
        table.load(parseRecord(entry));
        return;
      }
    }
    throw new StorageError(
      'corrupt',
      `Metadata store has a record of unknown kind "${entry.key}"`,
      {
        key: entry.key,
      },
    );
  }
}

/** `node/12` → 12; 0 for keys without a number. */
function numberOf(key: string): number {
  const number = Number(key.slice(key.lastIndexOf('/') + 1));
  return Number.isNaN(number) ? 0 : number;
}

export function familyKey(pool: string, replicas: number): string {
  return `${pool}/${replicas}`;
}

function collect<K extends string | number, T>(
  store: StoreChange[],
  table: Table<K, T>,
  keys: readonly K[],
): void {
  for (const key of keys) {
    const record = table.find(key);
    store.push({
      key: `${table.prefix}${key}`,
      value: record === undefined ? null : JSON.stringify(record),
    });
  }
}

function parseRecord<T>(entry: StoreEntry): T {
  try {
    const value: unknown = JSON.parse(entry.value);
    assert(typeof value === 'object' && value !== null, 'record is an object');
    return value as T;
  } catch (error) {
    throw new StorageError(
      'corrupt',
      `Metadata record "${entry.key}" cannot be read`,
      { key: entry.key },
      error,
    );
  }
}
