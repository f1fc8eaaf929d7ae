/**
 * Bad blocks of this node's replicas: those that fail their checksum or cannot be read. Whoever meets one
 * says so here (a pull for a gateway or a joining replica, scrub); it is looked at again, and rewritten
 * with a good copy from another in-sync replica. The copy must fit the checksum that is stored here, so
 * that neither a write under way nor a change of members can make it the wrong one. The block is then
 * read back from the device.
 *
 * A block without any good copy is kept in a list and looked at now and then: overwriting it makes it
 * good. Reads of it get EIO, and of nothing else. Extents that differ between replicas although each
 * copy fits its checksum are scrub's (scrub-compare.ts).
 */
import { StorageError } from '../../shared/base/errors.ts';
import {
  type DiskId,
  formatDisk,
  formatPg,
  formatVolume,
  type PgId,
  type VolumeId,
} from '../../shared/base/ids.ts';
import type { BadBlocks, Notice } from '../../shared/model/node-report.ts';
import type { Clock } from '../../shared/ports.ts';
import { OP } from '../../shared/wire/data-protocol.ts';
import type { MapIndex, PgView } from '../map-index.ts';
import type { RaiseNotice } from '../notice-board.ts';
import { callPeer, type PeerAnswer } from '../peer/peer-call.ts';
import type { PeerSet } from '../peer/peer-set.ts';
import { BadBlockList, type BadEntry } from './bad-block-list.ts';
import { checkBlock, fitsChecksums, localMeta } from './block-check.ts';
import { ended, sourceFrame } from './extent-copy.ts';
import type { ReplicaDisk } from './replica-disk.ts';
import type { BlockPlace } from './source-operations.ts';

export interface BlockHealerModules {
  readonly clock: Clock;
  readonly map: MapIndex;
  readonly peers: PeerSet;
  readonly notify: RaiseNotice;
  /** Null when the disk is not served here. */
  findDisk(id: DiskId): ReplicaDisk | null;
}

const CALL_MS = 5_000;
/** Somebody who may have a good copy could not be asked: not long, for the block has one copy less. */
const RETRY_MS = 1_000;
/** Nobody has a good copy: it becomes good when a client writes it. */
const LOST_MS = 10_000;

export class BlockHealer {
  readonly #modules: BlockHealerModules;
  readonly #list = new BadBlockList();
  #isRunning = false;
  #isClosed = false;

  constructor(modules: BlockHealerModules) {
    this.#modules = modules;
    this.#arm();
  }

  /** Blocks that were found bad just now; looked at again before anything is done. */
  suspect(disk: DiskId, pg: number, place: BlockPlace): void {
    const { volume, layer, extent } = place;
    const nowMs = this.#modules.clock.now();
    for (let block = place.block; block < place.block + place.count; block += 1) {
      this.#list.add({ disk, pg, volume, layer, extent, block }, nowMs);
    }
    void this.#work();
  }

  /** One that a joining replica had to take over as lost (extent-copy.ts). */
  takeLost(disk: DiskId, pg: number, { volume, layer, extent, block }: BlockPlace): void {
    const place = { disk, pg, volume, layer, extent, block };
    const entry = this.#list.addLost(place, this.#modules.clock.now());
    if (entry === null) return;
    this.#tellLost(entry);
  }

  /** What is bad for longer than a repair takes. */
  reports(): readonly BadBlocks[] {
    return this.#list.reports(this.#modules.clock.now());
  }

  forgetDisk(disk: DiskId): void {
    this.#list.forgetDisk(disk);
  }

  close(): void {
    this.#isClosed = true;
  }

