/**
 * The disks that a rescue was given, put together: one cluster, the newest map that lies on any of them,
 * who was in sync, and which extents lie where. Nothing on the disks is changed.
 */

import type { ExtentEntry } from '../executor/disk/store-types.ts';
import { StorageError } from '../shared/base/errors.ts';
import { type DiskId, formatDisk, formatVolume, pgId, type VolumeId } from '../shared/base/ids.ts';
import { EXTENT_BYTES } from '../shared/base/units.ts';
import type { MapVolume } from '../shared/model/cluster-map.ts';
import { loadControlCodec } from '../shared/node/control-codec.ts';
import { STANDING } from './block-choice.ts';
import { judgePg } from './pg-judgement.ts';
import { findProtoDirectory } from './proto-directory.ts';
import { openRescueStore, type RescueStore } from './rescue-store.ts';
import { findStores } from './store-folders.ts';
import type { KnownMap } from './witness.ts';

/** One copy of an extent. */
export interface FoundExtent {
  readonly source: RescueDiskOf;
  readonly entry: ExtentEntry;
}

export interface RescueDiskOf {
  readonly id: DiskId;
  readonly opened: RescueStore;
}

/** `known`: in the map. deleted: its number was given out, and it is gone. unnamed: no map knows. */
export interface FoundVolume {
  readonly id: VolumeId;
  readonly state: 'known' | 'deleted' | 'unnamed';
  readonly name: string | null;
  readonly sizeBytes: number;
  readonly layer: number;
  readonly map: MapVolume | null;
  /** Extents of its newest layer, by number. */
  readonly extents: ReadonlyMap<number, readonly FoundExtent[]>;
}

export interface RescueSet {
  readonly clusterId: string;
  readonly known: KnownMap | null;
  readonly disks: readonly RescueDiskOf[];
  readonly volumes: readonly FoundVolume[];
  readonly problems: readonly string[];
  /** In-sync disks of a PG as far as map and adopted epochs tell; null without a map. */
  inSyncOf(pg: number): InSync | null;
  standingOf(extent: FoundExtent): number;
  close(): Promise<void>;
}

export interface InSync {
  readonly disks: readonly DiskId[];
  readonly isDoubtful: boolean;
}

const PAGE = 1_000;

/**
 * Throws `not-found` (a folder, or no store in them), `invalid-argument` (stores of several clusters).
 * `scratch`: where copies of indexes go; null for the system's folder.
 */
export async function openRescueSet(
  folders: readonly string[],
  scratch: string | null,
  report: (text: string) => void,
): Promise<RescueSet> {
  const codec = loadControlCodec(findProtoDirectory());
  const found = findStores(folders);
  const problems = [...found.problems];
  const clusters = new Set(found.stores.map(({ superblock }) => superblock.clusterId));
  const [clusterId] = clusters;
  if (clusterId === undefined) {
    const where = `Below "${folders.join('", "')}" there is no disk of a cluster`;
    throw new StorageError('not-found', [where, ...problems].join('; '), { folders });
  }
  if (clusters.size > 1) {
    throw new StorageError(
      'invalid-argument',
      `The disks belong to ${clusters.size} clusters (${[...clusters].join(', ')}); name those of one`,
    );
  }
  const disks: RescueDiskOf[] = [];
  for (const folder of found.stores) {
    const { diskId: number, uuid } = folder.superblock;
    const name = formatDisk(number as DiskId);
    if (disks.some(({ opened }) => opened.folder.superblock.uuid === uuid)) {
      problems.push(`${name} in "${folder.path}" was found before, this one is not used`);
      continue;
    }
    report(`Opening ${name} in "${folder.path}" …`);
    const opened = await openRescueStore(folder, codec, scratch);
    problems.push(...opened.problems.map((what) => `${name} in "${folder.path}": ${what}`));
    disks.push({ id: number as DiskId, opened });
  }
  return new OpenSet(clusterId, disks, problems);
}

class OpenSet implements RescueSet {
  readonly clusterId: string;
  readonly known: KnownMap | null;
  readonly disks: readonly RescueDiskOf[];
  readonly volumes: readonly FoundVolume[];
  readonly problems: readonly string[];
  readonly #inSync = new Map<number, InSync>();

  constructor(clusterId: string, disks: readonly RescueDiskOf[], problems: readonly string[]) {
    this.clusterId = clusterId;
    this.disks = disks;
    this.problems = problems;
    this.known = newestMap(disks);
    this.#judge();
    this.volumes = this.#findVolumes();
  }

  inSyncOf(pg: number): InSync | null {
    return this.#inSync.get(pg) ?? null;
  }

