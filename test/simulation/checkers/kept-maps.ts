/**
 * The last maps that executors keep on their disks (docs/decisions/0008), in a simulated cluster: at
 * the end of a run every disk holds what the manager knows.
 */
import { MAP_NAMES } from '../../../executor/disk/map-files.ts';
import { buildMap, isFactKept } from '../../../scheduler/core/map.ts';
import type { State } from '../../../scheduler/core/state.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import type { ManagerMessage } from '../../../shared/model/control.ts';
import { type DurableMap, decodeDurableMap, isNewerMap } from '../../../shared/wire/durable-map.ts';
import type { Cluster } from '../cluster.ts';
import { mapCodec } from './map-codec.ts';
import { storesOf } from './replica-comparison.ts';

/** Between two looks: the books of all disks are read each time. */
const LOOK_MS = 250;

/** Says what is still missing: empty when every serving disk holds the manager's map and facts. */
export function watchKeptMaps(cluster: Cluster): () => string {
  let lookAtMs = Number.NEGATIVE_INFINITY;
  let answer = '';
  return () => {
    const nowMs = cluster.clock.now();
    if (nowMs < lookAtMs + LOOK_MS) return answer;
    lookAtMs = nowMs;
    answer = cluster.state === null ? 'no scheduler leads' : findMapLag(cluster, cluster.state);
    return answer;
  };
}

function findMapLag(cluster: Cluster, state: State): string {
  const { facts, term } = state;
  const stores = storesOf(cluster);
  // By way of the wire, as executors got it: absent numbers come out as zero.
  const sent = mapCodec().encodeManagerMessage({
    kind: 'map',
    map: buildMap(facts, term),
    facts: facts.entries((key) => !isFactKept(key)),
  });
  const expected = describeMap(mapCodec().decodeManagerMessage(sent));
  for (const { id, phase, sourceRoot } of facts.disks.values()) {
    const store = stores.get(id);
    if (phase !== 'serving' || store === undefined || store.failure !== null) continue;
    const kept = newestMapOf(cluster, sourceRoot ?? '');
    if (kept === null) return `d${id} holds no map`;
    const lag = facts.cluster.mapVersion - kept.version;
    if (lag > 0) return `d${id} holds a map ${lag} versions behind`;
    const found = describeMap(mapCodec().decodeManagerMessage(kept.body));
    if (found !== expected) return `d${id} holds another map ${kept.version} than the manager`;
  }
  return '';
}

/** As it lies on the disk: injected errors that nobody has met stay unmet. */
export function newestMapOf(cluster: Cluster, path: string): DurableMap | null {
  const disk = cluster.nodes.flatMap((node) => node.disks.get(path) ?? [])[0];
  let newest: DurableMap | null = null;
  for (const name of MAP_NAMES) {
    if (disk?.exists(name) !== true) continue;
    try {
      const map = decodeDurableMap(disk.bytesOf(name));
      if (newest === null || isNewerMap(map, newest)) newest = map;
    } catch (error) {
      // Being written: the other one is whole.
      if (!(error instanceof StorageError)) throw error;
    }
  }
  return newest;
}

/** What moves on without a new map; a recovery does not need it. */
const UNKEPT = ['brake', 'nextEvent', 'nextJob', 'votersSettledVersion'];

function describeMap(message: ManagerMessage): string {
  if (message.kind !== 'map') return message.kind;
  const facts = (message.facts ?? []).map(({ key, value }) => {
    const record: unknown = JSON.parse(value ?? 'null');
    if (key !== 'cluster' || typeof record !== 'object' || record === null) return [key, record];
    return [key, Object.entries(record).filter(([name]) => !UNKEPT.includes(name))];
  });
  return sorted([message.map, facts]);
}

/** Tables have no order: entries are compared by what they say. */
function sorted(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(sorted).sort().join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).map(([key, field]) => `${key}:${sorted(field)}`);
    return `{${fields.sort().join(',')}}`;
  }
  return JSON.stringify(value) ?? 'undefined';
}
