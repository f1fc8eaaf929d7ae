/**
 * Opens the store in a folder without changing it (rescue-disk.ts), and reads the maps that lie there.
 * What cannot be opened is reported in words; a folder with a broken store may still hold a good map.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExtentStore } from '../executor/disk/extent-store.ts';
import { openExtentStore } from '../executor/disk/extent-store-open.ts';
import { tableKey } from '../executor/disk/index-records.ts';
import { readMapFiles } from '../executor/disk/map-files.ts';
import { SLOTS_PER_SLAB } from '../executor/disk/slab-files.ts';
import type { ExtentAddress } from '../executor/disk/store-types.ts';
import { describeError } from '../shared/base/errors.ts';
import { EXTENT_BYTES } from '../shared/base/units.ts';
import { systemClock } from '../shared/node/clock.ts';
import type { ControlCodec } from '../shared/node/control-codec.ts';
import { readKnownMap } from './known-map.ts';
import { RescueDisk } from './rescue-disk.ts';
import type { StoreFolder } from './store-folders.ts';
import type { KnownMap } from './witness.ts';

export interface RescueStore {
  readonly folder: StoreFolder;
  /** Null when it cannot be opened: `problems` says why. */
  readonly store: ExtentStore | null;
  readonly known: KnownMap | null;
  /** Opened without its journal: as of some time before its end. */
  readonly isOutdated: boolean;
  /** Whether the books of the extent are damaged: what the store says of its blocks means nothing. */
  isDamaged(address: ExtentAddress): boolean;
  readonly problems: readonly string[];
  /** Closes it and removes the copies. */
  close(): Promise<void>;
}

/** `scratchBase`: where the copies of indexes and journals go (some KiB per extent); null for the system's. */
export async function openRescueStore(
  folder: StoreFolder,
  codec: ControlCodec,
  scratchBase: string | null,
): Promise<RescueStore> {
  const scratch = mkdtempSync(join(scratchBase ?? tmpdir(), 'cistern-rescue-'));
  const problems: string[] = [];
  let store: ExtentStore | null = null;
  let known: KnownMap | null = null;
  let disk: RescueDisk | null = null;
  let isOutdated = false;
  try {
    disk = new RescueDisk(folder.path, scratch);
    known = readMap(disk, codec, problems);
    store = await openStore(disk, folder);
  } catch (error) {
    problems.push(describeError(error));
    if (disk !== null) store = await openWithoutJournal(disk, folder, problems);
    isOutdated = store !== null;
  }
  const damaged = disk?.damaged ?? new Set<string>();
  if (damaged.size > 0) problems.push(`${damaged.size} records of its index are damaged`);
  return {
    folder,
    store,
    known,
    isOutdated,
    isDamaged: (address) => damaged.has(tableKey(address).toString('hex')),
    problems,
    close: async () => {
      await store?.close();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}

/** The second try; null when that fails too. */
async function openWithoutJournal(
  disk: RescueDisk,
  folder: StoreFolder,
  problems: string[],
): Promise<ExtentStore | null> {
  try {
    disk.dropJournal();
    const store = await openStore(disk, folder);
    problems.push('Opened without its journal: its extents are as of the last checkpoint');
    return store;
  } catch (error) {
    problems.push(`Neither without its journal: ${describeError(error)}`);
    return null;
  }
}

function readMap(disk: RescueDisk, codec: ControlCodec, problems: string[]): KnownMap | null {
  const { newest, problems: damaged } = readMapFiles(disk);
  problems.push(...damaged);
  if (newest === null) return null;
  try {
    return readKnownMap(codec, newest.bytes);
  } catch (error) {
    problems.push(`Kept map is not used: ${describeError(error)}`);
    return null;
  }
}

function openStore(disk: RescueDisk, { superblock }: StoreFolder): Promise<ExtentStore> {
  const slabs = disk.list().filter((name) => name.endsWith('.slab')).length;
  const heldBytes = slabs * SLOTS_PER_SLAB * EXTENT_BYTES;
  const { clusterId, diskId, uuid, capacityBytes } = superblock;
  return openExtentStore(
    {
      clusterId,
      diskId,
      uuid,
      // A disk may have grown since its superblock was written.
      capacityBytes: Math.max(capacityBytes, heldBytes),
      create: false,
    },
    { disk, clock: systemClock, log: () => undefined },
  );
}
