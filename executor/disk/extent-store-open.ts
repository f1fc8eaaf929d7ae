/**
 * Opens the extent store of a disk: makes sure that the directory is ours, reads the books, recovers
 * after an unclean end, and puts the parts together. A directory that is not ours is not touched.
 */
import { crc32c } from '../../shared/base/crc32c.ts';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import { EXTENT_BYTES, formatBytes } from '../../shared/base/units.ts';
import type { DiskIndex, IndexChange } from '../../shared/ports.ts';
import { DiskError } from '../../shared/ports.ts';
import { claimDisk } from './disk-claim.ts';
import { DiskExtentStore } from './disk-extent-store.ts';
import { DiskWatch } from './disk-watch.ts';
import { ExtentCatalog } from './extent-catalog.ts';
import type { ExtentStore } from './extent-store.ts';
import { Journal } from './journal.ts';
import type { JournalTrail } from './journal-reader.ts';
import { readJournals } from './journal-reader.ts';
import { RangeHolds } from './range-holds.ts';
import type { Replayed } from './recovery.ts';
import { JournalReplay, loadIndex, usedSlots } from './recovery.ts';
import { SLOTS_PER_SLAB, SlabFiles } from './slab-files.ts';
import { SlotAllocator } from './slot-allocator.ts';
import type { StoreParts } from './store-core.ts';
import { StoreCore } from './store-core.ts';
import { nextLife } from './store-life.ts';
import {
  CAPACITY_BYTES_MAX,
  DEFAULT_TUNING,
  EXTENTS_MIN,
  EXTENTS_PER_SLOT_MAX,
} from './store-tuning.ts';
import type { StoreModules, StoreOptions } from './store-types.ts';
import { TableCache } from './table-cache.ts';

const INDEX_NAME = 'index';
/** For callers that name no boot. */
const ONE_BOOT = 'one';

/**
 * Rejects with a `StorageError`: `foreign-data` (another disk, cluster, program or version), `corrupt`,
 * `not-found` (nothing here, and `create` is false), `invalid-argument`, `disk-failed`.
 */
export async function openExtentStore(
  options: StoreOptions,
  modules: StoreModules,
): Promise<ExtentStore> {
  const slotCount = Math.floor(Math.min(options.capacityBytes, CAPACITY_BYTES_MAX) / EXTENT_BYTES);
  if (!(slotCount >= 1)) {
    const allowed = `at least one extent (${formatBytes(EXTENT_BYTES)})`;
    throw new StorageError(
      'invalid-argument',
      `Opening the store on "${modules.disk.path}": capacity is ${options.capacityBytes} bytes, expected ${allowed}`,
    );
  }
  try {
    claimDisk(options, modules.disk);
    return await openWatched(options, modules, slotCount);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    const what = `Opening the store on "${modules.disk.path}" failed: ${describeError(error)}`;
    throw new StorageError('disk-failed', what, { code: error.code }, error);
  }
}

/** A device that does not answer fails the opening, and later the store. */
async function openWatched(
  options: StoreOptions,
  modules: StoreModules,
  slotCount: number,
): Promise<ExtentStore> {
  const watch = new DiskWatch(modules.disk, modules.clock);
  const opening = open(options, modules, slotCount);
  try {
    const what = `Opening the store on "${modules.disk.path}"`;
    const store = await watch.guard(opening, what);
    store.watchedBy(watch);
    return store;
  } catch (error) {
    watch.stop();
    // Should the device come back after all, nobody waits for the store any more.
    opening.then(
      (store) => store.close(),
      () => undefined,
    );
    throw error;
  }
}