  #arm(): void {
    this.#modules.clock.after(RETRY_MS, () => {
      if (this.#isClosed) return;
      void this.#work();
      this.#arm();
    });
  }

  async #work(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (;;) {
      const entry = this.#isClosed ? null : this.#list.takeDue(this.#modules.clock.now());
      if (entry === null) break;
      const delayMs = await this.#look(entry);
      if (delayMs === null) this.#list.remove(entry);
      else this.#list.putBack(entry, this.#modules.clock.now() + delayMs);
    }
    this.#isRunning = false;
  }

  /** When to look again; null when there is nothing left to do. */
  async #look(entry: BadEntry): Promise<number | null> {
    const disk = this.#modules.findDisk(entry.disk);
    const view = this.#modules.map.pgs.get(entry.pg as PgId);
    // Not ours any more, or being copied anew.
    if (disk === null || disk.store.failure !== null) return null;
    if (view === undefined || !view.members.includes(entry.disk)) return null;
    const isInSync = view.inSync.includes(entry.disk);
    // What was bad before a copy began is what the copy is for.
    if (!isInSync && !entry.isLost) return null;
    try {
      if ((await checkBlock(disk.store, entry, entry.block)) === 'good') return null;
      if (!isInSync) return RETRY_MS;
      const meta = await localMeta(disk.store, entry);
      if (meta === null) return null;
      return await this.#heal(entry, disk, view, meta.checksums);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      return RETRY_MS;
    }
  }

  async #heal(
    entry: BadEntry,
    disk: ReplicaDisk,
    view: PgView,
    stored: Uint8Array,
  ): Promise<number | null> {
    const wanted = stored.subarray(entry.block * 4, entry.block * 4 + 4);
    let isCertain = true;
    let isDifferent = false;
    for (const source of view.inSync) {
      if (source === entry.disk) continue;
      const answer = await this.#pull(entry, view, source);
      if (answer === 'unknown') isCertain = false;
      if (answer === 'unknown' || answer === 'bad') continue;
      const { data, checksums } = answer;
      if (data === null || checksums === null || !fitsChecksums(data, wanted)) {
        // Another state than ours: written meanwhile, or the replicas differ, which scrub settles.
        isDifferent = true;
        continue;
      }
      const { volume, layer, extent, block } = entry;
      const blocks = { volume, layer, extent, block, count: 1, checksums: wanted, data };
      await ended((done) => disk.store.rewrite(blocks, done));
      if ((await checkBlock(disk.store, entry, block)) !== 'good') continue;
      this.#tellRepaired(entry, source);
      return null;
    }
    if (!isCertain) return RETRY_MS;
    if (isDifferent) return LOST_MS;
    if (!entry.isLost) this.#tellLost(entry);
    entry.isLost = true;
    return LOST_MS;
  }

  async #pull(
    entry: BadEntry,
    view: PgView,
    source: DiskId,
  ): Promise<PeerAnswer | 'bad' | 'unknown'> {
    const { clock, peers } = this.#modules;
    const peer = peers.ofDisk(source);
    if (peer === null) return 'unknown';
    const context = { pg: view.id, epoch: view.epoch, sourceDisk: source };
    const frame = sourceFrame(context, OP.pull, entry);
    frame.block = entry.block;
    frame.count = 1;
    try {
      return await callPeer(peer, frame, clock, CALL_MS);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      return error.code === 'corrupt' ? 'bad' : 'unknown';
    }
  }

  #tellRepaired(entry: BadEntry, source: DiskId): void {
    const place = placeOf(entry);
    const text = `${place.name} was bad; it was rewritten from ${formatDisk(source)} and read back`;
    this.#modules.notify({ ...place.fields, severity: 'warning', kind: 'block.repaired', text });
  }

  #tellLost(entry: BadEntry): void {
    const place = placeOf(entry);
    const text = `${place.name} is bad and no replica of ${formatPg(entry.pg as PgId)} has a good copy: reads of it get EIO until it is written again`;
    this.#modules.notify({ ...place.fields, severity: 'error', kind: 'block.lost', text });
  }
}

interface Place {
  readonly name: string;
  readonly fields: Pick<Notice, 'disk' | 'pg' | 'volume' | 'extent' | 'block' | 'blockCount'>;
}

function placeOf(entry: BadEntry): Place {
  const { extent, block } = entry;
  const disk = entry.disk;
  const volume = entry.volume as VolumeId;
  const name = `Block ${block} of extent ${extent} of ${formatVolume(volume)} on ${formatDisk(disk)}`;
  return {
    name,
    fields: { disk, pg: entry.pg as PgId, volume, extent, block, blockCount: 1 },
  };
}
