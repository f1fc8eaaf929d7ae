/**
 * After a gateway that was not detached cleanly, replicas may differ where its last writes were under
 * way: acked ones are everywhere, others are here and there. Before the next gateway serves an extent
 * that any replica holds dirty, all replicas are made the same (DESIGN 5): one in-sync replica is the
 * source, blocks that differ are written to the others. Clients wait for single extents, on demand,
 * not for the whole.
 *
 * A gateway that lives on compares a PG again, and holds it meanwhile, when
 * - members that lost their memory were trusted again (`compareEpoch`, docs/decisions/0007);
 * - a member was promoted that was joining at the last comparison: its join may have been complete before
 *   this gateway's generation was known there, and hold a write of the former one that nobody else has.
 */

import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { DiskId, PgId } from '../../shared/base/ids.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import { DataFrame, FLAG, OP, PRESENCE } from '../../shared/wire/data-protocol.ts';
import { decodeList, decodeMeta } from '../../shared/wire/resync-bodies.ts';
import type { PgView } from '../map-index.ts';
import { callPeer, type PeerAnswer } from '../peer/peer-call.ts';
import { findMismatch } from './block-checksums.ts';
import { type Difference, differencesOf } from './extent-differences.ts';
import type { VolumeContext } from './volume-context.ts';

export interface ReconcilerOptions {
  readonly pgBase: number;
  readonly pgCount: number;
}

/** Told what a former gateway left dirty, when the list is known, and whenever an extent may be served. */
export interface ReconcilerListener {
  /** Before `onListed`: acked writes may be there that no disk has synced. */
  onLeftDirty(pg: PgId): void;
  /** Also when a PG was listed again: what need not be compared may go on. */
  onListed(): void;
  onReconciled(extent: number, pg: PgId): void;
}

/** PGs listed and extents compared at a time: enough to hide the round trips, little for the disks. */
const PARALLEL_LISTS = 16;
const PARALLEL_EXTENTS = 4;
const CALL_MS = 5_000;
const RETRY_MS = 50;

interface Listing {
  readonly epoch: number;
  readonly joining: readonly DiskId[];
}

export class Reconciler {
  readonly #context: VolumeContext;
  readonly #options: ReconcilerOptions;
  readonly #listener: ReconcilerListener;
  /** Extents that must be compared before they are served, with their PG. */
  readonly #pending = new Map<number, PgId>();
  /** Asked for by clients: these first. */
  readonly #demanded = new Set<number>();
  readonly #running = new Set<number>();
  /** PGs whose dirty extents are being listed: nothing is served there. */
  readonly #listing = new Set<PgId>();
  /** When each PG was listed last. */
  readonly #listed = new Map<PgId, Listing>();
  #workerCount = 0;
  #isStopped = false;
  #differenceCount = 0;

  constructor(context: VolumeContext, options: ReconcilerOptions, listener: ReconcilerListener) {
    this.#context = context;
    this.#options = options;
    this.#listener = listener;
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** True: the extent may not be served yet; it is taken up next. */
  mustWait(extent: number, pg: PgId): boolean {
    if (this.#pending.size === 0 && this.#listing.size === 0) return false;
    if (!this.isHeld(extent, pg)) return false;
    this.#demanded.add(extent);
    return true;
  }

  /** Not known to be the same everywhere. */
  isHeld(extent: number, pg: PgId): boolean {
    return this.#listing.has(pg) || this.#pending.has(extent);
  }

  /** After a new map, before anything is issued under it: what has to be compared again. */
  onMap(changed: readonly PgView[]): void {
    const { pgBase, pgCount } = this.#options;
    for (const view of changed) {
      const listed = this.#listed.get(view.id);
      if (view.id < pgBase || view.id >= pgBase + pgCount || listed === undefined) continue;
      if (!mustListAgain(view, listed) || this.#listing.has(view.id)) continue;
      this.#listing.add(view.id);
      void this.#listAgain(view.id);
    }
  }

  /** Lists dirty extents, tells the listener, and makes them the same one after the other. */
  async run(): Promise<void> {
    await this.#listAll();
    if (this.#isStopped) return;
    this.#listener.onListed();
    this.#startWorkers();
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #listAgain(pg: PgId): Promise<void> {
    const { log, volume } = this.#context;
    log('info', 'Comparing the replicas of a placement group again', { volume, pg });
    await this.#untilDone(() => this.#listPg(pg));
    if (this.#isStopped) return;
    this.#listing.delete(pg);
    this.#startWorkers();
    this.#listener.onListed();
  }

  async #listAll(): Promise<void> {
    const { pgBase, pgCount } = this.#options;
    let next = pgBase;
    const worker = async (): Promise<void> => {
      while (next < pgBase + pgCount && !this.#isStopped) {
        const pg = next as PgId;
        next += 1;
        await this.#untilDone(() => this.#listPg(pg));
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_LISTS }, () => worker()));
  }

  /** Tries again, under the newest map, until it succeeds: there is no serving without. */
  async #untilDone(attempt: () => Promise<void>): Promise<void> {
    while (!this.#isStopped) {
      try {
        await attempt();
        return;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        this.#context.log('debug', 'Comparing replicas failed, trying again', {
          volume: this.#context.volume,
          error: describeError(error),
        });
        await new Promise<void>((resolve) => {
          this.#context.clock.after(RETRY_MS, resolve);
        });
      }
    }
  }

