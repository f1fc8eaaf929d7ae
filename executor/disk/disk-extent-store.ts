/** One open store: the interface of extent-store.ts over the parts that do the work. */
import { StorageError } from '../../shared/base/errors.ts';
import { EXTENT_BYTES } from '../../shared/base/units.ts';
import type { Status } from '../../shared/wire/data-protocol.ts';
import { STATUS } from '../../shared/wire/data-protocol.ts';
import { BlockReader } from './block-reader.ts';
import { BlockWriter } from './block-writer.ts';
import { Checkpoint } from './checkpoint.ts';
import { ChecksumRebuilder } from './checksum-rebuilder.ts';
import type { DiskWatch } from './disk-watch.ts';
import { ROW } from './extent-catalog.ts';
import { ExtentCleaner } from './extent-cleaner.ts';
import { ExtentHealer } from './extent-healer.ts';
import { listExtents } from './extent-list.ts';
import { ExtentRemover } from './extent-remover.ts';
import type { ExtentStore } from './extent-store.ts';
import { encodeNumber, JOURNAL_KEY } from './index-records.ts';
import { journalName } from './journal.ts';
import { NO_SLOT } from './journal-records.ts';
import { MapFiles, readMapFiles } from './map-files.ts';
import { SLOTS_PER_SLAB, slabName, slotOffset } from './slab-files.ts';
import { isNoSpace, StampKeeper } from './stamp-keeper.ts';
import type { StoreCore } from './store-core.ts';
import { lifeChange } from './store-life.ts';
import type {
  Done,
  ExtentAddress,
  ExtentMeta,
  ExtentPage,
  HealedBlocks,
  PulledBlocks,
  ReadDone,
  ReadRequest,
  SlotPlace,
  Stamp,
  StoreUsage,
  WriteRequest,
  ZeroRequest,
} from './store-types.ts';

/** How long `close` waits for what is running before it gives up on a clean end (a stuck device). */
const CLOSE_WAIT_MS = 30_000;

export class DiskExtentStore implements ExtentStore {
  readonly uuid: string;
  readonly diskId: number;
  readonly incarnation: number;
  readonly #core: StoreCore;
  readonly #checkpoint: Checkpoint;
  readonly #reader: BlockReader;
  readonly #writer: BlockWriter;
  readonly #cleaner: ExtentCleaner;
  readonly #healer: ExtentHealer;
  readonly #remover: ExtentRemover;
  readonly #maps: MapFiles;
  #watch: DiskWatch | null = null;
  #isClosing = false;
  #closed: Promise<void> | null = null;

  constructor(core: StoreCore) {
    this.#core = core;
    this.uuid = core.parts.options.uuid;
    this.diskId = core.parts.options.diskId;
    this.incarnation = core.parts.life.incarnation;
    const rebuilder = new ChecksumRebuilder(core);
    const stamps = new StampKeeper(core, rebuilder);
    this.#checkpoint = new Checkpoint(core);
    this.#reader = new BlockReader(core, rebuilder);
    this.#writer = new BlockWriter(core, stamps, rebuilder);
    this.#cleaner = new ExtentCleaner(core, { checkpoint: this.#checkpoint, rebuilder, stamps });
    this.#healer = new ExtentHealer(core, { rebuilder, cleaner: this.#cleaner });
    this.#remover = new ExtentRemover(core);
    this.#maps = new MapFiles(core.parts.disk);
  }

  get failure(): string | null {
    return this.#core.failure;
  }

  onFailure(listener: (reason: string) => void): void {
    this.#core.onFailure(listener);
  }

  write(request: WriteRequest, done: Done): void {
    if (this.#isClosing) {
      done(STATUS.diskFailed);
      return;
    }
    this.#writer.write(request, done);
    this.#checkpoint.startWhenDue();
  }