  standingOf({ source, entry }: FoundExtent): number {
    if (source.opened.isOutdated) return STANDING.outdated;
    if (entry.incomplete) return STANDING.incomplete;
    const inSync = this.inSyncOf(entry.pg);
    const isTrusted = inSync !== null && !inSync.isDoubtful && inSync.disks.includes(source.id);
    return isTrusted ? STANDING.inSync : STANDING.complete;
  }

  async close(): Promise<void> {
    for (const { opened } of this.disks) await opened.close();
  }

  #judge(): void {
    const adopted = new Map<number, Map<number, number>>();
    for (const { id, opened } of this.disks) {
      for (const [pg, epoch] of opened.store?.epochs ?? []) {
        const ofPg = adopted.get(pg) ?? new Map<number, number>();
        ofPg.set(id, epoch);
        adopted.set(pg, ofPg);
      }
    }
    for (const pg of this.known?.map.pgs ?? []) {
      const { inSync, doubt } = judgePg(pg, adopted.get(pg.id) ?? new Map(), 0);
      // Who lost its memory may lack acked writes: it counts only when nobody else is left.
      const sure = inSync.filter((disk) => pg.suspects?.includes(disk) !== true);
      const disks = sure.length > 0 ? sure : inSync;
      this.#inSync.set(pg.id, { disks, isDoubtful: doubt !== '' });
    }
  }

  #findVolumes(): readonly FoundVolume[] {
    const extents = collectExtents(this.disks);
    const ids = new Set<number>(extents.keys());
    for (const volume of this.known?.map.volumes ?? []) ids.add(volume.id);
    return [...ids].sort((a, b) => a - b).map((id) => this.#volume(id, extents.get(id) ?? []));
  }

  #volume(number: number, found: readonly FoundExtent[]): FoundVolume {
    const id = number as VolumeId;
    const map = this.known?.map.volumes.find((volume) => volume.id === id) ?? null;
    const layer = map?.layer ?? Math.max(0, ...found.map(({ entry }) => entry.layer));
    const extents = new Map<number, FoundExtent[]>();
    for (const extent of found) {
      if (extent.entry.layer !== layer) continue;
      const known = extents.get(extent.entry.extent);
      if (known === undefined) extents.set(extent.entry.extent, [extent]);
      else known.push(extent);
    }
    const last = Math.max(-1, ...extents.keys());
    const isDeleted = map === null && this.known !== null && id < this.known.map.nextVolume;
    return {
      id,
      state: map !== null ? 'known' : isDeleted ? 'deleted' : 'unnamed',
      name: map?.name ?? null,
      sizeBytes: map?.sizeBytes ?? (last + 1) * EXTENT_BYTES,
      layer,
      map,
      extents,
    };
  }
}

function newestMap(disks: readonly RescueDiskOf[]): KnownMap | null {
  let newest: KnownMap | null = null;
  for (const { known } of disks.map(({ opened }) => opened)) {
    if (known === null) continue;
    const isNewer =
      newest === null ||
      known.map.term > newest.map.term ||
      (known.map.term === newest.map.term && known.map.version > newest.map.version);
    if (isNewer) newest = known;
  }
  return newest;
}

function collectExtents(disks: readonly RescueDiskOf[]): Map<number, FoundExtent[]> {
  const byVolume = new Map<number, FoundExtent[]>();
  for (const source of disks) {
    const { store } = source.opened;
    if (store === null) continue;
    for (const { pg } of store.pgUsage()) {
      for (let after: ExtentEntry | null = null; ; ) {
        const page = store.listExtents(pgId(pg), after, PAGE);
        for (const entry of page.entries) {
          const list = byVolume.get(entry.volume);
          if (list === undefined) byVolume.set(entry.volume, [{ source, entry }]);
          else list.push({ source, entry });
        }
        if (page.next === null) break;
        after = page.entries.at(-1) ?? null;
      }
    }
  }
  return byVolume;
}

/** By number (`v5`), or by the name in the map. Throws `not-found`, naming what there is. */
export function findVolume(set: RescueSet, wanted: string): FoundVolume {
  const found =
    set.volumes.find(({ name }) => name === wanted) ??
    set.volumes.find(({ id }) => formatVolume(id) === wanted);
  if (found !== undefined) return found;
  const names = set.volumes.map(({ id, name }) => name ?? formatVolume(id)).join(', ');
  throw new StorageError(
    'not-found',
    `No volume "${wanted}" on these disks; there are: ${names === '' ? 'none' : names}`,
    { volume: wanted },
  );
}

/** For people: why a disk is not read. */
export function describeDisk({ id, opened }: RescueDiskOf): string {
  const state = opened.store === null ? 'cannot be read' : opened.isOutdated ? 'outdated' : 'ok';
  return `${formatDisk(id)} ${state}`;
}
