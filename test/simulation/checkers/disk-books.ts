/**
 * What the books of one disk say, held against what is durable in the metadata store, and against themselves:
 * invariants I7 and I13 of docs/invariants.md. Looked at all the time, on whatever the disks hold at the moment,
 * clean or not; pure, so that tests can hand in bad books.
 */
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import type {
  ExtentAddress,
  ExtentEntry,
  SlotPlace,
  StoreUsage,
} from '../../../executor/disk/store-types.ts';
import { EXTENT_BYTES } from '../../../shared/base/units.ts';
import type { DurableFacts } from './durable-facts.ts';

export interface BookedExtent extends ExtentEntry {
  /** Null when it has no slot. */
  readonly place: SlotPlace | null;
}

export interface DiskBooks {
  readonly disk: number;
  readonly uuid: string;
  readonly extents: readonly BookedExtent[];
  readonly usage: StoreUsage;
  /** In bytes, as the store counts them. */
  readonly volumes: ReadonlyMap<number, number>;
  readonly pgs: ReadonlyMap<number, number>;
  readonly epochs: ReadonlyMap<number, number>;
  readonly generations: ReadonlyMap<number, number>;
  /** Of the newest map that it keeps; 0 for none. */
  readonly mapVersion: number;
}

const PAGE = 1_000;

export function readBooks(
  store: ExtentStore,
  knownPgs: Iterable<number>,
  mapVersion: number,
): DiskBooks {
  const volumes = new Map(store.volumeUsage().map(({ volume, bytes }) => [volume, bytes]));
  const pgs = new Map(store.pgUsage().map(({ pg, bytes }) => [pg, bytes]));
  const extents: BookedExtent[] = [];
  for (const pg of new Set([...knownPgs, ...pgs.keys()])) {
    for (let after: ExtentAddress | null = null; ; ) {
      const page = store.listExtents(pg, after, PAGE);
      for (const entry of page.entries) extents.push({ ...entry, place: store.placeOf(entry) });
      after = page.next;
      if (after === null) break;
    }
  }
  const { uuid, diskId: disk, epochs, generations } = store;
  const usage = store.usage();
  return { disk, uuid, extents, usage, volumes, pgs, epochs, generations, mapVersion };
}

/** One sentence for everything that does not fit. */
export function findFalseBooks(books: DiskBooks, facts: DurableFacts): string[] {
  return [...checkLedger(books), ...checkAgainstFacts(books, facts)].map(
    (what) => `${what[0]}: d${books.disk} ${what[1]}`,
  );
}

type Complaint = readonly [invariant: string, what: string];

/** I7: every figure of the store is what its extents come to, and no two of them share a slot. */
function checkLedger({ extents, usage, volumes, pgs }: DiskBooks): Complaint[] {
  const complaints: Complaint[] = [];
  const say = (what: string): void => void complaints.push(['I7', what]);
  const owners = new Map<string, BookedExtent>();
  const byVolume = new Map<number, number>();
  const byPg = new Map<number, number>();
  for (const extent of extents) {
    if (extent.place === null) continue;
    const key = `${extent.place.name} ${extent.place.offset}`;
    const other = owners.get(key);
    if (other !== undefined) say(`keeps ${nameOf(other)} and ${nameOf(extent)} in one slot`);
    owners.set(key, extent);
    byVolume.set(extent.volume, (byVolume.get(extent.volume) ?? 0) + EXTENT_BYTES);
    byPg.set(extent.pg, (byPg.get(extent.pg) ?? 0) + EXTENT_BYTES);
  }
  const held = owners.size * EXTENT_BYTES;
  if (usage.usedBytes !== held) say(`counts ${usage.usedBytes} bytes, its extents hold ${held}`);
  if (usage.usedBytes > usage.capacityBytes) {
    say(`uses ${usage.usedBytes} bytes of ${usage.capacityBytes}`);
  }
  if (usage.extentCount !== extents.length) {
    say(`counts ${usage.extentCount} extents and has ${extents.length}`);
  }
  complaints.push(...compareFigures('v', volumes, byVolume), ...compareFigures('pg', pgs, byPg));
  return complaints;
}

function compareFigures(
  letter: string,
  told: ReadonlyMap<number, number>,
  counted: ReadonlyMap<number, number>,
): Complaint[] {
  const complaints: Complaint[] = [];
  for (const id of new Set([...told.keys(), ...counted.keys()])) {
    const [says, has] = [told.get(id) ?? 0, counted.get(id) ?? 0];
    if (says !== has) complaints.push(['I7', `counts ${says} bytes of ${letter}${id}, not ${has}`]);
  }
  return complaints;
}

/** I13: nothing on a disk is ahead of what is durable, and every extent is of the PG that the map names. */
function checkAgainstFacts(books: DiskBooks, facts: DurableFacts): Complaint[] {
  const complaints: Complaint[] = [];
  const say = (what: string): void => void complaints.push(['I13', what]);
  const record = facts.disks.get(books.disk);
  if (record === undefined) say('is not in the facts');
  else if (record.uuid !== books.uuid) say(`is "${books.uuid}", expected "${record.uuid}"`);
  if (books.mapVersion > facts.mapVersion) {
    say(`keeps map ${books.mapVersion}, the newest durable one is ${facts.mapVersion}`);
  }
  for (const [pg, epoch] of books.epochs) {
    const durable = facts.pgs.get(pg)?.epoch ?? 0;
    if (epoch > durable) say(`knows pg${pg} e${epoch}, durable is e${durable}`);
  }
  for (const [id, generation] of books.generations) {
    const volume = facts.volumes.get(id);
    if (volume !== undefined && generation > volume.generation) {
      say(`knows v${id} g${generation}, durable is g${volume.generation}`);
    }
  }
  for (const extent of books.extents) {
    const durable = facts.pgs.get(extent.pg)?.epoch ?? 0;
    if (extent.epoch > durable) {
      say(
        `stamped ${nameOf(extent)} of pg${extent.pg} with e${extent.epoch}, durable is e${durable}`,
      );
    }
    const volume = facts.volumes.get(extent.volume);
    if (volume === undefined) continue;
    const slot = (volume.pgOffset + extent.extent * volume.pgStride) % volume.pgCount;
    if (extent.pg !== volume.pgBase + slot) {
      say(`keeps ${nameOf(extent)} under pg${extent.pg}, expected pg${volume.pgBase + slot}`);
    }
    if (extent.extent * EXTENT_BYTES >= volume.sizeBytes) {
      say(`keeps ${nameOf(extent)}, behind the end of the volume`);
    }
  }
  return complaints;
}

function nameOf({ volume, layer, extent }: ExtentAddress): string {
  return `v${volume}.${layer}/${extent}`;
}