  read(request: ReadRequest, done: ReadDone): void {
    if (this.#isClosing) done(STATUS.diskFailed, 0, 0, -1);
    else this.#reader.read(request, done);
  }

  zero(request: ZeroRequest, done: Done): void {
    this.#change(done, () => this.#writer.zero(request, done));
  }

  applyPulled(blocks: PulledBlocks, done: Done): void {
    this.#change(done, () => this.#writer.applyPulled(blocks, done));
  }

  applyLost(address: ExtentAddress, block: number, checksum: Uint8Array, done: Done): void {
    this.#change(done, () => this.#writer.applyLost(address, block, checksum, done));
  }

  flush(done: Done): void {
    if (this.#isClosing) done(STATUS.diskFailed);
    else this.#core.flush(done);
  }

  readRaw(
    address: ExtentAddress,
    block: number,
    count: number,
    target: Uint8Array,
    done: Done,
  ): void {
    if (this.#isClosing) done(STATUS.diskFailed);
    else this.#reader.readRaw(address, block, count, target, done);
  }

  stampOf(address: ExtentAddress): Stamp | null {
    const { catalog } = this.#core;
    const row = catalog.find(address.volume, address.layer, address.extent);
    if (row < 0) return null;
    return {
      epoch: catalog.epoch[row] ?? 0,
      dirty: catalog.hasFlag(row, ROW.dirty),
      incomplete: catalog.hasFlag(row, ROW.incomplete),
    };
  }

  placeOf(address: ExtentAddress): SlotPlace | null {
    const { catalog } = this.#core;
    const row = catalog.find(address.volume, address.layer, address.extent);
    const slot = row < 0 ? NO_SLOT : (catalog.slot[row] ?? NO_SLOT);
    if (slot === NO_SLOT) return null;
    const name = slabName(Math.floor(slot / SLOTS_PER_SLAB));
    return { name, offset: slotOffset(slot) };
  }

  presenceOf(
    address: ExtentAddress,
    block: number,
    count: number,
    target: Uint8Array,
    done: Done,
  ): void {
    if (this.#isClosing) done(STATUS.diskFailed);
    else this.#reader.presenceOf(address, block, count, target, done);
  }

  metaOf(address: ExtentAddress, done: (status: Status, meta: ExtentMeta | null) => void): void {
    if (this.#isClosing) done(STATUS.diskFailed, null);
    else this.#reader.metaOf(address, done);
  }

  setStamp(address: ExtentAddress, pg: number, stamp: Stamp, done: Done): void {
    this.#change(done, () => this.#cleaner.setStamp(address, pg, stamp, done));
  }

  versionOf(address: ExtentAddress): number {
    return this.#healer.versionOf(address);
  }

  rewrite(blocks: HealedBlocks, done: Done): void {
    this.#change(done, () => this.#healer.rewrite(blocks, done));
  }

  beginHeal(address: ExtentAddress, pg: number, version: number, done: Done): void {
    this.#change(done, () => this.#healer.begin(address, pg, version, done));
  }

  endHeal(address: ExtentAddress, epoch: number, done: Done): void {
    this.#change(done, () => this.#healer.end(address, epoch, done));
  }

  clean(extents: readonly ExtentAddress[], done: () => void = () => undefined): void {
    if (this.#isClosing || this.#core.failure !== null) {
      done();
      return;
    }
    this.#cleaner.clean(extents, done);
    this.#checkpoint.startWhenDue();
  }

  deleteExtent(address: ExtentAddress, done: Done): void {
    this.#change(done, () => this.#remover.deleteExtent(address, done));
  }

  deleteVolume(volume: number, done: Done): void {
    this.#change(done, () => this.#remover.deleteVolume(volume, done));
  }

  listExtents(pg: number, after: ExtentAddress | null, limit: number): ExtentPage {
    return listExtents(this.#core.catalog, pg, after, limit);
  }

  forgetPg(pg: number, done: Done): void {
    this.#change(done, () => this.#remover.forgetPg(pg, done));
  }

  adoptEpoch(pg: number, epoch: number, done: Done): void {
    const { parts, changedEpochs } = this.#core;
    this.#adopt(done, parts.epochs, { id: pg, value: epoch }, () => {
      changedEpochs.add(pg);
      this.#core.journal.append({ type: 'epoch', pg, epoch });
    });
  }

  epochOf(pg: number): number {
    return this.#core.parts.epochs.get(pg) ?? 0;
  }

  adoptGeneration(volume: number, generation: number, done: Done): void {
    const { parts, changedGenerations } = this.#core;
    this.#adopt(done, parts.generations, { id: volume, value: generation }, () => {
      changedGenerations.add(volume);
      this.#core.journal.append({ type: 'generation', volume, generation });
    });
  }

  generationOf(volume: number): number {
    return this.#core.parts.generations.get(volume) ?? 0;
  }

  usage(): StoreUsage {
    const { catalog, slots, slotCount, checksumErrorCount } = this.#core;
    return {
      capacityBytes: slotCount * EXTENT_BYTES,
      usedBytes: catalog.usedSlots * EXTENT_BYTES,
      slotCount,
      usedSlots: catalog.usedSlots,
      pendingSlots: slots.pendingCount,
      extentCount: catalog.extentCount,
      dirtyExtentCount: catalog.dirtyCount,
      incompleteExtentCount: catalog.incompleteCount,
      checksumErrorCount,
    };
  }

  volumeUsage(): readonly { readonly volume: number; readonly bytes: number }[] {
    const entries = [...this.#core.catalog.volumeSlots];
    return entries.map(([volume, slots]) => ({ volume, bytes: slots * EXTENT_BYTES }));
  }

  pgUsage(): readonly { readonly pg: number; readonly bytes: number }[] {
    const entries = [...this.#core.catalog.pgSlots];
    return entries.map(([pg, slots]) => ({ pg, bytes: slots * EXTENT_BYTES }));
  }

  get epochs(): ReadonlyMap<number, number> {
    return this.#core.parts.epochs;
  }

  get generations(): ReadonlyMap<number, number> {
    return this.#core.parts.generations;
  }

  keepMap(record: Uint8Array, done: Done): void {
    if (this.#isClosing || this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    this.#maps.keep(record, (failure) => {
      if (failure !== null && isNoSpace(failure)) done(STATUS.noSpace);
      else this.#core.finish('Keeping the last map', failure, done);
    });
  }

  keptMap(): Uint8Array | null {
    return readMapFiles(this.#core.parts.disk).newest?.bytes ?? null;
  }

  /** Moves everything from the journal into the index: after recovery, and at the end. */
  checkpoint(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#checkpoint.run((failure) => {
        if (failure === null && this.#core.failure === null) resolve();
        else reject(new StorageError('disk-failed', failure?.message ?? this.#core.failure ?? ''));
      });
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** A change of something, unless the store is closing. */
  #change(done: Done, start: () => void): void {
    if (this.#isClosing) {
      done(STATUS.diskFailed);
      return;
    }
    start();
    this.#checkpoint.startWhenDue();
  }

  #adopt(
    done: Done,
    known: Map<number, number>,
    wanted: { readonly id: number; readonly value: number },
    append: () => void,
  ): void {
    if (this.#isClosing || this.#core.failure !== null) {
      done(STATUS.diskFailed);
      return;
    }
    if (wanted.value > (known.get(wanted.id) ?? 0)) {
      if (!this.#core.journal.hasRoom(1)) {
        done(STATUS.noSpace);
        return;
      }
      known.set(wanted.id, wanted.value);
      append();
    }
    // Also when it was known: an earlier call may still be on its way to the disk.
    this.#core.syncJournal(done);
  }

  /** From now on a device that does not answer, or cannot be read, fails the store. */
  watchedBy(watch: DiskWatch): void {
    this.#watch = watch;
    watch.onUseless((failure) => this.#core.fail('Probing the device', failure));
    this.#core.onFailure(() => watch.stop());
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    this.#watch?.stop();
    const isQuiet = await this.#settle();
    if (isQuiet && this.#core.failure === null) {
      try {
        await this.checkpoint();
        await this.#markClean();
      } catch (error) {
        // It opens as after a crash, which loses nothing.
        if (!(error instanceof StorageError)) throw error;
        this.#core.parts.log('warn', 'Disk was not closed cleanly', {
          disk: this.diskId,
          reason: error.message,
        });
      }
    }
    this.#core.journal.close();
    this.#core.slabs.close();
    await this.#core.parts.index.close();
  }

  /** Waits for holds, cleaning, freed slots; false when it takes too long. */
  #settle(): Promise<boolean> {
    const { holds, slots, parts } = this.#core;
    return new Promise((resolve) => {
      const deadline = parts.clock.after(CLOSE_WAIT_MS, () => resolve(false));
      const look = (): void => {
        if (this.#core.failure !== null) finish();
        else if (holds.count > 0) holds.whenIdle(look);
        else if (slots.pendingCount > 0) slots.whenFreed(look);
        else
          this.#cleaner.whenIdle(() => (holds.count + slots.pendingCount > 0 ? look() : finish()));
      };
      const finish = (): void => {
        deadline.cancel();
        resolve(true);
      };
      look();
    });
  }

  /** No journal file is needed any more, and no boot either: that is what a clean end looks like. */
  async #markClean(): Promise<void> {
    const { parts, journal } = this.#core;
    const changes = [
      { key: JOURNAL_KEY, value: encodeNumber(journal.number + 1) },
      lifeChange({ ...parts.life, isOpen: false }),
    ];
    await new Promise<void>((resolve, reject) => {
      parts.index.commit(changes, (failure) => {
        if (failure === null) resolve();
        else
          reject(
            new StorageError('disk-failed', `Marking the store clean failed: ${failure.message}`),
          );
      });
    });
    parts.disk.remove(journalName(journal.number));
  }
}
