/**
 * Disks as witnesses: what lies in the folders of executors that run no more. The maps are read first,
 * since they name the executors to ask; the books only of disks whose executor does not answer.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MAP_NAMES } from '../executor/disk/map-files.ts';
import { describeError } from '../shared/base/errors.ts';
import { diskId } from '../shared/base/ids.ts';
import type { ControlCodec } from '../shared/node/control-codec.ts';
import { readKnownMap } from './known-map.ts';
import { openRescueStore } from './rescue-store.ts';
import type { StoreFolder } from './store-folders.ts';
import type { KnownMap, Witness } from './witness.ts';

/** The newest map in the folder, without opening the store; null when there is none that is whole. */
export function peekMap(folder: StoreFolder, codec: ControlCodec): KnownMap | null {
  let newest: KnownMap | null = null;
  for (const name of MAP_NAMES) {
    try {
      const found = readKnownMap(codec, readFileSync(join(folder.path, name)));
      if (newest === null || found.map.version > newest.map.version) newest = found;
    } catch {
      // Absent or damaged: whoever opens the store says so.
    }
  }
  return newest;
}

/** Everything that the disk knows. The originals are not changed. */
export async function hearFolder(
  folder: StoreFolder,
  codec: ControlCodec,
  scratchBase: string | null,
): Promise<{ readonly witness: Witness; readonly problems: readonly string[] }> {
  const opened = await openRescueStore(folder, codec, scratchBase);
  const { store, known } = opened;
  const { clusterId, diskId: number, uuid } = folder.superblock;
  const id = diskId(number);
  const problems = opened.problems.map((problem) => `"${folder.path}": ${problem}`);
  // Without its journal it may have forgotten the last epochs.
  const memory =
    store === null || opened.isOutdated
      ? null
      : {
          id,
          uuid,
          epochs: [...store.epochs],
          generations: [...store.generations],
          volumes: store.volumeUsage().map(({ volume }) => volume),
        };
  // A disk whose books cannot be read does not speak for its node: what it adopted is not known.
  const owner = known?.map.disks.find((disk) => disk.id === id)?.node ?? null;
  const node = memory === null ? null : owner;
  await opened.close().catch((error: unknown) => problems.push(describeError(error)));
  const disks = memory === null ? [] : [memory];
  return { witness: { source: folder.path, clusterId, node, known, disks }, problems };
}
