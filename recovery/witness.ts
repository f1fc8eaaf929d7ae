/**
 * Who remembers the cluster: a running executor or the disks of one that runs no more. What each of them
 * brings along, and when two of them say the same.
 */
import type { NodeId } from '../shared/base/ids.ts';
import type { ClusterMap } from '../shared/model/cluster-map.ts';
import type { DiskMemory } from '../shared/model/recall.ts';

export interface KnownMap {
  readonly map: ClusterMap;
  /** Of the manager, by key, as its store held them. */
  readonly facts: ReadonlyMap<string, string>;
  /** When it was written down, on the clock of that machine. */
  readonly writtenAtMs: number;
}

export interface Witness {
  /** For people: `executor 10.0.0.1:7300`, `/mnt/a`. */
  readonly source: string;
  readonly clusterId: string;
  /** Null: a disk whose node no map names. */
  readonly node: NodeId | null;
  readonly known: KnownMap | null;
  readonly disks: readonly DiskMemory[];
}

/**
 * Fields of the cluster's record that change without a new map: who said hello later has them newer beside the
 * same map.
 */
const UNCOUNTED = new Set([
  'nextEvent',
  'nextJob',
  'votersSettledVersion',
  'frameworkId',
  'removedFrameworkId',
  'brake',
  'upgrade',
  'uninstall',
]);

/** The map's whole content as one text: equal for equal maps, whatever the order of their tables. */
export function describeContent({ map, facts }: KnownMap): string {
  const records = [...facts].map(([key, value]) => {
    if (key !== 'cluster') return [key, value];
    const record = Object.entries(JSON.parse(value) as Record<string, unknown>);
    return [key, record.filter(([name]) => !UNCOUNTED.has(name))];
  });
  const { term: _, ...rest } = map;
  return sorted([rest, records]);
}

function sorted(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(sorted).sort().join()}]`;
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).map(([key, field]) => `${key}:${sorted(field)}`);
    return `{${fields.sort().join()}}`;
  }
  return JSON.stringify(value) ?? 'undefined';
}