async function open(
  options: StoreOptions,
  modules: StoreModules,
  slotCount: number,
): Promise<DiskExtentStore> {
  const { disk, clock, log } = modules;
  const tuning = { ...DEFAULT_TUNING, ...options.tuning };
  const catalog = new ExtentCatalog();
  const tables = new TableCache(catalog, tuning.tableCacheCount);
  const slabs = new SlabFiles(disk);
  const index = disk.openIndex(INDEX_NAME);
  const { life, change, isMemoryLost } = await readLife(options, modules, index);
  const parts: StoreParts = {
    options,
    tuning,
    disk,
    clock,
    log,
    index,
    catalog,
    tables,
    slabs,
    holds: new RangeHolds(catalog),
    epochs: new Map(),
    generations: new Map(),
    life,
  };
  try {
    const firstNeeded = loadIndex(parts);
    const uuidChecksum = crc32c(new TextEncoder().encode(options.uuid));
    const owner = { diskId: options.diskId, uuidChecksum };
    const trail = await readJournals(disk, owner, firstNeeded);
    const sizes = slabSizes(slabs);
    let replayed: Replayed | null = null;
    if (trail !== null) {
      replayed = await new JournalReplay(parts, trail.settledThrough).run(trail, slabs);
      slabs.distrust();
    }
    const core = assemble(parts, { ...owner, slotCount, firstNeeded, trail, sizes });
    const store = new DiskExtentStore(core);
    if (trail !== null && replayed !== null) await finishRecovery(core, store, trail, replayed);
    if (change !== null) await saveLife(index, change);
    if (isMemoryLost) {
      log('warn', 'Disk lost its memory with the power of the machine', {
        disk: options.diskId,
        incarnation: life.incarnation,
      });
    }
    return store;
  } catch (error) {
    slabs.close();
    await index.close();
    throw error;
  }
}

/** What was replayed goes into the index before anything new happens: it is never replayed twice. */
async function finishRecovery(
  core: StoreCore,
  store: DiskExtentStore,
  trail: JournalTrail,
  replayed: Replayed,
): Promise<void> {
  for (const [name, address] of replayed.removed) core.removed.set(name, address);
  for (const pg of replayed.changedEpochs) core.changedEpochs.add(pg);
  for (const volume of replayed.changedGenerations) core.changedGenerations.add(volume);
  await store.checkpoint();
  core.parts.log('warn', 'Disk was not closed cleanly, recovered it', {
    disk: core.parts.options.diskId,
    records: trail.recordCount,
    undoneBlocks: replayed.undoneBlocks,
    dirtyExtents: core.catalog.dirtyCount,
  });
}

/** Closes the index again when its record is damaged. */
async function readLife(
  { bootId = ONE_BOOT, uuid }: StoreOptions,
  { clock }: StoreModules,
  index: DiskIndex,
): Promise<ReturnType<typeof nextLife>> {
  try {
    return nextLife(index, { bootId, uuid, wallMs: clock.wall() });
  } catch (error) {
    await index.close();
    throw error;
  }
}

/** Before the store serves: a second power loss must not find the record of the boot before. */
function saveLife(index: DiskIndex, change: IndexChange): Promise<void> {
  return new Promise((resolve, reject) => {
    index.commit([change], (failure) => {
      if (failure === null) resolve();
      else {
        const what = `Recording the boot failed: ${failure.message}`;
        reject(new StorageError('disk-failed', what, { code: failure.code }));
      }
    });
  });
}

function slabSizes(slabs: SlabFiles): Map<number, number> {
  const sizes = new Map<number, number>();
  slabs.openExisting((number, size) => sizes.set(number, size));
  return sizes;
}

interface Assembly {
  readonly diskId: number;
  readonly uuidChecksum: number;
  readonly slotCount: number;
  readonly firstNeeded: number;
  readonly trail: JournalTrail | null;
  readonly sizes: ReadonlyMap<number, number>;
}

function assemble(parts: StoreParts, assembly: Assembly): StoreCore {
  const { slotCount, trail, sizes } = assembly;
  const used = usedSlots(parts.catalog, slotCount);
  const stateOf = (slot: number): 'used' | 'free' | 'unclean' => {
    if (used[slot] === 1) return 'used';
    const size = sizes.get(Math.floor(slot / SLOTS_PER_SLAB)) ?? 0;
    const isBehindEnd = (slot % SLOTS_PER_SLAB) * EXTENT_BYTES >= size;
    // Nobody knows how far the freeing of slots had come when the store ended uncleanly.
    return trail === null || isBehindEnd ? 'free' : 'unclean';
  };
  return new StoreCore(
    parts,
    { slotCount, extentsMax: Math.max(EXTENTS_MIN, EXTENTS_PER_SLOT_MAX * slotCount) },
    () =>
      new Journal(
        {
          diskId: assembly.diskId,
          uuidChecksum: assembly.uuidChecksum,
          firstFile: trail?.nextFile ?? assembly.firstNeeded,
          firstSequence: trail?.nextSequence ?? 1,
          fileBytesMax: parts.tuning.journalBytesMax,
        },
        parts.disk,
      ),
    (core) =>
      new SlotAllocator(slotCount, stateOf, {
        journal: core.journal,
        slabs: parts.slabs,
        fail: (what, failure) => core.fail(what, failure),
      }),
  );
}