  async #listPg(pg: PgId): Promise<void> {
    const view = this.#viewOf(pg);
    // A single copy cannot differ from another, but it may have to be synced.
    const mustCompare = view.members.length >= 2;
    for (const disk of view.inSync) {
      let after: { volume: number; layer: number; extent: number } | null = null;
      do {
        const frame = this.#frame(OP.list, view, disk, 0, 0, 0);
        frame.aux = after === null ? 3 : 2;
        if (after !== null) {
          frame.layer = after.layer;
          frame.extent = after.extent;
        }
        frame.volume = after === null ? 0 : after.volume;
        const answer: PeerAnswer = await this.#call(disk, frame);
        const entries = decodeList(answer.data);
        if (entries === null) throw new StorageError('protocol', 'Replica sent a malformed list');
        const { volume, layer } = this.#context;
        for (const entry of entries) {
          if (entry.volume !== volume || entry.layer !== layer) continue;
          this.#listener.onLeftDirty(pg);
          if (mustCompare) this.#pending.set(entry.extent, pg);
        }
        after = answer.aux === 0 ? null : (entries.at(-1) ?? null);
      } while (after !== null);
    }
    if (this.#context.map.pgs.get(pg) !== view) {
      throw new StorageError('stale-epoch', `pg${pg} changed while it was listed`);
    }
    const { epoch, inSync, members } = view;
    this.#listed.set(pg, { epoch, joining: members.filter((disk) => !inSync.includes(disk)) });
  }

  #startWorkers(): void {
    const wanted = Math.min(PARALLEL_EXTENTS, this.#pending.size - this.#running.size);
    while (this.#workerCount < wanted) {
      this.#workerCount += 1;
      void this.#work().finally(() => {
        this.#workerCount -= 1;
        if (this.#pending.size === 0 && !this.#isStopped) this.#noteDone();
      });
    }
  }

  #noteDone(): void {
    const { log, volume } = this.#context;
    log('info', 'Replicas compared', { volume, blocks: this.#differenceCount });
  }

  async #work(): Promise<void> {
    for (;;) {
      const next = this.#takeNext();
      if (next === null || this.#isStopped) return;
      const [extent, pg] = next;
      this.#running.add(extent);
      await this.#untilDone(() => this.#reconcile(extent, pg));
      this.#running.delete(extent);
      if (this.#isStopped) return;
      this.#pending.delete(extent);
      this.#listener.onReconciled(extent, pg);
    }
  }

  #takeNext(): readonly [number, PgId] | null {
    for (const extent of this.#demanded) {
      this.#demanded.delete(extent);
      const pg = this.#pending.get(extent);
      if (pg !== undefined && !this.#running.has(extent)) return [extent, pg];
    }
    for (const [extent, pg] of this.#pending) if (!this.#running.has(extent)) return [extent, pg];
    return null;
  }

  async #reconcile(extent: number, pg: PgId): Promise<void> {
    const view = this.#viewOf(pg);
    const metas = await Promise.all(
      view.inSync.map(async (disk) => {
        const answer = await this.#call(disk, this.#frame(OP.meta, view, disk, extent, 0, 0));
        if ((answer.flags & FLAG.zeros) !== 0) return null;
        const meta = decodeMeta(answer.data);
        if (meta === null) throw new StorageError('protocol', 'Replica sent a malformed stamp');
        return meta;
      }),
    );
    const differences = differencesOf(metas);
    for (const difference of differences) {
      await this.#copy(view, extent, difference);
      this.#differenceCount += difference.count;
    }
  }

  /**
   * Fresh blocks on every other member, joining ones included: they pull from whichever source. Durable
   * at once: after a power loss the source has them on its disk, and so must the others.
   */
  async #copy(view: PgView, extent: number, difference: Difference): Promise<void> {
    const { block, count, presence } = difference;
    const good = presence === PRESENCE.data ? await this.#readGood(view, extent, difference) : null;
    if (presence === PRESENCE.data && good === null) {
      // Nobody has all of them. A block of which all copies are bad stays so: whoever reads it is told.
      if (count === 1) return;
      for (let at = block; at < block + count; at += 1) {
        await this.#copy(view, extent, { block: at, count: 1, presence });
      }
      return;
    }
    const source = good?.disk ?? (view.inSync[0] as DiskId);
    const op = good === null ? OP.zero : OP.write;
    await Promise.all(
      view.members
        .filter((disk) => disk !== source)
        .map((disk) => {
          const frame = this.#frame(op, view, disk, extent, block, count);
          frame.flags |= FLAG.durable;
          if (good !== null) {
            frame.checksums = good.answer.checksums;
            frame.data = good.answer.data;
          } else if (presence === PRESENCE.absent) frame.flags |= FLAG.unmap;
          return this.#call(disk, frame);
        }),
    );
  }

  /** The blocks from the first member that has them whole; null when none has. */
  async #readGood(
    view: PgView,
    extent: number,
    { block, count }: Difference,
  ): Promise<{ readonly disk: DiskId; readonly answer: PeerAnswer } | null> {
    for (const disk of view.inSync) {
      const answer = await this.#readFrom(view, disk, extent, { block, count });
      const { data, checksums } = answer ?? { data: null, checksums: null };
      const isWhole = data !== null && checksums !== null && data.length === count * BLOCK_BYTES;
      if (answer !== null && isWhole && findMismatch(data, checksums, 0) < 0)
        return { disk, answer };
      const { log, volume } = this.#context;
      const fields = { volume, pg: view.id, disk, extent, block, count };
      log('error', 'A replica cannot give the blocks that are compared', fields);
    }
    return null;
  }

  /** Null when it has the blocks and cannot read them. */
  async #readFrom(
    view: PgView,
    disk: DiskId,
    extent: number,
    { block, count }: Pick<Difference, 'block' | 'count'>,
  ): Promise<PeerAnswer | null> {
    try {
      return await this.#call(disk, this.#frame(OP.read, view, disk, extent, block, count));
    } catch (error) {
      if (error instanceof StorageError && error.code === 'corrupt') return null;
      throw error;
    }
  }

  #viewOf(pg: PgId): PgView {
    const view = this.#context.map.pgs.get(pg);
    if (view === undefined || view.inSync.length === 0) {
      throw new StorageError('unavailable', `No replica of pg${pg} is in sync`);
    }
    return view;
  }

  #frame(
    op: number,
    view: PgView,
    disk: DiskId,
    extent: number,
    block: number,
    count: number,
  ): DataFrame {
    const { volume, generation, layer } = this.#context;
    const frame = new DataFrame();
    frame.op = op;
    frame.pg = view.id;
    frame.epoch = view.epoch;
    frame.disk = disk;
    frame.volume = volume;
    frame.generation = generation;
    frame.layer = layer;
    frame.extent = extent;
    frame.block = block;
    frame.count = count;
    return frame;
  }

  async #call(disk: DiskId, frame: DataFrame): Promise<PeerAnswer> {
    const context = this.#context;
    const link = context.linkOf(disk);
    const peer = context.mayReconcile() ? link.usablePeer() : null;
    if (peer === null) throw new StorageError('unavailable', `Disk d${disk} cannot be asked now`);
    try {
      return await callPeer(peer, frame, context.clock, CALL_MS);
    } catch (error) {
      if (error instanceof StorageError && error.code === 'fenced') {
        const accepted = Number(error.details['generation']);
        if (accepted > context.generation) context.fence(accepted);
        else link.reopen();
      }
      throw error;
    }
  }
}

function mustListAgain(view: PgView, listed: Listing): boolean {
  return (
    view.compareEpoch > listed.epoch || listed.joining.some((disk) => view.inSync.includes(disk))
  );
}
